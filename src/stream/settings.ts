import type { Config } from '../config/schema.ts';
import type { MemoryBounds } from '../fences/memory-ledger.ts';
import type { TopicsSettings } from './topics.ts';

/** The configuration's part for this room, in the room's own terms. */

/** Each session has a stream of frames, and one of outcomes for each of its pipelines: two, as things are. */
const STREAMS_PER_SESSION = 3;
/** Subscriptions of one connection may include a topic several times, once more for missed messages. */
const READERS_PER_CONNECTION = 4;

/** A few dozen subscriptions, whatever others have. */
const SESSION_RESERVED_BYTES = 32 * 1024;

/** Of what viewers are told of topics: what one client's topics may take, and what they may take whatever those of others do. */
const CHANNELS_CLIENT_SHARE = 1 / 4;
const CHANNELS_RESERVED_BYTES = 32 * 1024;

/** Streams that may be open at once. */
export function streamsMax({ server, telemetry }: Config): number {
  return server.max_connections * STREAMS_PER_SESSION + telemetry.topics_max;
}

export function topicsSettings({ server, telemetry }: Config): TopicsSettings {
  return {
    topicsMax: telemetry.topics_max,
    historyMessages: telemetry.history_messages,
    historyBytesMax: telemetry.history_bytes_max,
    historyDepartedBytesMax: telemetry.history_departed_bytes_max,
    topicIdleMs: telemetry.topic_idle_s * 1000,
    readersMax: server.max_connections * READERS_PER_CONNECTION,
  };
}

export function memoryBounds({ telemetry, limits }: Config): MemoryBounds {
  return {
    history: {
      totalBytesMax: telemetry.history_total_bytes_max,
      clientBytesMax: telemetry.history_client_bytes_max,
    },
    session: {
      totalBytesMax: limits.session_total_bytes_max,
      clientBytesMax: limits.session_bytes_max,
      reservedBytes: Math.min(SESSION_RESERVED_BYTES, limits.session_bytes_max),
    },
    incoming: {
      totalBytesMax: limits.incoming_total_bytes_max,
      clientBytesMax: limits.incoming_total_bytes_max,
    },
    frames: { totalBytesMax: limits.frames_total_bytes_max, clientBytesMax: limits.frames_bytes_max },
    channels: {
      totalBytesMax: limits.channels_total_bytes_max,
      clientBytesMax: Math.floor(limits.channels_total_bytes_max * CHANNELS_CLIENT_SHARE),
      reservedBytes: CHANNELS_RESERVED_BYTES,
    },
  };
}
