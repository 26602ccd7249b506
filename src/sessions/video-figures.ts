import { part, type Figure, type Part } from '../observe/figures.ts';
import type { RoomParts } from '../observe/server-monitor.ts';
import type { VideoAccounts } from './video-accounts.ts';
import type { VideoLane } from './video.ts';

const OWN: readonly Figure<readonly VideoAccounts[]>[] = [
  {
    name: 'sightline_frames_costly_refused_total',
    kind: 'counter',
    help: 'Frames that were refused for what their pictures cost, of those that ended in an error',
    labels: ['lane', 'pipeline', 'class'],
    read: (all) => all.map((one) => [['video', one.pipeline, one.class], one.refused_costly] as const),
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

/** The video lane's part of the figures. `accounts` has no place in the document, which has their sum as `totals`; what became of the frames is in `framesPart`. */
export function videoParts(
  lane: VideoLane,
): Pick<RoomParts, 'sessions' | 'totals' | 'adaptation'> & { readonly accounts: Part<readonly VideoAccounts[]> } {
  return {
    accounts: part(() => lane.accounts(), OWN),
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
