import { describe, expect, test } from 'vitest';
import { programValue } from './program-value.ts';

class Pose {
  x = 1;
  get y(): number {
    return 2;
  }
  static of(parts: object): Pose {
    return Object.assign(new Pose(), parts);
  }
}

class Empty {
  get y(): number {
    return 2;
  }
}

const sparse: unknown[] = [1];
sparse[2] = 3;

describe('a program’s value', () => {
  const asJson: [string, unknown][] = [
    ['keys without a value', { a: undefined, f: () => 1, s: Symbol('x'), b: 1 }],
    ['places without a value', [1, undefined, () => 1, Symbol('x')]],
    ['a list with holes', sparse],
    ['dates, also bad ones', { at: new Date(1_700_000_000_000), bad: new Date(NaN) }],
    ['toJSON, with its key', { a: { toJSON: (key: string) => ({ key }) }, b: [{ toJSON: (key: string) => key }] }],
    ['toJSON of nothing', { a: { toJSON: () => undefined }, b: 1 }],
    ['a date alone', new Date(0)],
    ['a URL', { url: new URL('http://a/b') }],
    ['a buffer inside, by its toJSON', { image: Buffer.from('ab') }],
    ['wrappers', { n: new Number(5), s: new String('a'), b: new Boolean(false) }],
    ['a class instance', Pose.of({ z: [new Pose()] })],
    ['a class without fields', { empty: new Empty() }],
    ['no prototype', Object.assign(Object.create(null) as object, { a: 1 })],
    ['keys that are numbers, dotted or empty', { 1: 'a', 'a.b': 1, '': 2 }],
    ['symbols as keys', { [Symbol('a')]: 1, b: 2 }],
    ['a list with a name', Object.assign([1], { index: 5 })],
    ['a match', /b/.exec('abc')],
    ['one value twice', ((shared) => [shared, shared])({ a: 1 })],
    ['nothing, emptiness, text', [null, {}, [], '', 'straße 🤖']],
  ];
  test.each(asJson)('is what JSON makes of it: %s', (_, value) => {
    const taken = programValue(value);
    expect(JSON.stringify(taken)).toBe(JSON.stringify(value));
    // A copy, of nothing but plain values.
    expect(structuredClone(taken)).toEqual(JSON.parse(JSON.stringify(value)));
    if (typeof taken === 'object') expect(taken).not.toBe(value);
  });

  test('keeps the numbers that JSON has not', () => {
    expect(programValue({ a: [NaN, Infinity, -Infinity, -0, 1e-320], b: -0 })).toEqual({
      a: [NaN, Infinity, -Infinity, -0, 1e-320],
      b: -0,
    });
  });

  const deep = (levels: number): unknown => JSON.parse('['.repeat(levels) + ']'.repeat(levels));
  const cycle: Record<string, unknown> = {};
  cycle['list'] = [{ self: cycle }];
  const broken = {
    get speed(): number {
      throw new Error('no sensor');
    },
  };
  const refused: [string, unknown, string][] = [
    ['nothing at all', undefined, 'the data is undefined'],
    ['a function', () => 1, 'the data is a function'],
    ['a symbol', Symbol('x'), 'the data is a symbol'],
    ['a BigInt', { stamp: { ns: [0n, 1_732_900_000_123_456_789n] } }, 'data.stamp.ns[0] is the BigInt 0'],
    ['a wrapped BigInt', { n: Object(5n) as unknown }, 'data.n is the BigInt 5'],
    ['a map', { m: new Map([['a', 1]]) }, 'data.m is a Map'],
    ['a set', [new Set([1])], 'data[0] is a Set'],
    ['a typed array', { ranges: new Float32Array([1.5]) }, 'data.ranges is a Float32Array'],
    ['bytes inside', { image: Uint8Array.of(1) }, 'data.image is a Uint8Array'],
    ['a buffer alone', new ArrayBuffer(3), 'the data is an ArrayBuffer'],
    ['a view', new DataView(new ArrayBuffer(2)), 'the data is a DataView'],
    ['an error', { e: Object.assign(new Error('boom'), { code: 'E' }) }, 'data.e is an Error'],
    ['a pattern', { re: /x/g }, 'data.re is a RegExp'],
    ['a promise', { later: Promise.resolve(1) }, 'data.later is a Promise'],
    ['half a character', { 'my text': 'robot 🤖'.slice(0, -1) }, 'data["my text"] has half a character'],
    ['a key with half a character', { a: { '\ud800': 1 } }, 'is a key with half a character'],
    ['__proto__', JSON.parse('{ "a": { "__proto__": 1 } }'), 'data.a.__proto__ is a key that no message may have'],
    ['a cycle', cycle, 'data.list[0].self.list holds itself'],
    ['65 levels', deep(65), 'is nested deeper than 64 levels'],
    ['what cannot be read', { state: broken }, 'data.state.speed cannot be read: no sensor'],
  ];
  test.each(refused)('is refused, and the key is named: %s', (_, value, why) => {
    expect(() => programValue(value)).toThrow(
      expect.objectContaining({ code: 'PAYLOAD_BAD', message: expect.stringContaining(why) }),
    );
  });

  test('64 levels are taken', () => {
    expect(programValue(deep(64))).toEqual(deep(64));
  });

  test('what is woven into itself a million times is given up', () => {
    let woven: unknown = 1;
    for (let i = 0; i < 40; i++) woven = [woven, woven];
    expect(() => programValue(woven)).toThrow(expect.objectContaining({ code: 'MESSAGE_TOO_LARGE' }));
  });

  test('a long place is told by its ends', () => {
    const value = { ['k'.repeat(300)]: { wanted: 1n } };
    expect(() => programValue(value)).toThrow(/^data\.k{50,}….*\.wanted is the BigInt 1/);
  });
});
