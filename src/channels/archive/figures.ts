import { labelled, part, type Part } from '../../observe/figures.ts';
import type { Archive } from './archive.ts';
import type { ClipExports } from './clip-exports.ts';

type Accounts = ReturnType<Archive['accounts']>;

/** Recordings of cameras on the disk. At every moment: segments made = written + dropped (by cause) + passed by + kept in case of an event + waiting for the disk. */
export function archivePart(archive: Archive): Part<Accounts> {
  return part(
    () => archive.accounts(),
    [
      {
        name: 'sightline_archive_cameras',
        kind: 'gauge',
        help: 'Cameras by what becomes of their frames: written, waiting for an event, not recorded (off; masked), or refused by the disk (failed)',
        labels: ['state'],
        read: ({ states }) => labelled(states),
      },
      {
        name: 'sightline_archive_segments_made_total',
        kind: 'counter',
        help: 'Segments of cameras that are recorded',
        read: ({ made }) => made,
      },
      {
        name: 'sightline_archive_segments_total',
        kind: 'counter',
        help: 'Of these, by what became of them: written; passed, since nothing happened; lost, since the disk took nothing (disk) or was too slow (queue)',
        labels: ['outcome'],
        read: ({ written, passed, dropped }) => labelled({ written, passed, ...dropped }),
      },
      {
        name: 'sightline_archive_segments_kept',
        kind: 'gauge',
        help: 'Of these, those in memory: in case of an event, or waiting for the disk',
        labels: ['why'],
        read: ({ kept, waiting }) => labelled({ event: kept, disk: waiting }),
      },
      {
        name: 'sightline_archive_results_dropped_total',
        kind: 'counter',
        help: 'Results that waited for a file, and were too many',
        read: ({ resultsDropped }) => resultsDropped,
      },
      {
        name: 'sightline_archive_files',
        kind: 'gauge',
        help: 'Files that are kept, of all cameras',
        read: ({ files }) => files,
      },
      {
        name: 'sightline_archive_kept_bytes',
        kind: 'gauge',
        unit: 'bytes',
        help: 'What they and their results have',
        read: ({ bytes }) => bytes,
      },
      {
        name: 'sightline_archive_files_removed_total',
        kind: 'counter',
        help: 'Files that are not kept any more, by the bound that was met',
        labels: ['bound'],
        read: ({ removed }) => labelled(removed),
      },
    ],
  );
}

/** Clips that are drawn on. At every moment: asked for = those of all outcomes + those that are made. */
export function exportsPart(exports: ClipExports): Part<ReturnType<ClipExports['accounts']>> {
  return part(
    () => exports.accounts(),
    [
      {
        name: 'sightline_archive_exports_asked_total',
        kind: 'counter',
        help: 'Clips of recordings with what was found drawn on them that were asked for',
        read: ({ asked }) => asked,
      },
      {
        name: 'sightline_archive_exports_total',
        kind: 'counter',
        help: 'Of these, by what became of them: whole; refused, since there were too many (archive.exports_max) or there is no such clip; failed; cut, since whoever wanted it has gone, or may not have it any more',
        labels: ['outcome'],
        read: ({ outcomes }) => labelled(outcomes),
      },
      {
        name: 'sightline_archive_exports',
        kind: 'gauge',
        help: 'Of these, those that are made now',
        read: ({ running }) => running,
      },
      {
        name: 'sightline_archive_export_frames_total',
        kind: 'counter',
        help: 'Frames of those that came to their end, or failed: drawn on, or left out, since they could not be decoded',
        labels: ['outcome'],
        read: ({ frames: { drawn, leftOut } }) => labelled({ drawn, left_out: leftOut }),
      },
    ],
  );
}
