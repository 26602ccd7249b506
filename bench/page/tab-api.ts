import type { SchemaField } from '../../src/protocol/telemetry.ts';
import type { Measured } from '../telemetry/meter.ts';

/** What the benchmark asks of the page; arguments and results cross as JSON. */

/** The form that the handlers ask for. */
export type TabForm = 'columns' | 'objects';

export interface TabOptions {
  /** The SDK, or one JSON text a message over the browser's own WebSocket. */
  readonly client: 'sightline' | 'json';
  readonly form: TabForm;
  /** With `decodingWorker()`. */
  readonly hasWorker: boolean;
  readonly url: string;
  /** One subscription to each. */
  readonly topics: readonly string[];
  /** What the topics' histories hold comes first, as for a page that was away. */
  readonly fromStart?: boolean;
}

export interface DecodeOptions {
  /** Base64; empty: nothing is decoded. */
  readonly batch: string;
  /** Of its columns. */
  readonly fields: readonly SchemaField[];
  readonly place: 'here' | 'worker';
  readonly times: number;
}

export interface Tab {
  /** Resolves when all subscriptions are in force. */
  connect(options: TabOptions): Promise<void>;
  /** The latencies of what is published from `fromMs` on count. */
  begin(fromMs: number): void;
  /** Messages that were looked at since the tab was connected. */
  total(): number;
  end(): Measured;
  close(): Promise<void>;
  /** Decodes a batch again and again, one every 4 ms. Begin with `load`, for the worker. */
  decode(options: DecodeOptions): Promise<void>;
  load(): Promise<void>;
}
