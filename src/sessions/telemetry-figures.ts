import { part, type Figure, type Labelled, type Part } from '../observe/figures.ts';
import type { TelemetryReport } from '../observe/metrics.ts';
import type { RoomParts } from '../observe/server-monitor.ts';
import type { ReaderCounts } from '../stream/reader.ts';
import type { FoxgloveLane } from './foxglove.ts';
import type { TelemetryLane } from './telemetry/lane.ts';

type CountsByLane = Readonly<Record<'telemetry' | 'foxglove', ReaderCounts>>;

function byLane(of: (counts: ReaderCounts) => number): Figure<CountsByLane>['read'] {
  return (lanes) => Object.entries(lanes).map(([lane, counts]): Labelled => [[lane], of(counts)]);
}

/** published = delivered + conflated + dropped + expired + queued, at every moment and for each lane. */
const ACCOUNTS: readonly Figure<CountsByLane>[] = [
  {
    name: 'sightline_messages_published_total',
    kind: 'counter',
    help: 'Messages that were there for readers, counted for each reader of their topic',
    labels: ['lane'],
    read: byLane(({ published }) => published),
  },
  {
    name: 'sightline_messages_delivered_total',
    kind: 'counter',
    help: 'Messages that were handed to the socket of a reader',
    labels: ['lane'],
    read: byLane(({ delivered }) => delivered),
  },
  {
    name: 'sightline_messages_conflated_total',
    kind: 'counter',
    help: 'Messages that a newer one took the place of, as the contract of their reader says',
    labels: ['lane'],
    read: byLane(({ conflated }) => conflated),
  },
  {
    name: 'sightline_messages_dropped_total',
    kind: 'counter',
    help: 'Messages that a reader did not get, by cause',
    labels: ['lane', 'cause'],
    read: (lanes) =>
      Object.entries(lanes).flatMap(([lane, { dropped }]) =>
        Object.entries(dropped).map(([cause, count]): Labelled => [[lane, cause], count]),
      ),
  },
  {
    name: 'sightline_messages_expired_total',
    kind: 'counter',
    help: 'Messages whose time to live was over before their reader was sent them',
    labels: ['lane'],
    read: byLane(({ expired }) => expired),
  },
  {
    name: 'sightline_messages_queued',
    kind: 'gauge',
    help: 'Messages that a reader has not been sent yet',
    labels: ['lane'],
    read: byLane(({ queued }) => queued),
  },
];

const TELEMETRY: readonly Figure<TelemetryReport>[] = [
  {
    name: 'sightline_telemetry_sessions',
    kind: 'gauge',
    help: 'Telemetry sessions; lost ones wait for their client',
    labels: ['state'],
    read: ({ sessions }) => {
      const connected = sessions.filter((session) => session.connected).length;
      return [
        [['connected'], connected],
        [['lost'], sessions.length - connected],
      ];
    },
  },
  {
    name: 'sightline_telemetry_topics',
    kind: 'gauge',
    help: 'Topics that there are',
    read: ({ topics }) => topics.length,
  },
  {
    name: 'sightline_telemetry_topics_forgotten_total',
    kind: 'counter',
    help: 'Topics that were forgotten because nobody used them',
    read: ({ topics_forgotten }) => topics_forgotten,
  },
  {
    name: 'sightline_telemetry_history_bytes',
    kind: 'gauge',
    unit: 'bytes',
    help: 'Memory of the histories of all topics',
    read: ({ history_bytes }) => history_bytes,
  },
  {
    name: 'sightline_telemetry_socket_bytes',
    kind: 'gauge',
    unit: 'bytes',
    help: 'Bytes that wait for their client, in the socket and behind it',
    labels: ['place'],
    read: ({ sessions }) => [
      [['socket'], sessions.reduce((sum, { unsent_bytes }) => sum + unsent_bytes, 0)],
      [['queue'], sessions.reduce((sum, { queued_bytes }) => sum + queued_bytes, 0)],
    ],
  },
  {
    name: 'sightline_telemetry_critical_queued',
    kind: 'gauge',
    help: 'Critical messages that wait for their client',
    read: ({ sessions }) => sessions.reduce((sum, { critical_queue }) => sum + critical_queue, 0),
  },
  {
    name: 'sightline_telemetry_batches_total',
    kind: 'counter',
    help: 'Batches that readers were sent: encoded for them, or reused as they were',
    labels: ['made'],
    read: ({ batches_encoded, batches_reused }) => [
      [['encoded'], batches_encoded],
      [['reused'], batches_reused],
    ],
  },
  {
    name: 'sightline_telemetry_fanout_groups',
    kind: 'gauge',
    help: 'Groups of connections that keep up and get the same bytes',
    read: ({ fanout_groups }) => fanout_groups,
  },
  {
    name: 'sightline_telemetry_fanout_members',
    kind: 'gauge',
    help: 'Connections in these groups',
    read: ({ fanout_members }) => fanout_members,
  },
];

/** What both lanes of telemetry measure. `accounts` and `published` have no place in the document. */
export function telemetryParts(
  telemetry: TelemetryLane,
  foxglove: FoxgloveLane,
): Pick<RoomParts, 'telemetry' | 'foxglove'> & {
  readonly accounts: Part<CountsByLane>;
  readonly published: Part<number>;
} {
  return {
    accounts: part(() => ({ telemetry: telemetry.accounts(), foxglove: foxglove.accounts() }), ACCOUNTS),
    published: part(
      () => telemetry.published,
      [
        {
          name: 'sightline_telemetry_messages_total',
          kind: 'counter',
          help: 'Messages that were published, by whoever',
          read: (published) => published,
        },
      ],
    ),
    telemetry: part(() => telemetry.report(), TELEMETRY),
    foxglove: part(
      () => foxglove.report(),
      [
        {
          name: 'sightline_foxglove_connections',
          kind: 'gauge',
          help: 'Clients of the protocol of Foxglove',
          read: (clients) => clients.length,
        },
      ],
    ),
  };
}
