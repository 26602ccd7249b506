import { expect, test } from 'vitest';
import type { SightlineError } from '../base/errors.ts';
import { Incoming, type IncomingMessage } from './incoming.ts';
import { MemoryLedger } from './memory-ledger.ts';

const BOUNDLESS = { totalBytesMax: Infinity, clientBytesMax: Infinity };

const PROXY = { isShared: true };

function setUp(totalBytesMax: number) {
  const incomingBound = { totalBytesMax, clientBytesMax: totalBytesMax };
  const ledger = new MemoryLedger({
    history: BOUNDLESS,
    session: BOUNDLESS,
    incoming: incomingBound,
    frames: BOUNDLESS,
    channels: BOUNDLESS,
  });
  const incoming = new Incoming(ledger);
  const cut: [string, string][] = [];
  const banned = new Set<object>();
  const join = (client: string, address: IncomingMessage['address'] = PROXY): IncomingMessage => ({
    memory: ledger.open('video', client),
    address,
    get isBanned() {
      return banned.has(address);
    },
    onCut: (reason: SightlineError) => cut.push([client, reason.code]),
  });
  return { ledger, incoming, cut, join, banned };
}

test('parts of messages are charged while they grow, and no more once a message is complete', () => {
  const { ledger, incoming, join } = setUp(100_000);
  const one = join('one');
  incoming.update(one, 3_000);
  expect(ledger.bytes('incoming')).toBe(0);
  incoming.update(one, 30_000);
  incoming.update(one, 50_000);
  expect([one.memory.bytes('incoming'), ledger.bytes('incoming')]).toEqual([50_000, 50_000]);
  incoming.update(one, 0);
  incoming.forget(one);
  expect(ledger.bytes('incoming')).toBe(0);
});

test('where all together are too much, the one ends whose message began first', () => {
  const { ledger, incoming, cut, join } = setUp(100_000);
  const [stuck, other, done] = [join('stuck'), join('other'), join('done')];
  incoming.update(done, 10_000);
  incoming.update(stuck, 40_000);
  // Its first message is complete, the next has begun.
  incoming.update(done, 5_000);
  incoming.update(other, 50_000);
  expect(cut).toEqual([]);
  incoming.update(done, 15_000);
  expect(cut).toEqual([['stuck', 'MEMORY_LIMIT_REACHED']]);
  expect([ledger.bytes('incoming'), ledger.refusals.incoming]).toEqual([65_000, 1]);
  incoming.update(done, 60_000);
  expect(cut.at(-1)).toEqual(['done', 'MEMORY_LIMIT_REACHED']);
});

test('the address from which most has come gives way, not the message that has been on its way for longest', () => {
  const { incoming, cut, join } = setUp(100_000);
  const there = { isShared: true };
  const slow = join('slow');
  const crowd = ['a', 'b', 'c'].map((name) => join(name, there));
  incoming.update(slow, 30_000);
  for (const message of crowd) incoming.update(message, 25_000);
  expect(cut.map(([client]) => client)).toEqual(['a']);
  incoming.update(crowd[1]!, 60_000);
  expect(cut.map(([client]) => client)).toEqual(['a', 'b']);
  incoming.update(slow, 80_000);
  expect(cut.map(([client]) => client)).toEqual(['a', 'b', 'slow']);
});

test('an address that is banned loses all that it has begun', () => {
  const { ledger, incoming, cut, join, banned } = setUp(100_000);
  const there = { isShared: true };
  const other = join('other');
  const crowd = ['a', 'b', 'c'].map((name) => join(name, there));
  incoming.update(other, 30_000);
  for (const message of crowd) incoming.update(message, 23_000);
  banned.add(there);
  incoming.update(other, 40_000);
  expect(cut.map(([client]) => client)).toEqual(['a', 'b', 'c']);
  expect(ledger.bytes('incoming')).toBe(40_000);
});

test('one address has a quarter of the room, if it is not that of a proxy', () => {
  const { ledger, incoming, cut, join } = setUp(100_000);
  const there = { isShared: false };
  const [a, b] = ['a', 'b'].map((name) => join(name, there));
  const other = join('other');
  incoming.update(other, 30_000);
  incoming.update(a!, 20_000);
  incoming.update(b!, 5_000);
  expect(cut).toEqual([]);
  incoming.update(b!, 5_001);
  expect(cut).toEqual([['a', 'MEMORY_LIMIT_REACHED']]);
  expect(ledger.bytes('incoming')).toBe(35_001);
});
