import type { BatchMessage } from '../protocol/batch.ts';
import { payloadFits } from '../protocol/columns.ts';
import { schemaFor } from '../protocol/schema.ts';
import type { PayloadCodec, SchemaField } from '../protocol/telemetry.ts';
import type { Topic } from '../stream/topics.ts';

/** How `columns` payloads of a topic are laid out. */
export interface TopicSchema {
  readonly id: number;
  readonly fields: readonly SchemaField[];
}

/** Messages that can go in one batch: those before `to`. */
export interface Run {
  readonly to: number;
  readonly codec: PayloadCodec;
  readonly schema: TopicSchema | undefined;
}

interface Entry {
  schema: TopicSchema | undefined;
  /** Messages in a row that did not fit. */
  misfits: number;
  /** After so many misfits in a row the layout is made anew; doubles, so that a topic of many shapes stops trying. */
  patience: number;
}

const SCHEMA_ID_MAX = 255;
const PATIENCE_MIN = 1;
const PATIENCE_MAX = 65_536;

/** The layouts of topics, learned from their messages. */
export class SchemaBook {
  /** Weak: a topic that is forgotten takes its layout along. */
  readonly #entries = new WeakMap<Topic, Entry>();

  /** The messages from `from` on that go in one batch, and how. `codecs`: what the reader can read, best first. */
  nextRun(topic: Topic, messages: readonly BatchMessage[], from: number, codecs: readonly PayloadCodec[]): Run {
    if (isBytes(messages[from]!)) return { to: endOf(messages, from, isBytes), codec: 'bytes', schema: undefined };
    if (codecs.includes('columns')) {
      const schema = this.#schemaFor(topic, messages[from]!);
      if (schema !== undefined) {
        const fitsIt = (message: BatchMessage) => !isBytes(message) && payloadFits(schema.fields, message.payload);
        return { to: endOf(messages, from, fitsIt), codec: 'columns', schema };
      }
      // One message alone: the next one may fit.
      if (this.#entries.get(topic)?.schema !== undefined) return { to: from + 1, codec: plainCodec(codecs), schema };
    }
    return { to: endOf(messages, from, (message) => !isBytes(message)), codec: plainCodec(codecs), schema: undefined };
  }

  #schemaFor(topic: Topic, { payload }: BatchMessage): TopicSchema | undefined {
    let entry = this.#entries.get(topic);
    if (entry === undefined) {
      entry = { schema: undefined, misfits: 0, patience: PATIENCE_MIN };
      this.#entries.set(topic, entry);
    }
    if (entry.schema !== undefined && payloadFits(entry.schema.fields, payload)) {
      entry.misfits = 0;
      return entry.schema;
    }
    if (++entry.misfits < entry.patience) return undefined;
    entry.misfits = 0;
    entry.patience = Math.min(PATIENCE_MAX, entry.patience * 2);
    const fields = schemaFor([payload.value()]);
    if (fields === undefined) return undefined;
    entry.schema = { id: ((entry.schema?.id ?? 0) % SCHEMA_ID_MAX) + 1, fields };
    return entry.schema;
  }
}

function isBytes({ payload }: BatchMessage): boolean {
  return payload.raw !== undefined;
}

function plainCodec(codecs: readonly PayloadCodec[]): PayloadCodec {
  return codecs.find((codec) => codec === 'msgpack' || codec === 'json') ?? 'msgpack';
}

function endOf(messages: readonly BatchMessage[], from: number, belongs: (message: BatchMessage) => boolean): number {
  let to = from + 1;
  while (to < messages.length && belongs(messages[to]!)) to++;
  return to;
}
