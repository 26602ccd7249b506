import { expect, test } from 'vitest';
import { ChargedMap } from './charged-map.ts';
import { boundless, MemoryLedger } from './memory-ledger.ts';

function setUp(clientBytesMax = 100) {
  const { bounds } = boundless();
  const ledger = new MemoryLedger({ ...bounds, session: { totalBytesMax: 1_000, clientBytesMax } });
  const memory = ledger.open('telemetry', 'x');
  const map = new ChargedMap<string, number>(memory, (key, value) => key.length + value);
  return { ledger, memory, map };
}

test('what is in it is charged, what goes is released', () => {
  const { memory, map } = setUp();
  map.set('a', 10);
  map.set('bc', 20);
  expect(memory.bytes('session')).toBe(33);
  map.set('a', 50);
  expect(memory.bytes('session')).toBe(73);
  map.set('a', 5);
  expect(memory.bytes('session')).toBe(28);
  expect([map.delete('bc'), map.delete('bc')]).toEqual([true, false]);
  expect(memory.bytes('session')).toBe(6);
  map.set('d', 1);
  map.clear();
  expect([map.size, memory.bytes('session')]).toEqual([0, 0]);
});

test('what is refused changes nothing', () => {
  const { ledger, memory, map } = setUp();
  map.set('a', 90);
  expect(() => map.set('b', 9)).toThrow(expect.objectContaining({ code: 'MEMORY_LIMIT_REACHED' }));
  expect(() => map.set('a', 100)).toThrow(expect.objectContaining({ code: 'MEMORY_LIMIT_REACHED' }));
  expect([...map]).toEqual([['a', 90]]);
  expect([memory.bytes('session'), ledger.refusals.session]).toEqual([91, 2]);
});

test('the entry that was set longest ago is forgotten first', () => {
  const { memory, map } = setUp();
  for (const key of ['a', 'b', 'c']) map.set(key, 1);
  map.set('a', 2);
  map.forgetOldest(3);
  map.forgetOldest(2);
  expect([...(map.has('b') ? ['b'] : []), ...[...map].map(([key]) => key)]).toEqual(['c', 'a']);
  expect(memory.bytes('session')).toBe(5);
});
