import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BufferPool } from './pool.ts';

describe('buffer pool', () => {
  test('hands out buffers of the shape and takes them back', () => {
    const pool = new BufferPool();
    const first = pool.acquire(4, 3, 3)!;
    expect(first.length).toBe(36);
    pool.release(first);
    expect(pool.acquire(4, 3, 3)).toBe(first);
    expect(pool.counters()).toMatchObject({ acquired: 2, reused: 1, exhausted: 0, shapesEvicted: 0 });
  });

  test('ten of a shape by default, then nothing', () => {
    const pool = new BufferPool();
    const out = Array.from({ length: 11 }, () => pool.acquire(2, 2, 1));
    expect(out.filter((b) => b !== undefined).length).toBe(10);
    expect(out[10]).toBeUndefined();
    expect(pool.counters().exhausted).toBe(1);
  });

  test('a second release and a foreign buffer are refused', () => {
    const pool = new BufferPool();
    const buffer = pool.acquire(2, 2, 1)!;
    pool.release(buffer);
    expect(() => pool.release(buffer)).toThrow('not in use');
    expect(() => pool.release(new Uint8Array(4))).toThrow('not in use');
  });

  test('the least recently used idle shape makes room, one in use never does', () => {
    const pool = new BufferPool({ buffersPerShape: 1, shapesMax: 2 });
    const held = pool.acquire(1, 1, 1)!;
    pool.release(pool.acquire(2, 2, 1)!);
    const other = pool.acquire(3, 3, 1)!;
    expect(pool.counters().shapesEvicted).toBe(1);
    expect(pool.acquire(4, 4, 1)).toBeUndefined();
    pool.release(held);
    expect(pool.acquire(4, 4, 1)).toBeDefined();
    pool.release(other);
  });

  test('whatever is asked for: no buffer is out twice, limits hold, counters add up', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('acquire' as const), side: fc.integer({ min: 1, max: 6 }) }),
      fc.record({ kind: fc.constant('release' as const), pick: fc.nat() }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
        const limits = { buffersPerShape: 3, shapesMax: 4 };
        const pool = new BufferPool(limits);
        const out: { buffer: Uint8Array; side: number }[] = [];
        let asked = 0;
        for (const s of steps) {
          if (s.kind === 'release') {
            const [gone] = out.length > 0 ? out.splice(s.pick % out.length, 1) : [];
            if (gone) pool.release(gone.buffer);
            continue;
          }
          asked += 1;
          const buffer = pool.acquire(s.side, s.side, 3);
          if (!buffer) continue;
          expect(buffer.length).toBe(s.side * s.side * 3);
          expect(out.some((o) => o.buffer === buffer || o.buffer.buffer === buffer.buffer)).toBe(false);
          out.push({ buffer, side: s.side });
          expect(out.filter((o) => o.side === s.side).length).toBeLessThanOrEqual(limits.buffersPerShape);
          expect(new Set(out.map((o) => o.side)).size).toBeLessThanOrEqual(limits.shapesMax);
        }
        const { acquired, exhausted } = pool.counters();
        expect(acquired + exhausted).toBe(asked);
      }),
    );
  });
});

test('free buffers are kept up to a number of bytes, those of the shape used last the longest', () => {
  const pool = new BufferPool({ buffersPerShape: 4, shapesMax: 4, freeBytesMax: 300 });
  const borrow = (width: number, count: number) => Array.from({ length: count }, () => pool.acquire(width, 10, 1)!);
  const [old, young] = [borrow(5, 3), borrow(10, 2)];
  for (const buffer of [...old, ...young]) pool.release(buffer);
  expect(pool.counters().buffersDropped).toBe(1);
  expect(borrow(10, 2).filter((buffer) => young.includes(buffer))).toHaveLength(2);
  expect(borrow(5, 3).filter((buffer) => old.includes(buffer))).toHaveLength(2);
  // One that is larger than all that is kept goes at once.
  pool.release(pool.acquire(40, 10, 1)!);
  expect(pool.counters().buffersDropped).toBe(2);
  expect(old).not.toContain(pool.acquire(40, 10, 1));
});
