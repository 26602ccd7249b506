import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { SightlineError } from '../base/errors.ts';
import { decodeFoxgloveBinary, decodeFoxgloveText, encodeMessageData, encodeTime } from './foxglove-wire.ts';

/** What a decoder may do with foreign bytes: give a message, or say what is wrong. */
function refusesOnly(decode: () => unknown): void {
  try {
    decode();
  } catch (thrown) {
    expect(thrown).toBeInstanceOf(SightlineError);
    expect((thrown as SightlineError).code).toMatch(/^MESSAGE_/);
    expect((thrown as SightlineError).message.length).toBeLessThan(400);
  }
}

describe('whatever comes', () => {
  test('bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        refusesOnly(() => decodeFoxgloveText(bytes));
        refusesOnly(() => decodeFoxgloveBinary(Buffer.from(bytes)));
      }),
      { numRuns: 500 },
    );
  });

  test('JSON of the right outline with wrong insides', () => {
    const op = fc.constantFrom(
      'subscribe',
      'unsubscribe',
      'advertise',
      'unadvertise',
      'getParameters',
      'setParameters',
      'subscribeParameterUpdates',
      'unsubscribeParameterUpdates',
      'toString',
    );
    const key = fc.constantFrom('subscriptions', 'subscriptionIds', 'channels', 'channelIds', 'parameterNames', 'id');
    fc.assert(
      fc.property(op, fc.dictionary(key, fc.jsonValue()), (name, fields) => {
        refusesOnly(() => decodeFoxgloveText(Buffer.from(JSON.stringify({ ...fields, op: name }))));
      }),
      { numRuns: 500 },
    );
  });
});

test('the binary layouts are those of the specification', () => {
  const data = encodeMessageData(0x01020304, 0x1122n, Uint8Array.of(0x7b, 0x7d));
  expect(data.toString('hex')).toBe(['01', '04030201', '2211000000000000', '7b7d'].join(''));
  expect(encodeTime(0x1122n).toString('hex')).toBe(['02', '2211000000000000'].join(''));
  expect(decodeFoxgloveBinary(Buffer.of(1, 7, 0, 0, 0, 9))).toEqual({ channelId: 7, data: Buffer.of(9) });
});
