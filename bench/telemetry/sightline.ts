import { systemClock } from '../../src/base/clock.ts';
import { LagMeter } from '../../src/client/lag.ts';
import { BATCH_LIMITS, decodeBatchHeader, decodeColumns } from '../../src/protocol/batch.ts';
import type { PayloadCodec, TelemetrySubprotocol } from '../../src/protocol/telemetry.ts';
import { CHECK_PATHS, type RoverMessage } from '../../src/load/rover-messages.ts';
import { TelemetrySocket, type TelemetryHandler } from '../../src/load/telemetry-socket.ts';
import { decompressors } from '../../src/sessions/compression.ts';
import type { CheckColumns, Meter } from './meter.ts';
import type { Peer, SubscriberOptions } from './peer.ts';

/** Sightline's telemetry lane; forms: `columns`, `msgpack` (both in binary batches) and `json`. */

const FORMS: Readonly<Record<string, { subprotocol: TelemetrySubprotocol; codecs: readonly PayloadCodec[] }>> = {
  columns: { subprotocol: 'sightline.v1.binary', codecs: ['columns', 'msgpack'] },
  msgpack: { subprotocol: 'sightline.v1.binary', codecs: ['msgpack'] },
  json: { subprotocol: 'sightline.v1.json', codecs: ['json'] },
};

export const sightline: Peer = {
  connectPublisher: async (url, topics, form) => {
    const socket = await open(url, form, {});
    return {
      publish: (topic, message, timeMs) => socket.publish(topics[topic]!, message, timeMs),
      flush: () => socket.flush(),
      backlogBytes: () => socket.backlogBytes,
      close: () => socket.close(),
    };
  },

  connectSubscriber: async ({ url, form, topics, ...options }) => {
    let counted = 0;
    const { meter } = options;
    const handler = handlerOf({ url, form, topics, ...options });
    const socket = await open(url, form, {
      ...handler,
      onReceived: (bytes) => {
        counted += bytes;
        meter.bytes += bytes;
      },
      onDamaged: () => meter.damaged(),
    });
    // The welcome is no data.
    meter.bytes -= counted;
    const filter = commonFilter(topics);
    if (filter !== undefined) await socket.subscribe(1, filter);
    // As the SDK does in each of its sessions.
    const lag = new LagMeter({
      clock: systemClock,
      waitedMs: () => 0,
      onSecond: () => undefined,
      report: (lagMs) => socket.report(lagMs),
    });
    lag.start();
    return {
      close: async () => {
        lag.stop();
        await socket.close();
      },
    };
  },
};

function open(url: string, form: string, handler: TelemetryHandler): Promise<TelemetrySocket> {
  return TelemetrySocket.open({ url: `${url}/ws/telemetry`, handler, ...FORMS[form]! });
}

/** The topics of a team share all but the last level; without topics there is nothing to subscribe to. */
function commonFilter(topics: readonly string[]): string | undefined {
  return topics[0]?.replace(/[^/]*$/, '+');
}

function handlerOf({ topics, decode, firstPair, meter }: SubscriberOptions): TelemetryHandler {
  const pairs = new Map(topics.map((topic, i) => [topic, firstPair + i]));
  const onMessage: TelemetryHandler['onMessage'] = (topic, timeMs, data) =>
    meter.object(pairs.get(topic)!, timeMs, data as RoverMessage);
  if (decode === 'objects') return { onMessage };
  if (decode === 'read') return { onBatch: reader(meter) };
  return {
    onMessage,
    onBatch: (bytes, schemaOf, topicOf) => {
      if (decodeBatchHeader(bytes).codec !== 'columns') return false;
      const { envelope, columns } = decodeColumns(bytes, schemaOf, decompressors, BATCH_LIMITS, 'brief');
      let from = 0;
      for (const { topicId, count } of envelope.sections) {
        const part = columns.part(from, count);
        const checked = CHECK_PATHS.map((path) => part.column(path)!) as unknown as CheckColumns;
        meter.columns(pairs.get(topicOf(topicId)!)!, part.times, checked);
        from += count;
      }
      return true;
    },
  };
}

/** Counts messages by the envelopes alone. */
function reader(meter: Meter): NonNullable<TelemetryHandler['onBatch']> {
  return (bytes) => {
    meter.read += decodeBatchHeader(bytes).count;
    return true;
  };
}
