import { listOf } from '../batches.ts';
import { flood, type Attack } from '../target.ts';
import { binary, publish, telemetryLane } from './lanes.ts';

/** Payloads of a megabyte whose shape is what costs. */

const BYTES_PER_S = 16_000_000;
const PAYLOAD_BYTES = 990_000;
/** As deep as data may be nested, but for the list around it. */
const DEPTH = 60;

function payloads(name: string, what: string, form: 'json' | 'msgpack', message: () => Buffer): Attack {
  return {
    name,
    what,
    run: async (target) => {
      const bytes = message();
      await target.insist(
        () => target.webSocket(telemetryLane(form)),
        (wire) => flood(target, wire, bytes, { bytesPerS: BYTES_PER_S }),
      );
    },
  };
}

const Msgpack = { fixMap: 0x80, fixText: 0xa0, list32: 0xdd } as const;

/** A `publish` whose data is a list of `count` times the same value; all in MessagePack. */
function msgpackPublish(topic: string, element: Buffer, count: number): Buffer {
  const head = Buffer.alloc(5);
  head[0] = Msgpack.list32;
  head.writeUInt32BE(count, 1);
  const fields = ['type', 'publish', 'topic', topic, 'data'].map((word) =>
    Buffer.concat([Buffer.of(Msgpack.fixText | word.length), Buffer.from(word)]),
  );
  return Buffer.concat([Buffer.of(Msgpack.fixMap | 3), ...fields, head, ...Array<Buffer>(count).fill(element)]);
}

/** `{"a":{"a":{}}}`. */
const NESTED_MAP = Buffer.from([0x81, 0xa1, 0x61, 0x81, 0xa1, 0x61, 0x80]);

export const SHAPES: readonly Attack[] = [
  payloads('msgpack_maps', 'lists of nested maps in MessagePack, a megabyte each', 'msgpack', () =>
    binary(msgpackPublish('shapes/maps', NESTED_MAP, Math.floor(PAYLOAD_BYTES / NESTED_MAP.length))),
  ),
  payloads('deep_lists', 'lists sixty deep, side by side in a megabyte', 'json', () =>
    publish('shapes/deep', listOf('['.repeat(DEPTH) + ']'.repeat(DEPTH), PAYLOAD_BYTES)),
  ),
  payloads('escapes', 'one text of nothing but escapes', 'json', () =>
    publish('shapes/escapes', `"${'\\u0001'.repeat(Math.floor(PAYLOAD_BYTES / 6))}"`),
  ),
  payloads('numbers', 'numbers of one digit, 500,000 in a list', 'json', () =>
    publish('shapes/numbers', listOf('7', PAYLOAD_BYTES)),
  ),
  payloads('keys', 'one object with 100,000 keys', 'json', () => {
    const keys = Array.from({ length: 100_000 }, (_, i) => `"${i.toString(36)}":0`);
    return publish('shapes/keys', `{${keys.join(',')}}`);
  }),
];
