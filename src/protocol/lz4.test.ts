import fc from 'fast-check';
import { compressSync } from 'lz4-napi';
import { describe, expect, test } from 'vitest';
import { SightlineError } from '../base/errors.ts';
import { decompressLz4 } from './lz4.ts';

/** The library writes the size in front of the block. */
const pack = (plain: Uint8Array) => new Uint8Array(compressSync(Buffer.from(plain)).subarray(4));

/** Bytes that compress: runs, repeats of what was there, and noise. */
const compressible = fc
  .array(
    fc.oneof(
      fc.tuple(fc.nat(255), fc.integer({ min: 1, max: 600 })).map(([byte, n]) => Array.from({ length: n }, () => byte)),
      fc.array(fc.nat(255), { maxLength: 40 }).map((part) => part.concat(part, part)),
      fc.array(fc.nat(3), { maxLength: 100 }),
    ),
    { maxLength: 12 },
  )
  .map((parts) => Uint8Array.from(parts.flat()));

function outcome(packed: Uint8Array, plainSize: number): Uint8Array | SightlineError {
  try {
    return decompressLz4(packed, plainSize);
  } catch (thrown) {
    if (!(thrown instanceof SightlineError) || thrown.code !== 'COMPRESSION_BAD') throw thrown;
    return thrown;
  }
}

describe('LZ4 blocks', () => {
  test('give back what the library packed', () => {
    fc.assert(
      fc.property(fc.oneof(compressible, fc.uint8Array({ maxLength: 2000 })), (plain) => {
        fc.pre(plain.length > 0);
        expect(Buffer.from(decompressLz4(pack(plain), plain.length)).equals(plain)).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  test('the example of an overlapping match, byte by byte', () => {
    // One literal "a", a match of 9 at offset 1, then the five last literals "bcdef".
    const block = Uint8Array.of(0x15, 0x61, 0x01, 0x00, 0x50, 0x62, 0x63, 0x64, 0x65, 0x66);
    expect(Buffer.from(decompressLz4(block, 15)).toString()).toBe('aaaaaaaaaabcdef');
  });

  test('cut at any byte, or of another size, they are refused', () => {
    fc.assert(
      fc.property(compressible, (plain) => {
        fc.pre(plain.length > 0);
        const packed = pack(plain);
        for (let length = 0; length < packed.length; length++) {
          expect(outcome(packed.subarray(0, length), plain.length)).toBeInstanceOf(SightlineError);
        }
        expect(outcome(packed, plain.length + 1)).toBeInstanceOf(SightlineError);
        expect(outcome(packed, plain.length - 1)).toBeInstanceOf(SightlineError);
      }),
      { numRuns: 50 },
    );
  });

  test('any bytes give the claimed size or a refusal', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(3000), (packed, plainSize) => {
        const result = outcome(packed, plainSize);
        if (!(result instanceof SightlineError)) expect(result.length).toBe(plainSize);
      }),
      { numRuns: 2000 },
    );
  });

  test('a size that the block cannot hold is refused before it is allocated', () => {
    expect(outcome(new Uint8Array(10), 2 ** 40)).toBeInstanceOf(SightlineError);
  });
});
