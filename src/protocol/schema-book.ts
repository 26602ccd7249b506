import { LARGE_BYTES, type Payload } from './payload.ts';
import { layoutBytes, schemaFor } from './schema.ts';
import type { SchemaField } from './telemetry.ts';

/** How `columns` payloads are laid out. Topics whose messages have one shape share it, so that they can share a batch. */
export interface BatchSchema {
  /** On the wire. A later layout may take it over: who was told of this one is told anew (`SchemaBook`). */
  readonly id: number;
  readonly fields: readonly SchemaField[];
}

interface Known {
  /** Undefined: it has given way to another layout, which may have its number now. */
  schema: BatchSchema | undefined;
  /** Memory that it takes. */
  readonly bytes: number;
  lastUse: number;
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
  readonly #bytesMax: number;
  readonly #entries = new WeakMap<K, Entry>();
  /** By their fields, as JSON. */
  readonly #known = new Map<string, Known>();
  /** Numbers of layouts that have given way. */
  readonly #free: number[] = [];
  #bytes = 0;
  #uses = 0;

  /**
   * Numbers go from 1 to `schemasMax`, the most that the other side has to remember, and all layouts together take `bytesMax` of memory
   * at most; those not used for the longest give way.
   */
  constructor(schemasMax: number, bytesMax = Infinity) {
    this.#schemasMax = schemasMax;
    this.#bytesMax = bytesMax;
  }

  /** Memory that the layouts take. */
  get bytes(): number {
    return this.#bytes;
  }

  /** What the messages of a topic are expected to look like. */
  expected(topic: K): BatchSchema | undefined {
    const entry = this.#entries.get(topic);
    if (entry?.known === undefined) return undefined;
    const { schema } = entry.known;
    if (schema === undefined) {
      // It learns anew from the message that comes.
      this.#entries.delete(topic);
      return undefined;
    }
    entry.known.lastUse = ++this.#uses;
    return schema;
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
    return this.#find(fields)?.schema?.fields ?? fields;
  }

  /** Undefined: there is no room for it. */
  #find(fields: readonly SchemaField[]): Known | undefined {
    const key = JSON.stringify(fields);
    const known = this.#known.get(key) ?? this.#add(key, fields);
    if (known !== undefined) known.lastUse = ++this.#uses;
    return known;
  }

  #add(key: string, fields: readonly SchemaField[]): Known | undefined {
    const bytes = layoutBytes(fields) + key.length;
    if (bytes > this.#bytesMax) return undefined;
    while (this.#known.size >= this.#schemasMax || this.#bytes + bytes > this.#bytesMax) {
      if (!this.#dropOne()) return undefined;
    }
    const id = this.#free.pop() ?? this.#known.size + 1;
    const known = { schema: { id, fields }, bytes, lastUse: 0 };
    this.#known.set(key, known);
    this.#bytes += bytes;
    return known;
  }

  /** A layout that was not used for a while gives way: those that are would have to be told over and over. False: there is none. */
  #dropOne(): boolean {
    let oldest: [string, Known] | undefined;
    for (const entry of this.#known) if (oldest === undefined || entry[1].lastUse < oldest[1].lastUse) oldest = entry;
    const [key, known] = oldest!;
    if (this.#uses - known.lastUse < this.#schemasMax * UNUSED_MIN) return false;
    this.#known.delete(key);
    this.#free.push(known.schema!.id);
    this.#bytes -= known.bytes;
    known.schema = undefined;
    return true;
  }
}

function fieldsOf(payload: Payload): SchemaField[] | undefined {
  // So large a message has most of its bytes in texts, or in more fields than a layout may have.
  if (payload.raw !== undefined || payload.byteLength > LARGE_BYTES) return undefined;
  return schemaFor([payload.value()]);
}
