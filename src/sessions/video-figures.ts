import { part, type Figure, type Part } from '../observe/figures.ts';
import type { RoomParts } from '../observe/server-monitor.ts';
import type { ClassAccounts } from './video-accounts.ts';
import type { VideoLane } from './video.ts';

const LANE = 'video';
const CLASS_LABELS = ['lane', 'pipeline', 'class'] as const;

/** Pipeline and class that the sum is for. */
function byClass(of: (accounts: ClassAccounts) => number): Figure<readonly ClassAccounts[]>['read'] {
  return (all) => all.map((one) => [[LANE, one.pipeline, one.class], of(one)] as const);
}

/** received = results + errors + dropped + queued + in flight + unsent, at every moment and for every pipeline and class. */
const ACCOUNTS: readonly Figure<readonly ClassAccounts[]>[] = [
  {
    name: 'sightline_frames_received_total',
    kind: 'counter',
    help: 'Frames received',
    labels: CLASS_LABELS,
    read: byClass(({ received }) => received),
  },
  {
    name: 'sightline_frames_results_total',
    kind: 'counter',
    help: 'Frames whose result was handed to the socket',
    labels: CLASS_LABELS,
    read: byClass(({ results }) => results),
  },
  {
    name: 'sightline_frames_late_total',
    kind: 'counter',
    help: 'Results that came later than the objective of their class allows',
    labels: CLASS_LABELS,
    read: byClass(({ late }) => late),
  },
  {
    name: 'sightline_frames_errors_total',
    kind: 'counter',
    help: 'Frames that ended in an error',
    labels: CLASS_LABELS,
    read: byClass(({ errors }) => errors),
  },
  {
    name: 'sightline_frames_costly_refused_total',
    kind: 'counter',
    help: 'Frames that were refused for what their pictures cost, of those that ended in an error',
    labels: CLASS_LABELS,
    read: byClass(({ refused_costly }) => refused_costly),
  },
  {
    name: 'sightline_frames_dropped_total',
    kind: 'counter',
    help: 'Frames that got no result, by cause',
    labels: [...CLASS_LABELS, 'cause'],
    setsMax: 500,
    read: (all) =>
      all.flatMap(({ pipeline, class: name, dropped }) =>
        Object.entries(dropped).map(([cause, count]) => [[LANE, pipeline, name, cause], count] as const),
      ),
  },
  {
    name: 'sightline_frames_queued',
    kind: 'gauge',
    help: 'Frames that wait for a worker',
    labels: CLASS_LABELS,
    read: byClass(({ queued }) => queued),
  },
  {
    name: 'sightline_frames_in_flight',
    kind: 'gauge',
    help: 'Frames with a worker',
    labels: CLASS_LABELS,
    read: byClass(({ in_flight }) => in_flight),
  },
  {
    name: 'sightline_frames_unsent',
    kind: 'gauge',
    help: 'Answered frames whose answer was not handed to the socket yet',
    labels: CLASS_LABELS,
    read: byClass(({ unsent }) => unsent),
  },
  {
    name: 'sightline_video_sessions_opened_total',
    kind: 'counter',
    help: 'Video sessions that have begun',
    labels: ['pipeline', 'class'],
    read: (all) => all.map(({ pipeline, class: name, sessions }) => [[pipeline, name], sessions] as const),
  },
  {
    name: 'sightline_video_grants_told_total',
    kind: 'counter',
    help: 'Grants sent to clients',
    read: (all) => all.reduce((sum, { grants_told }) => sum + grants_told, 0),
  },
  {
    name: 'sightline_video_ladder_moves_total',
    kind: 'counter',
    help: 'Moves of sessions on the quality ladder',
    read: (all) => all.reduce((sum, { ladder_moves }) => sum + ladder_moves, 0),
  },
];

/** The video lane's part of the figures. `accounts` has no place in the document, which has their sum as `totals`. */
export function videoParts(
  lane: VideoLane,
): Pick<RoomParts, 'sessions' | 'totals' | 'adaptation'> & { readonly accounts: Part<readonly ClassAccounts[]> } {
  return {
    accounts: part(() => lane.accounts(), ACCOUNTS),
    sessions: part(
      () => lane.report(),
      [
        {
          name: 'sightline_video_sessions',
          kind: 'gauge',
          help: 'Video sessions; lost ones wait for their client',
          labels: ['state'],
          read: (sessions) => {
            const connected = sessions.filter((session) => session.connected).length;
            return [
              [['connected'], connected],
              [['lost'], sessions.length - connected],
            ];
          },
        },
        {
          name: 'sightline_video_granted_frames_per_second',
          kind: 'gauge',
          unit: 'per_second',
          help: 'Frames a second that connected clients may send, all together',
          read: (sessions) =>
            sessions.reduce((sum, { connected, quality }) => sum + (connected ? quality.grant.rate_fps : 0), 0),
        },
        {
          name: 'sightline_video_sessions_bounded',
          kind: 'gauge',
          help: 'Video sessions by what bounds their grant',
          labels: ['reason'],
          read: (sessions) =>
            Array.from(
              Map.groupBy(sessions, ({ quality }) => quality.grant.reason),
              ([reason, those]) => [[reason], those.length] as const,
            ),
        },
      ],
    ),
    totals: part(() => lane.totals()),
    adaptation: part(
      () => lane.adaptation(),
      [
        {
          name: 'sightline_engine_capacity_frames_per_second',
          kind: 'gauge',
          unit: 'per_second',
          help: 'Measured capacity of the engine, frames a second',
          read: ({ capacity_fps }) => capacity_fps,
        },
        {
          name: 'sightline_engine_asked_frames_per_second',
          kind: 'gauge',
          unit: 'per_second',
          help: 'Most frames a second that the server grants to all sessions together',
          read: ({ asked_fps }) => asked_fps,
        },
        {
          name: 'sightline_engine_load_ratio',
          kind: 'gauge',
          unit: 'ratio',
          help: 'Used share of the workers’ time',
          read: ({ load }) => load,
        },
        {
          name: 'sightline_main_thread_load_ratio',
          kind: 'gauge',
          unit: 'ratio',
          help: 'Used share of the main thread’s time',
          read: ({ main_thread_load }) => main_thread_load,
        },
        {
          name: 'sightline_process_ceiling_frames_per_second',
          kind: 'gauge',
          unit: 'per_second',
          help: 'Frames a second that the main thread and memory allow, where they are the limit',
          read: ({ process_ceiling_fps }) => process_ceiling_fps,
        },
      ],
    ),
  };
}
