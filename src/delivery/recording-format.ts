import { Buffer } from 'node:buffer';
import { SightlineError } from '../base/errors.ts';
import { Payload } from '../protocol/payload.ts';
import { isPlainObject } from '../protocol/schema.ts';
import { isMap } from '../protocol/wire-value.ts';

/**
 * How a telemetry message is written for the world of Foxglove, live and in MCAP files: as a JSON object beside a JSON
 * Schema. Both want an object at the root, so that other values are wrapped in one; the `form` says how to get them back.
 *
 * - `object`: the message as it is
 * - `value`: `{ "value": <the message> }`
 * - `jpeg`: a `foxglove.CompressedImage` with the picture in base64
 * - `bytes`: `{ "data": <base64> }`
 */
export type MessageForm = 'object' | 'value' | 'jpeg' | 'bytes';

/** The key under which a channel of a recording has its form. */
export const FORM_KEY = 'sightline.form';

export interface ForeignMessage {
  readonly form: MessageForm;
  /** UTF-8. */
  readonly json: Uint8Array;
}

const NS_PER_MS = 1_000_000;

/** The range of MCAP and Foxglove, u64 nanoseconds: 1970 to July 2554. */
const NS_MAX = 2n ** 64n - 1n;
const MS_MAX = Number(NS_MAX / BigInt(NS_PER_MS));
const SECONDS_MAX = 2 ** 32 - 1;

/** Whether `toNs` can express this time. */
export function isSayable(ms: number): boolean {
  return ms >= 0 && ms <= MS_MAX;
}

/**
 * Unix milliseconds with a fraction as nanoseconds, without the loss that a product of doubles would have. A time that
 * cannot be expressed becomes the nearest possible one.
 */
export function toNs(ms: number): bigint {
  if (!isSayable(ms)) return ms > 0 ? NS_MAX : 0n;
  const whole = Math.floor(ms);
  return BigInt(whole) * BigInt(NS_PER_MS) + BigInt(Math.round((ms - whole) * NS_PER_MS));
}

export function toMs(ns: bigint): number {
  return Number(ns / BigInt(NS_PER_MS)) + Number(ns % BigInt(NS_PER_MS)) / NS_PER_MS;
}

/** Unix ms as the timestamp of Foxglove's schemas; one out of its range becomes the nearest possible one. */
export function toTimestamp(ms: number): { readonly sec: number; readonly nsec: number } {
  const sec = Math.floor(ms / 1000);
  if (!(sec >= 0)) return { sec: 0, nsec: 0 };
  if (sec > SECONDS_MAX) return { sec: SECONDS_MAX, nsec: 999_999_999 };
  return { sec, nsec: Math.floor((ms - sec * 1000) * NS_PER_MS) };
}

/** Cheap, however large the message is. */
export function formOf(payload: Payload): MessageForm {
  const { raw } = payload;
  if (raw !== undefined) return isJpeg(raw) ? 'jpeg' : 'bytes';
  return isObject(payload) ? 'object' : 'value';
}

/** Whether it has an object at its root; bytes are not read as a value for the answer. */
function isObject(payload: Payload): boolean {
  const { packed, form } = payload;
  if (packed !== undefined) return isMap(packed);
  if (form === 'json') return payload.own()!.find((byte) => byte > BLANK) === OPEN_OBJECT;
  return isPlainObject(payload.value());
}

const BLANK = 0x20;
const OPEN_OBJECT = 0x7b;

/** `timeMs`: the message's own time, Unix ms. `source`: whose picture it is, for `frame_id`. */
export function toForeign(payload: Payload, timeMs: number, source: string): ForeignMessage {
  const form = formOf(payload);
  switch (form) {
    case 'object':
      return { form, json: payload.json() };
    case 'value':
      return { form, json: Buffer.concat([Buffer.from('{"value":'), payload.json(), Buffer.from('}')]) };
    case 'bytes':
      return { form, json: withBase64('{"data":"', payload.raw!, '"}') };
    case 'jpeg': {
      const head = JSON.stringify({ timestamp: toTimestamp(timeMs), frame_id: source, format: 'jpeg' });
      return { form, json: withBase64(`${head.slice(0, -1)},"data":"`, payload.raw!, '"}') };
    }
  }
}

/** The message that `toForeign` was given. `form` undefined: a file of another tool. Throws PAYLOAD_BAD. */
export function fromForeign(form: string | undefined, encoding: string, data: Uint8Array): Payload {
  if (encoding !== 'json') return Payload.bytes(data);
  if (form === undefined || form === 'object') return Payload.json(data);
  const key = form === 'value' ? 'value' : 'data';
  const wrapper = Payload.json(data).value();
  const inside = isPlainObject(wrapper) && Object.hasOwn(wrapper, key) ? wrapper[key] : undefined;
  if (inside === undefined || (form !== 'value' && typeof inside !== 'string')) {
    throw new SightlineError('PAYLOAD_BAD', `a message of the form "${form.slice(0, 20)}" has no valid "${key}"`);
  }
  return form === 'value' ? Payload.of(inside) : Payload.bytes(Buffer.from(inside as string, 'base64'));
}

/** Base64 needs no escapes in JSON: a large message is not gone through again for them. */
function withBase64(before: string, bytes: Uint8Array, after: string): Uint8Array {
  const base64 = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
  return Buffer.concat([Buffer.from(before), Buffer.from(base64, 'latin1'), Buffer.from(after)]);
}

function isJpeg(bytes: Uint8Array): boolean {
  return bytes[0] === 0xff && bytes[1] === 0xd8 && bytes[2] === 0xff;
}
