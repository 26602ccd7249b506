import type { PriorityClass } from '../base/sample.ts';
import type { DropCause } from '../protocol/video.ts';
import { part, type Figure, type Part } from './figures.ts';
import type { FrameLane } from './histogram.ts';
import type { CameraFrames, VideoSessionReport } from './metrics.ts';

/** What became of frames, by where they come from. */

/** received = results + errors + dropped (by cause) + queued + in_flight + unsent, at every moment. */
export type FrameAccounts = VideoSessionReport['accounts'];

/** The frames of one pipeline and class, since the start. */
export interface ClassAccounts extends FrameAccounts {
  readonly lane: FrameLane;
  readonly pipeline: string;
  readonly class: PriorityClass;
  /** Results that came later than the objective of the class allows. */
  readonly late: number;
  /** Frames that the server left without a result, and is to blame for. */
  readonly lost: number;
  /** Errors that are no refusals. */
  readonly failed: number;
}

export const NO_DROPS: FrameAccounts['dropped'] = {
  queue_full: 0,
  expired: 0,
  superseded: 0,
  stale: 0,
  slow_reader: 0,
  disconnected: 0,
};

export const NO_FRAMES: FrameAccounts = {
  received: 0,
  results: 0,
  errors: 0,
  dropped: NO_DROPS,
  queued: 0,
  in_flight: 0,
  unsent: 0,
};

export function addAccounts(a: FrameAccounts, b: FrameAccounts): FrameAccounts {
  const causes = Object.keys(NO_DROPS) as DropCause[];
  return {
    received: a.received + b.received,
    results: a.results + b.results,
    errors: a.errors + b.errors,
    dropped: Object.fromEntries(
      causes.map((cause) => [cause, a.dropped[cause] + b.dropped[cause]]),
    ) as unknown as FrameAccounts['dropped'],
    queued: a.queued + b.queued,
    in_flight: a.in_flight + b.in_flight,
    unsent: a.unsent + b.unsent,
  };
}

/** `before`: of the same lane, pipeline and class; undefined: there was none. */
export function addClass(before: ClassAccounts | undefined, more: ClassAccounts): ClassAccounts {
  return {
    lane: more.lane,
    pipeline: more.pipeline,
    class: more.class,
    late: (before?.late ?? 0) + more.late,
    lost: (before?.lost ?? 0) + more.lost,
    failed: (before?.failed ?? 0) + more.failed,
    ...addAccounts(before ?? NO_FRAMES, more),
  };
}

/** Of cameras, as the document has it: nothing of them is unsent. */
export function sumOf(accounts: readonly ClassAccounts[]): CameraFrames {
  const { unsent: _, ...sum } = accounts.reduce(addAccounts, NO_FRAMES);
  return { ...sum, late: accounts.reduce((late, one) => late + one.late, 0) };
}

const LABELS = ['lane', 'pipeline', 'class'] as const;

/** Lane, pipeline and class that the sum is for. */
function byClass(of: (accounts: ClassAccounts) => number): Figure<readonly ClassAccounts[]>['read'] {
  return (all) => all.map((one) => [[one.lane, one.pipeline, one.class], of(one)] as const);
}

/** It has no place in the document, which has the sums of each lane. */
export function framesPart(read: () => readonly ClassAccounts[]): Part<readonly ClassAccounts[]> {
  return part(read, [
    {
      name: 'sightline_frames_received_total',
      kind: 'counter',
      help: 'Frames received; of cameras, the pictures that were decoded for a pipeline',
      labels: LABELS,
      read: byClass(({ received }) => received),
    },
    {
      name: 'sightline_frames_results_total',
      kind: 'counter',
      help: 'Frames whose result was handed to the socket; of cameras, whose result was there',
      labels: LABELS,
      read: byClass(({ results }) => results),
    },
    {
      name: 'sightline_frames_late_total',
      kind: 'counter',
      help: 'Results that came later than the objective of their class allows; of cameras, counted from the arrival of the frame',
      labels: LABELS,
      read: byClass(({ late }) => late),
    },
    {
      name: 'sightline_frames_errors_total',
      kind: 'counter',
      help: 'Frames that ended in an error',
      labels: LABELS,
      read: byClass(({ errors }) => errors),
    },
    {
      name: 'sightline_frames_dropped_total',
      kind: 'counter',
      help: 'Frames that got no result, by cause',
      labels: [...LABELS, 'cause'],
      setsMax: 500,
      read: (all) =>
        all.flatMap(({ lane, pipeline, class: name, dropped }) =>
          Object.entries(dropped).map(([cause, count]) => [[lane, pipeline, name, cause], count] as const),
        ),
    },
    {
      name: 'sightline_frames_queued',
      kind: 'gauge',
      help: 'Frames that wait for a worker',
      labels: LABELS,
      read: byClass(({ queued }) => queued),
    },
    {
      name: 'sightline_frames_in_flight',
      kind: 'gauge',
      help: 'Frames with a worker',
      labels: LABELS,
      read: byClass(({ in_flight }) => in_flight),
    },
    {
      name: 'sightline_frames_unsent',
      kind: 'gauge',
      help: 'Answered frames whose answer was not handed to the socket yet',
      labels: LABELS,
      read: byClass(({ unsent }) => unsent),
    },
  ]);
}
