import { LARGE_BYTES, type Payload } from './payload.ts';
import { schemaFor } from './schema.ts';
import type { SchemaField } from './telemetry.ts';

/** How `columns` payloads are laid out. Topics whose messages have one shape share it, so that they can share a batch. */
export interface BatchSchema {
  /** On the wire. A later layout may take it over: who was told of this one is told anew (`SchemaBook`). */
  readonly id: number;
  readonly fields: readonly SchemaField[];
}

interface Known {
  readonly schema: BatchSchema;
  lastUse: number;
  /** Another layout has its number now. */
  hasGivenWay: boolean;
}

interface Entry {
  known: Known | undefined;
  /** Messages in a row that did not fit. */
  misfits: number;
  /** After so many misfits in a row the layout is made anew; doubles, so that a topic of many shapes stops trying. */
  patience: number;
}

/** A layout gives way when, for each one that is known, so many others were used since. */
const UNUSED_MIN = 2;
const PATIENCE_MIN = 1;
const PATIENCE_MAX = 65_536;

/** The layouts of topics, learned from their messages. `K`: what stands for a topic here; it takes its place along when it goes. */
export class SchemaBook<K extends object> {
  readonly #schemasMax: number;
  readonly #entries = new WeakMap<K, Entry>();
  /** By their fields, as JSON. */
  readonly #known = new Map<string, Known>();
  #uses = 0;

  /** Numbers go from 1 to `schemasMax`, the most that the other side has to remember; the layout not used for the longest gives way. */
  constructor(schemasMax: number) {
    this.#schemasMax = schemasMax;
  }

  /** What the messages of a topic are expected to look like. */
  expected(topic: K): BatchSchema | undefined {
    const entry = this.#entries.get(topic);
    if (entry?.known === undefined) return undefined;
    if (entry.known.hasGivenWay) {
      const known = this.#find(entry.known.schema.fields);
      if (known === undefined) return undefined;
      entry.known = known;
    }
    entry.known.lastUse = ++this.#uses;
    return entry.known.schema;
  }

  /** A message came as expected. */
  fitted(topic: K): void {
    const entry = this.#entries.get(topic);
    if (entry !== undefined) entry.misfits = 0;
  }

  /** A message that does not look like what was expected: it may make a new layout. */
  learn(topic: K, payload: Payload): BatchSchema | undefined {
    let entry = this.#entries.get(topic);
    if (entry === undefined) {
      entry = { known: undefined, misfits: 0, patience: PATIENCE_MIN };
      this.#entries.set(topic, entry);
    }
    if (++entry.misfits < entry.patience) return undefined;
    entry.misfits = 0;
    entry.patience = Math.min(PATIENCE_MAX, entry.patience * 2);
    const fields = payload.row?.batch.fields ?? fieldsOf(payload);
    if (fields === undefined) return undefined;
    const known = this.#find(fields);
    if (known !== undefined) entry.known = known;
    return known?.schema;
  }

  /** The one list of these fields, as far as there is room for it. */
  intern(fields: readonly SchemaField[]): readonly SchemaField[] {
    return this.#find(fields)?.schema.fields ?? fields;
  }

  /** Undefined: all numbers are in use. */
  #find(fields: readonly SchemaField[]): Known | undefined {
    const key = JSON.stringify(fields);
    let known = this.#known.get(key);
    if (known === undefined) {
      const id = this.#known.size < this.#schemasMax ? this.#known.size + 1 : this.#freeNumber();
      if (id === undefined) return undefined;
      known = { schema: { id, fields }, lastUse: 0, hasGivenWay: false };
      this.#known.set(key, known);
    }
    known.lastUse = ++this.#uses;
    return known;
  }

  /** Of a layout that was not used for a while: those that are would have to be told over and over. */
  #freeNumber(): number | undefined {
    let oldest: [string, Known] | undefined;
    for (const entry of this.#known) if (oldest === undefined || entry[1].lastUse < oldest[1].lastUse) oldest = entry;
    const [key, known] = oldest!;
    if (this.#uses - known.lastUse < this.#schemasMax * UNUSED_MIN) return undefined;
    this.#known.delete(key);
    known.hasGivenWay = true;
    return known.schema.id;
  }
}

function fieldsOf(payload: Payload): SchemaField[] | undefined {
  // So large a message has most of its bytes in texts, or in more fields than a layout may have.
  if (payload.raw !== undefined || payload.byteLength > LARGE_BYTES) return undefined;
  return schemaFor([payload.value()]);
}
