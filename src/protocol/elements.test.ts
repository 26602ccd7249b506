import fc from 'fast-check';
import { expect, test } from 'vitest';
import { limitElements } from './elements.ts';
import { writeMsgpack } from './msgpack-writer.ts';

const encoder = new TextEncoder();
const limitJson = (data: Uint8Array, elementsMax: number) => limitElements(data, 'json', elementsMax);
const limitMsgpack = (data: Uint8Array, elementsMax: number) => limitElements(data, 'msgpack', elementsMax);
const TOO_LARGE = expect.objectContaining({ code: 'MESSAGE_TOO_LARGE' });

/** As MessagePack has them: keys and values. */
function elementsOf(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 1;
  const keys = Array.isArray(value) ? 0 : Object.keys(value).length;
  return 1 + keys + Object.values(value).reduce<number>((sum, part) => sum + elementsOf(part), 0);
}

/** In front of a value, so that it is long enough to be counted. */
const PADDING = 'a'.repeat(64 * 1024);

test('what a value has is what may be there', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      fc.pre(!JSON.stringify(value).includes('__proto__'));
      const elements = elementsOf([PADDING, value]);
      const msgpack = writeMsgpack([PADDING, value]);
      limitMsgpack(msgpack, elements);
      expect(() => limitMsgpack(msgpack, elements - 1)).toThrow(TOO_LARGE);
      // Each list and object counts once more than its members have commas.
      const json = encoder.encode(JSON.stringify([PADDING, value], undefined, 1));
      limitJson(json, 2 * elements + 1);
      if (elements > 4) expect(() => limitJson(json, elements / 2 - 1)).toThrow(TOO_LARGE);
    }),
    { seed: 7 },
  );
});

test('commas and brackets in texts are none, whatever is escaped before their end', () => {
  const texts = ['[,{:'.repeat(30_000), `${'\\"'.repeat(20_000)},,,`, `${'x'.repeat(70_000)}\\`];
  for (const text of texts) limitJson(encoder.encode(JSON.stringify({ text })), 3);
  expect(() => limitJson(encoder.encode(JSON.stringify({ texts })), 3)).toThrow(TOO_LARGE);
  // A text without an end is no JSON, which is for others to say.
  limitJson(encoder.encode(`"${'[,'.repeat(50_000)}`), 3);
});

test('the worst that a megabyte can hold is refused', () => {
  const json = encoder.encode(`[${Array(330_000).fill('{}').join()}]`);
  expect(() => limitJson(json, 65_536)).toThrow(TOO_LARGE);
  const msgpack = new Uint8Array(5 + 0xf0000).fill(0x90);
  msgpack.set([0xdd, 0, 0x0f, 0, 0]);
  expect(() => limitMsgpack(msgpack, 65_536)).toThrow(TOO_LARGE);
});
