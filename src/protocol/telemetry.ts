import type { ErrorCode } from '../base/errors.ts';
import type { Priority } from '../base/sample.ts';
import type { ClockReply, ClockRequest } from './video.ts';

/** The control messages of the telemetry lane, as `docs/protocol.md` describes them field by field. */

export const TELEMETRY_SUBPROTOCOLS = ['sightline.v1.json', 'sightline.v1.msgpack', 'sightline.v1.binary'] as const;
export type TelemetrySubprotocol = (typeof TELEMETRY_SUBPROTOCOLS)[number];

export const CONTRACTS = ['latest', 'sampled', 'all', 'reliable'] as const;
export type TelemetryContract = (typeof CONTRACTS)[number];

export const PAYLOAD_CODECS = ['bytes', 'json', 'msgpack', 'columns'] as const;
/** How payloads are written in a batch; its place in the list is its number on the wire. */
export type PayloadCodec = (typeof PAYLOAD_CODECS)[number];

export const COMPRESSIONS = ['none', 'lz4', 'zlib', 'zstd'] as const;
export type Compression = (typeof COMPRESSIONS)[number];

/** What lies at a place: a number, a truth value, or text and what else has no number in it, as JSON. */
export const FIELD_KINDS = ['f64', 'bool', 'json'] as const;
export type FieldKind = (typeof FIELD_KINDS)[number];

/** One place in a topic's messages. */
export interface SchemaField {
  readonly path: string;
  readonly kind: FieldKind;
}

export interface TopicPosition {
  topic: string;
  epoch: number;
  seq: number;
}

/** Layouts that a client may have told of at once. */
export const CLIENT_SCHEMAS_MAX = 64;

export interface SubscribeMessage {
  type: 'subscribe';
  id: number;
  filter: string;
  contract: TelemetryContract;
  hz?: number;
  ttl_ms?: number;
  codecs?: PayloadCodec[];
  since?: TopicPosition[];
  group?: string;
}

export interface UnsubscribeMessage {
  type: 'unsubscribe';
  id: number;
}

export interface AdvertiseMessage {
  type: 'advertise';
  alias: number;
  topic: string;
}

/** How `columns` payloads are laid out that follow under this number. */
export interface ClientSchemaMessage {
  type: 'schema';
  /** Chosen by the client, 1 to 64; a later message may give the number another layout. */
  schema_id: number;
  fields: SchemaField[];
}

export interface PublishMessage {
  type: 'publish';
  topic: string;
  data: unknown;
  time?: number;
  priority?: Priority;
  ttl_ms?: number;
  seq?: number;
}

/** The number is given up: its publication was refused for good, and what comes after it is to go on. */
export interface SkipMessage {
  type: 'skip';
  topic: string;
  seq: number;
}

export interface AckMessage {
  type: 'ack';
  id: number;
  topic_id: number;
  seq: number;
}

export interface ReportMessage {
  type: 'report';
  lag_ms: number;
}

export type TelemetryClientMessage =
  | SubscribeMessage
  | UnsubscribeMessage
  | AdvertiseMessage
  | ClientSchemaMessage
  | PublishMessage
  | SkipMessage
  | AckMessage
  | ReportMessage
  | ClockRequest;

export interface TelemetryLimits {
  message_bytes_max: number;
  batch_messages_max: number;
  subscriptions_max: number;
  publish_rate_max: number;
  history_messages: number;
}

export interface TelemetryWelcome {
  type: 'welcome';
  protocol: number;
  client_id: string;
  token: string;
  resumed: boolean;
  server_time: number;
  limits: TelemetryLimits;
}

export interface SubscribedMessage {
  type: 'subscribed';
  id: number;
  filter: string;
}

export interface UnsubscribedMessage {
  type: 'unsubscribed';
  id: number;
}

export interface TopicMessage {
  type: 'topic';
  id: number;
  topic: string;
  topic_id: number;
  epoch: number;
  seq: number;
  recovered: boolean;
}

export interface SchemaMessage {
  type: 'schema';
  /** Of this connection, 1 to 65,535; a later message may give the number another layout. */
  schema_id: number;
  fields: SchemaField[];
}

export interface PublishedMessage {
  type: 'published';
  topic: string;
  seq: number;
}

export type TelemetryLossCause = 'overflow' | 'expired' | 'slow_reader' | 'disconnected';

export interface LossMessage {
  type: 'loss';
  id: number;
  topic_id: number;
  from: number;
  to: number;
  count: number;
  cause: TelemetryLossCause;
}

export interface NoticeMessage {
  type: 'notice';
  reason: 'queue' | 'rate' | 'drain';
  message: string;
  penalty?: 'warn' | 'slow' | 'mute';
  reconnect_after_ms?: number;
}

export interface TelemetryError {
  type: 'error';
  code: ErrorCode;
  message: string;
  /** Of the subscription that was asked for, left or acknowledged. */
  id?: number;
  /** Of what was published or advertised. */
  topic?: string;
  /** The client's own number of the first message that is refused. */
  seq?: number;
  /** Messages that are refused; 1 where it is left out. */
  count?: number;
  /** The alias that was advertised, or whose topic is not known. */
  alias?: number;
  /** The number that the server waits for on this topic. */
  expected?: number;
  /** With `SHUTTING_DOWN`, before the connection ends: when to come back. */
  retry_after_ms?: number;
}

/** One message of a topic, as a reader gets it. */
export interface TelemetrySample {
  /** The publisher's, Unix ms on the server's clock. */
  time: number;
  priority: Priority;
  data: unknown;
}

export interface DataMessage {
  type: 'data';
  topic_id: number;
  /** Of the first message. */
  seq: number;
  messages: TelemetrySample[];
}

export type TelemetryServerMessage =
  | TelemetryWelcome
  | SubscribedMessage
  | UnsubscribedMessage
  | TopicMessage
  | SchemaMessage
  | PublishedMessage
  | LossMessage
  | NoticeMessage
  | TelemetryError
  | DataMessage
  | ClockReply;
