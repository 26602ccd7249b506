import { part, type Labelled, type Part } from '../observe/figures.ts';
import type { RecordingStatus } from '../observe/metrics.ts';

const STATES = ['recording', 'interrupted', 'failed', 'ended'] as const satisfies readonly RecordingStatus['state'][];

/** Figures of the running recordings, and of ended ones until another begins: these figures end with them. */
export function recordingsPart(read: () => RecordingStatus[]): Part<readonly RecordingStatus[]> {
  return part(read, [
    {
      name: 'sightline_recordings',
      kind: 'gauge',
      help: 'Recordings by state',
      labels: ['state'],
      read: (all) => STATES.map((state): Labelled => [[state], all.filter((one) => one.state === state).length]),
    },
    {
      name: 'sightline_recording_messages',
      kind: 'gauge',
      help: 'Messages of these recordings: written, lost because of the disk, and waiting',
      labels: ['state'],
      read: (all) =>
        (['recorded', 'lost', 'queued'] as const).map((key): Labelled => [[key], sum(all, (one) => one[key])]),
    },
    {
      name: 'sightline_recording_interruptions',
      kind: 'gauge',
      help: 'Times that these recordings could not go on, such as on a full disk',
      read: (all) => sum(all, ({ interruptions }) => interruptions),
    },
    {
      name: 'sightline_recording_bytes',
      kind: 'gauge',
      unit: 'bytes',
      help: 'Bytes that these recordings have written',
      read: (all) => sum(all, ({ bytes }) => bytes),
    },
  ]);
}

function sum(all: readonly RecordingStatus[], of: (one: RecordingStatus) => number): number {
  return all.reduce((total, one) => total + of(one), 0);
}
