import type { Random } from '../../src/base/random.ts';

/** Valid input made invalid at random, in ways that look for mistakes. The same for the same random numbers. */

const CHANGES_MAX = 6;
/** Bytes that mean something where they are: lengths, types, signs, quotes. */
const TELLING = [0, 1, 0x7f, 0x80, 0xff, 0xfe, 0x22, 0x5b, 0x7b, 0xc4, 0xdb, 0xdd, 0xdf, 0xb1];

/** A whole number below `limit`. */
export function under(random: Random, limit: number): number {
  return Math.floor(random() * limit);
}

export function pick<T>(random: Random, list: readonly T[]): T {
  return list[under(random, list.length)]!;
}

/** Some bytes changed, moved, cut or overwritten by a length that cannot be. */
export function damaged(whole: Uint8Array, random: Random): Uint8Array {
  let bytes = whole.slice();
  const changes = 1 + under(random, CHANGES_MAX);
  for (let i = 0; i < changes && bytes.length > 0; i++) {
    const at = under(random, bytes.length);
    switch (under(random, 7)) {
      case 0:
        bytes[at] = under(random, 256);
        break;
      case 1:
        bytes[at] = pick(random, TELLING);
        break;
      case 2:
        bytes[at]! ^= 1 << under(random, 8);
        break;
      case 3:
        bytes = bytes.slice(0, at);
        break;
      case 4:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(under(random, bytes.length))]);
        break;
      case 5:
        bytes.copyWithin(at, under(random, bytes.length), under(random, bytes.length));
        break;
      default:
        new DataView(bytes.buffer, bytes.byteOffset).setUint8(at, 0);
        if (at + 4 <= bytes.length) {
          new DataView(bytes.buffer, bytes.byteOffset).setUint32(
            at,
            random() < 0.5 ? 0xffff_ffff : under(random, 20_000),
            true,
          );
        }
    }
  }
  return bytes;
}

/** Values that a field seldom has. */
const ODD: readonly unknown[] = [
  null,
  true,
  -1,
  0,
  0.5,
  1e308,
  2 ** 32,
  Number.MAX_SAFE_INTEGER,
  2 ** 60,
  '',
  ' ',
  '#',
  '+/#',
  '$sys/x',
  '__proto__',
  'a/'.repeat(300),
  '\u0000',
  '\ud800',
  'é'.repeat(400),
  [],
  {},
  [[[[[[[[]]]]]]]],
  [{}, {}, {}],
  { constructor: { prototype: 1 } },
];

/** A field of an object, or of one within it, left out, doubled under another name, or given an odd value. */
export function odd(value: Readonly<Record<string, unknown>>, random: Random): Record<string, unknown> {
  const copy = { ...value };
  const names = Object.keys(copy);
  if (names.length === 0) return { odd: pick(random, ODD) };
  const name = pick(random, names);
  const inner = copy[name];
  const isObject = typeof inner === 'object' && inner !== null && !Array.isArray(inner);
  if (isObject && random() < 0.5) {
    copy[name] = odd(inner as Record<string, unknown>, random);
    return copy;
  }
  switch (under(random, 5)) {
    case 0:
      delete copy[name];
      break;
    case 1:
      copy[`${name}_`] = inner;
      break;
    default:
      copy[name] = pick(random, ODD);
  }
  return copy;
}
