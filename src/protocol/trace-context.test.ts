import { expect, test } from 'vitest';
import { readTraceParent, readTraceParentBytes } from './trace-context.ts';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const SPAN = '00f067aa0ba902b7';

test('the example of the recommendation', () => {
  expect(readTraceParent(`00-${TRACE}-${SPAN}-01`)).toEqual({ traceId: TRACE, spanId: SPAN, isSampled: true });
});

test.each([
  ['not sampled', `00-${TRACE}-${SPAN}-00`, false],
  ['flags that are not known', `00-${TRACE}-${SPAN}-fe`, false],
  ['with the flag of a random id', `00-${TRACE}-${SPAN}-03`, true],
  ['a later version', `cc-${TRACE}-${SPAN}-01`, true],
  ['a later version with more behind it', `cc-${TRACE}-${SPAN}-01-what-the-future-may-bring`, true],
])('%s', (_what, text, isSampled) => {
  expect(readTraceParent(text)).toEqual({ traceId: TRACE, spanId: SPAN, isSampled });
});

test.each([
  undefined,
  null,
  7,
  {},
  '',
  TRACE,
  `ff-${TRACE}-${SPAN}-01`,
  `00-${TRACE}-${SPAN}-01-more`,
  `00-${TRACE}-${SPAN}-01 `,
  `00-${TRACE}-${SPAN}`,
  `00-${TRACE}-${SPAN}-1`,
  `cc-${TRACE}-${SPAN}-01.more`,
  `00-${TRACE.toUpperCase()}-${SPAN}-01`,
  `00-${'0'.repeat(32)}-${SPAN}-01`,
  `00-${TRACE}-${'0'.repeat(16)}-01`,
  `00-${TRACE.slice(1)}-${SPAN}-01`,
  `0-${TRACE}-${SPAN}-01`,
  `cc-${TRACE}-${SPAN}-01-${'x'.repeat(1_000)}`,
])('%j is none', (text) => expect(readTraceParent(text)).toBeUndefined());

test('as bytes', () => {
  const bytes = new Uint8Array([...Buffer.from(TRACE, 'hex'), ...Buffer.from(SPAN, 'hex'), 1]);
  expect(readTraceParentBytes(bytes)).toEqual({ traceId: TRACE, spanId: SPAN, isSampled: true });
  expect(readTraceParentBytes(bytes.with(24, 2))).toMatchObject({ isSampled: false });
  expect(readTraceParentBytes(bytes.subarray(1))).toBeUndefined();
  expect(readTraceParentBytes(new Uint8Array(25))).toBeUndefined();
  expect(readTraceParentBytes(bytes.fill(0, 16, 24))).toBeUndefined();
});
