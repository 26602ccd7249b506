import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { systemClock } from '../base/clock.ts';
import { seededRandom } from '../base/random.ts';
import { boundless } from '../fences/memory-ledger.ts';
import { inOwnMemory } from '../protocol/batch.ts';
import { Payload } from '../protocol/payload.ts';
import { Hub } from './hub.ts';
import { Topics } from './topics.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;
const encoder = new TextEncoder();
const LONG_TEXT = encoder.encode(JSON.stringify('x'.repeat(2 ** 20)));

function usedBytes(): number {
  for (let i = 0; i < 3; i++) collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** What topics take with so many messages, and what is charged for them, bytes a message. */
function measure(messages: number, topicCount: number, payloadOf: (i: number) => Payload) {
  const memory = boundless();
  const hub = new Hub({ clock: systemClock, streamsMax: messages + 1, random: seededRandom(1) });
  const topics = new Topics({
    hub,
    clock: systemClock,
    random: seededRandom(2),
    memory,
    settings: {
      topicsMax: messages + 1,
      historyMessages: messages,
      historyBytesMax: Infinity,
      historyDepartedBytesMax: Infinity,
      topicIdleMs: Infinity,
      readersMax: 10,
    },
  });
  const before = usedBytes();
  for (let i = 0; i < messages; i++) topics.publish(`topic/${i % topicCount}`, { payload: payloadOf(i) });
  const charged = memory.bytes('history') / messages;
  // Forms of payloads beside those that they keep have a bound of their own: this one takes the place of all others.
  topics.publish('long', { payload: Payload.json(LONG_TEXT) });
  const real = (usedBytes() - before) / messages;
  topics.close();
  return { real, charged };
}

const shared = new Uint8Array(64 * 1024).fill(0x31);
const numbers = (count: number) => encoder.encode(JSON.stringify(Array.from({ length: count }, (_, i) => i / 3)));

test.each([
  ['one byte each', 100_000, 10, () => Payload.bytes(Uint8Array.of(1))],
  [
    'one byte each, of memory that they share',
    100_000,
    10,
    (i: number) => Payload.bytes(shared.subarray(i % 65_536, (i % 65_536) + 1)),
  ],
  [
    'one byte each, of memory that is theirs alone',
    100_000,
    10,
    () => Payload.bytes(inOwnMemory(shared.subarray(0, 1))),
  ],
  ['a kilobyte each', 30_000, 10, () => Payload.bytes(new Uint8Array(1_000))],
  ['topics of one message', 5_000, 5_000, () => Payload.bytes(Uint8Array.of(1))],
  ['JSON that was read as values', 3_000, 10, () => Payload.json(numbers(2_000))],
  ['values of this program', 100_000, 10, (i: number) => Payload.of({ i, text: `text ${i}` })],
])('what is charged is what is taken, within a factor of 1.5: %s', (_what, messages, topicCount, payloadOf) => {
  // Once for what is made once.
  measure(1_000, 10, payloadOf);
  const { real, charged } = measure(messages, topicCount, payloadOf);
  expect(real / charged).toBeLessThan(1.5);
  expect(real / charged).toBeGreaterThan(1 / 1.5);
});
