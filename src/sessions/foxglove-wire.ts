import { Buffer } from 'node:buffer';
import { z } from 'zod';
import { SightlineError, toSightlineError } from '../base/errors.ts';
import { parseJson } from '../protocol/wire-value.ts';

/**
 * The Foxglove WebSocket protocol, version 1, as far as this server speaks it
 * (https://github.com/foxglove/ws-protocol, docs/spec.md). Both subprotocols have the same messages here: what
 * `foxglove.sdk.v1` added or left out belongs to capabilities that are not announced.
 */
export const FOXGLOVE_SUBPROTOCOLS = ['foxglove.sdk.v1', 'foxglove.websocket.v1'] as const;

export const CAPABILITIES = ['clientPublish', 'parameters', 'parametersSubscribe', 'time'] as const;

const SERVER_MESSAGE_DATA = 1;
const SERVER_TIME = 2;
const CLIENT_MESSAGE_DATA = 1;

export const StatusLevel = { info: 0, warning: 1, error: 2 } as const;
export type StatusLevel = (typeof StatusLevel)[keyof typeof StatusLevel];

export interface FoxgloveChannel {
  readonly id: number;
  readonly topic: string;
  readonly encoding: 'json';
  readonly schemaName: string;
  readonly schema: string;
  readonly schemaEncoding: 'jsonschema';
}

export type ParameterValue = number | string | boolean;

export interface FoxgloveParameter {
  readonly name: string;
  readonly value: ParameterValue;
}

export type FoxgloveServerMessage =
  | {
      readonly op: 'serverInfo';
      readonly name: string;
      readonly capabilities: readonly string[];
      readonly supportedEncodings: readonly string[];
      readonly metadata: Readonly<Record<string, string>>;
      readonly sessionId: string;
    }
  | { readonly op: 'advertise'; readonly channels: readonly FoxgloveChannel[] }
  | { readonly op: 'unadvertise'; readonly channelIds: readonly number[] }
  | { readonly op: 'status'; readonly level: StatusLevel; readonly message: string; readonly id?: string }
  | { readonly op: 'parameterValues'; readonly parameters: readonly FoxgloveParameter[]; readonly id?: string };

const LIST_MAX = 10_000;
const u32 = z.int().min(0).max(0xffff_ffff);
const name = z.string().max(1_000);
const ids = z.array(u32).max(LIST_MAX);
const names = z.array(name).max(LIST_MAX);

const CLIENT_MESSAGES = {
  subscribe: z.object({
    op: z.literal('subscribe'),
    subscriptions: z.array(z.object({ id: u32, channelId: u32 })).max(LIST_MAX),
  }),
  unsubscribe: z.object({ op: z.literal('unsubscribe'), subscriptionIds: ids }),
  advertise: z.object({
    op: z.literal('advertise'),
    channels: z.array(z.object({ id: u32, topic: name, encoding: name })).max(LIST_MAX),
  }),
  unadvertise: z.object({ op: z.literal('unadvertise'), channelIds: ids }),
  getParameters: z.object({ op: z.literal('getParameters'), parameterNames: names, id: name.optional() }),
  setParameters: z.object({
    op: z.literal('setParameters'),
    parameters: z.array(z.object({ name })).max(LIST_MAX),
    id: name.optional(),
  }),
  subscribeParameterUpdates: z.object({ op: z.literal('subscribeParameterUpdates'), parameterNames: names }),
  unsubscribeParameterUpdates: z.object({ op: z.literal('unsubscribeParameterUpdates'), parameterNames: names }),
} as const;

export type FoxgloveClientMessage = z.infer<(typeof CLIENT_MESSAGES)[keyof typeof CLIENT_MESSAGES]>;

/** Throws MESSAGE_NOT_JSON, MESSAGE_TYPE_UNKNOWN, MESSAGE_FIELD_BAD. */
export function decodeFoxgloveText(data: Uint8Array): FoxgloveClientMessage {
  let value: unknown;
  try {
    value = parseJson(data);
  } catch (thrown) {
    throw new SightlineError('MESSAGE_NOT_JSON', toSightlineError(thrown).message, { cause: thrown });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new SightlineError('MESSAGE_NOT_JSON', 'a text message is no JSON object');
  }
  const { op } = value as { op?: unknown };
  if (typeof op !== 'string' || !Object.hasOwn(CLIENT_MESSAGES, op)) {
    throw new SightlineError('MESSAGE_TYPE_UNKNOWN', `there is no op ${JSON.stringify(op)?.slice(0, 80)} here`);
  }
  const parsed = CLIENT_MESSAGES[op as keyof typeof CLIENT_MESSAGES].safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new SightlineError('MESSAGE_FIELD_BAD', `${op}: "${issue!.path.join('.')}": ${issue!.message}`);
}

/** A client's message data: u8 opcode, u32 channel, payload. Throws MESSAGE_TYPE_UNKNOWN, MESSAGE_FIELD_BAD. */
export function decodeFoxgloveBinary(data: Buffer): { channelId: number; data: Uint8Array } {
  if (data[0] !== CLIENT_MESSAGE_DATA) {
    throw new SightlineError(
      'MESSAGE_TYPE_UNKNOWN',
      `there is no binary message with opcode ${data[0] ?? 'none'} here`,
    );
  }
  if (data.length < 5)
    throw new SightlineError('MESSAGE_FIELD_BAD', `a message of ${data.length} bytes has no channel`);
  return { channelId: data.readUInt32LE(1), data: data.subarray(5) };
}

/** u8 opcode, u32 subscription, u64 time in ns, payload. */
export function encodeMessageData(subscriptionId: number, timeNs: bigint, json: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(13 + json.byteLength);
  frame.writeUInt8(SERVER_MESSAGE_DATA, 0);
  frame.writeUInt32LE(subscriptionId, 1);
  frame.writeBigUInt64LE(timeNs, 5);
  frame.set(json, 13);
  return frame;
}

/** u8 opcode, u64 time in ns. */
export function encodeTime(timeNs: bigint): Buffer {
  const frame = Buffer.allocUnsafe(9);
  frame.writeUInt8(SERVER_TIME, 0);
  frame.writeBigUInt64LE(timeNs, 1);
  return frame;
}
