import fc from 'fast-check';

/** Values that a message can say in JSON: without negative zero, without the key `__proto__`. */
export const messageValues: fc.Arbitrary<unknown> = fc
  .jsonValue({ maxDepth: 3 })
  .map((value) => JSON.parse(JSON.stringify(value)) as unknown)
  .filter((value) => !JSON.stringify(value).includes('"__proto__"'));
