import fc from 'fast-check';
import { expect, test } from 'vitest';
import { opened, sealed, sealedBytes } from './envelope.ts';

const key = fc.string({ maxLength: 40 });
const bytes = fc.uint8Array({ maxLength: 300 });

test('what was put in comes out, by its own key alone', () => {
  fc.assert(
    fc.property(key, key, bytes, (name, other, fragment) => {
      const content = sealed(name, fragment);
      expect(content).toHaveLength(sealedBytes(name, fragment));
      expect(opened(name, content)).toEqual(Buffer.from(fragment));
      if (other !== name) expect(opened(other, content)).toBeUndefined();
    }),
  );
});

test('cut off, longer, or with any bit changed it is nothing', () => {
  fc.assert(
    fc.property(key, bytes, fc.nat(), (name, fragment, at) => {
      const content = sealed(name, fragment);
      expect(opened(name, content.subarray(0, at % content.length))).toBeUndefined();
      expect(opened(name, Buffer.concat([content, Buffer.of(0)]))).toBeUndefined();
      const bit = at % (8 * content.length);
      content[bit >> 3]! ^= 1 << (bit & 7);
      expect(opened(name, content)).toBeUndefined();
    }),
  );
});
