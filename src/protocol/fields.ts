import { SightlineError } from '../base/errors.ts';
import { quote } from './quote.ts';
import type { VideoClockRequest } from './video.ts';

/** Fields of JSON messages of clients, which may be anything. */

/** Throws MESSAGE_NOT_JSON. */
export function parseObject(text: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new SightlineError('MESSAGE_NOT_JSON', `the message is not JSON: ${(cause as Error).message}`, { cause });
  }
  return asObject(value);
}

/** Throws MESSAGE_NOT_JSON. */
export function asObject(value: unknown): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new SightlineError('MESSAGE_NOT_JSON', `the message is ${quote(value)} instead of an object`);
  }
  return value as Record<string, unknown>;
}

/** Throws MESSAGE_FIELD_BAD. */
export function finiteNumber(message: Record<string, unknown>, field: string): number {
  const value = message[field];
  if (typeof value === 'number' && Number.isFinite(value)) return value;
  throw new SightlineError('MESSAGE_FIELD_BAD', `${field} ${quote(value)} is not a number`);
}

/** Milliseconds, not negative. Throws MESSAGE_FIELD_BAD. */
export function duration(message: Record<string, unknown>, field: string): number {
  const value = finiteNumber(message, field);
  if (value >= 0) return value;
  throw new SightlineError('MESSAGE_FIELD_BAD', `${field} ${quote(value)} is negative`);
}

/** Throws MESSAGE_FIELD_BAD. */
export function oneOf<T extends string>(field: string, value: unknown, allowed: readonly T[]): T {
  if (allowed.includes(value as T)) return value as T;
  throw new SightlineError('MESSAGE_FIELD_BAD', `${field} ${quote(value)} is not one of ${allowed.join(', ')}`);
}

/** A request for the server's time. Throws MESSAGE_FIELD_BAD. */
export function decodeClock(message: Record<string, unknown>): VideoClockRequest {
  const t0 = finiteNumber(message, 't0');
  if (message['round_trip_ms'] === undefined) return { type: 'clock', t0 };
  return { type: 'clock', t0, round_trip_ms: duration(message, 'round_trip_ms') };
}
