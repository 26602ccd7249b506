import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ManualClock } from '../../base/clock.ts';
import { MemoryTier } from './memory-tier.ts';

const ENTRY_BYTES = 300;

function setUp(bytesMax: number, idleMs = 5_000) {
  const clock = new ManualClock(0);
  let wasted = 0;
  const tier = new MemoryTier({
    clock,
    settings: () => ({ bytesMax, idleMs }),
    onWasted: (bytes) => {
      wasted += bytes;
    },
  });
  return { clock, tier, wasted: () => wasted, put: (key: string, bytes = 100) => tier.put(key, new Uint8Array(bytes)) };
}

test('the one that was used least lately gives way', () => {
  const { tier, put } = setUp(3 * (100 + ENTRY_BYTES));
  for (const key of ['a', 'b', 'c']) put(key);
  expect(tier.get('a')?.bytes).toHaveLength(100);
  put('d');
  expect(['a', 'b', 'c', 'd'].map((key) => tier.has(key))).toEqual([true, false, true, true]);
  expect(tier.report()).toMatchObject({ entries: 3, bytes: 1_200, evicted: { bytes: 1, idle: 0 } });
});

test('one that nobody asks for goes; one that is too large is not kept', () => {
  const { clock, tier, put } = setUp(1_000);
  put('a');
  clock.advance(4_000);
  put('b');
  clock.advance(1_000);
  tier.sweep();
  expect([tier.has('a'), tier.has('b')]).toEqual([false, true]);
  put('large', 800);
  expect([tier.has('large'), tier.has('b')]).toEqual([false, true]);
});

test('what was fetched ahead is wasted if it goes before anybody asks for it', () => {
  const { clock, tier, wasted } = setUp(1_000, 1_000);
  tier.put('a', new Uint8Array(10), true);
  tier.put('b', new Uint8Array(20), true);
  tier.put('large', new Uint8Array(1_000), true);
  expect(tier.get('a')).toMatchObject({ isAhead: true });
  expect(tier.get('a')).toMatchObject({ isAhead: false });
  clock.advance(1_000);
  tier.sweep();
  expect(wasted()).toBe(1_020);
});

test('whatever is put, the bytes are those of the entries, and within the bound', () => {
  const step = fc.record({ key: fc.nat(20), bytes: fc.nat(900), advance: fc.nat(2_000), isGet: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const { clock, tier } = setUp(3_000);
      const sizes = new Map<string, number>();
      for (const { key, bytes, advance, isGet } of steps) {
        clock.advance(advance);
        if (isGet) tier.get(String(key));
        else {
          tier.put(String(key), new Uint8Array(bytes));
          sizes.set(String(key), bytes);
        }
        tier.sweep();
        const held = [...sizes].filter(([one]) => tier.has(one));
        const total = held.reduce((sum, [, size]) => sum + size + ENTRY_BYTES, 0);
        expect(tier.report()).toMatchObject({ entries: held.length, bytes: total });
        expect(total).toBeLessThanOrEqual(3_000);
      }
    }),
  );
});
