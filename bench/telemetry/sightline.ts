import { connectTelemetry, type TelemetryFormat } from '../../src/client/telemetry.ts';
import { CHECK_PATHS, type RoverMessage } from '../../src/load/rover-messages.ts';
import { decodeBatchHeader } from '../../src/protocol/batch.ts';
import type { PayloadCodec } from '../../src/protocol/telemetry.ts';
import type { Column } from './meter.ts';
import type { Peer, SubscriberLink, SubscriberOptions } from './peer.ts';
import { open, shut } from './plain-ws.ts';
import { serverClock } from './server-clock.ts';

/**
 * Sightline's telemetry lane, with the SDK at both ends; forms: `binary` (batches of columns), `msgpack` and `json`. What only
 * reads is no SDK: a bare `ws` that looks at envelopes alone, so that the server can be seen at its limit.
 */

const READER_CODECS: Readonly<Record<string, readonly PayloadCodec[]>> = {
  binary: ['columns', 'msgpack'],
  msgpack: ['msgpack'],
};

export const sightline: Peer = {
  connectPublisher: async (url, topics, form) => {
    const session = await connectTelemetry({ url, format: form as TelemetryFormat, reconnect: false });
    return {
      // The SDK gives the message its time, on the server's clock.
      publish: (topic, message) => void session.publish(topics[topic]!, message),
      // The SDK does it at the end of the turn.
      flush: () => undefined,
      backlogBytes: () => session.metrics().publish.waiting * 1_200,
      close: () => session.close(),
    };
  },

  connectSubscriber: async (options) => {
    if (options.decode === 'read') return await connectReader(options);
    const { url, topics, form, decode, firstPair, meter } = options;
    const session = await connectTelemetry({ url, format: form as TelemetryFormat, reconnect: false });
    const filter = commonFilter(topics);
    if (filter === undefined) return { bytes: () => 0, close: () => session.close() };
    const pairs = new Map(topics.map((topic, i) => [topic, firstPair + i]));
    const subscription = session.subscribe(filter, { contract: 'all' });
    subscription.on('loss', () => meter.damaged());
    session.on('error', () => meter.damaged());
    const nowMs = serverClock(session);
    const [seq, check, x, accel, volts] = CHECK_PATHS;
    if (decode === 'columns') {
      subscription.onColumns((columns) => {
        const column = (path: string): Column => columns.column(path)!;
        const checked = [column(seq), column(check), column(x), column(accel), column(volts)] as const;
        meter.columns(pairs.get(columns.topic)!, columns.times, checked, nowMs());
      });
    } else {
      subscription.onTelemetry((messages) => {
        for (const { topic, timeMs, data } of messages) {
          meter.object(pairs.get(topic)!, timeMs, data as RoverMessage, nowMs());
        }
      });
    }
    await subscription.ready;
    return { bytes: () => subscription.metrics().bytes, close: () => session.close() };
  },
};

/** The topics of a team share all but the last level; without topics there is nothing to subscribe to. */
function commonFilter(topics: readonly string[]): string | undefined {
  return topics[0]?.replace(/[^/]*$/, '+');
}

/** Counts messages by the envelopes alone. */
async function connectReader({ url, topics, form, meter }: SubscriberOptions): Promise<SubscriberLink> {
  const socket = await open(`${url}/ws/telemetry`, 'sightline.v1.binary');
  let received = 0;
  const subscribed = Promise.withResolvers<void>();
  socket.on('message', (bytes: Buffer, isBinary: boolean) => {
    if (!isBinary) {
      if ((JSON.parse(bytes.toString()) as { type: string }).type === 'subscribed') subscribed.resolve();
      return;
    }
    received += bytes.length;
    meter.read += decodeBatchHeader(bytes).count;
  });
  const link = { bytes: () => received, close: () => shut(socket) };
  const filter = commonFilter(topics);
  if (filter === undefined) return link;
  const request = { type: 'subscribe', id: 1, filter, contract: 'all', codecs: READER_CODECS[form] };
  socket.send(JSON.stringify(request));
  await subscribed.promise;
  return link;
}
