import { z } from 'zod';
import { configSchema, ENTRY_NAME, type Applies } from './schema.ts';

/** The schema as a tree of sections, named entries and keys, and the lookup of dotted paths in it. */

/** One setting, for the documentation and the messages. */
export interface ConfigKey {
  /** `section.key`; of a key of entries `section.*.key`. */
  readonly path: string;
  readonly steps: readonly string[];
  /** The last step. */
  readonly name: string;
  readonly schema: z.ZodType;
  readonly description: string;
  readonly kind: 'integer' | 'number' | 'boolean' | 'string' | 'list';
  /** The allowed values, in words: `whole number from 5 to 60`. */
  readonly allowed: string;
  /** `undefined`: not set, or decided by the environment (then `defaultText` describes it). */
  readonly defaultValue: unknown;
  readonly defaultText: string | undefined;
  readonly optional: boolean;
  /** Keys of entries change at once. */
  readonly applies: Applies;
  /** Its value is shown to nobody. */
  readonly isSecret: boolean;
  /** It is an address with which a user and a password may come: those are shown to nobody. */
  readonly isAddress: boolean;
}

export type ConfigNode = SectionNode | EntriesNode | KeyNode;

export interface SectionNode {
  readonly kind: 'section';
  readonly description: string;
  /** A `Map`, so that `__proto__` and the like are not keys. */
  readonly children: ReadonlyMap<string, ConfigNode>;
}

/** A section whose entries have names that the user gives, and all the same keys. */
export interface EntriesNode {
  readonly kind: 'entries';
  readonly path: string;
  readonly steps: readonly string[];
  readonly description: string;
  readonly entry: SectionNode;
  /** Keys of an entry by their path inside of it. */
  readonly keys: ReadonlyMap<string, ConfigKey>;
  readonly entriesMax: number;
  /** Entries that are there by default. */
  readonly defaultValue: Readonly<Record<string, unknown>>;
}

export interface KeyNode {
  readonly kind: 'key';
  readonly key: ConfigKey;
}

/** A key, or an entry as a whole. */
export interface Place {
  readonly path: string;
  readonly steps: readonly string[];
  /** `undefined`: the entry as a whole. */
  readonly key: ConfigKey | undefined;
  /** `undefined`: it belongs to no entry. */
  readonly entry: EntryPlace | undefined;
}

export interface EntryPlace {
  readonly section: EntriesNode;
  readonly name: string;
  /** `section.name`. */
  readonly path: string;
}

interface JsonSchema {
  readonly type?: string;
  readonly enum?: readonly string[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly maxLength?: number;
  readonly maxItems?: number;
  readonly items?: JsonSchema;
  readonly default?: unknown;
  readonly description?: string;
  readonly defaultText?: string;
  readonly allowedText?: string;
  readonly applies?: Applies;
  readonly entriesMax?: number;
  readonly secret?: boolean;
  readonly address?: boolean;
}

function allowedInWords(json: JsonSchema): string {
  if (json.allowedText !== undefined) return json.allowedText;
  if (json.enum !== undefined) return `one of ${json.enum.join(', ')}`;
  switch (json.type) {
    case 'integer':
      return `whole number from ${json.minimum} to ${json.maximum}`;
    case 'number':
      return `number from ${json.minimum} to ${json.maximum}`;
    case 'boolean':
      return 'true or false';
    case 'array':
      return `list of at most ${json.maxItems}, each ${allowedInWords(json.items ?? {})}`;
    default:
      return `text of 1 to ${json.maxLength} characters`;
  }
}

function kindOf(json: JsonSchema): ConfigKey['kind'] {
  if (json.type === 'array') return 'list';
  if (json.type === 'integer' || json.type === 'number' || json.type === 'boolean') return json.type;
  return 'string';
}

function describeKey(steps: readonly string[], schema: z.ZodType): ConfigKey {
  const json = z.toJSONSchema(schema) as JsonSchema;
  return {
    path: steps.join('.'),
    steps,
    name: steps.at(-1)!,
    schema,
    description: json.description ?? '',
    kind: kindOf(json),
    allowed: allowedInWords(json),
    defaultValue: json.default,
    defaultText: json.defaultText,
    optional: schema instanceof z.ZodOptional,
    applies: json.applies ?? 'restart',
    isSecret: json.secret ?? false,
    isAddress: json.address ?? false,
  };
}

/** The tree of a schema. Throws where entries hold entries: there is one depth of names. */
export function nodeOf(schema: z.ZodType, steps: readonly string[] = []): ConfigNode {
  const inner = unwrapped(schema);
  const description = schema.description ?? inner.description ?? '';
  if (inner instanceof z.ZodObject) {
    const shape = Object.entries(inner.shape as Record<string, z.ZodType>);
    return {
      kind: 'section',
      description,
      children: new Map(shape.map(([name, child]) => [name, nodeOf(child, [...steps, name])])),
    };
  }
  if (!(inner instanceof z.ZodRecord)) return { kind: 'key', key: describeKey(steps, schema) };
  const entry = nodeOf(inner.valueType as z.ZodType, [...steps, '*']);
  if (steps.includes('*') || entry.kind !== 'section') throw new TypeError(`${steps.join('.')}: entries are sections`);
  const within = keysIn(entry).map((key) => [key.steps.slice(steps.length + 1).join('.'), key] as const);
  return {
    kind: 'entries',
    path: steps.join('.'),
    steps,
    description,
    entry,
    keys: new Map(within),
    entriesMax: (inner.meta() as JsonSchema).entriesMax!,
    defaultValue: schema instanceof z.ZodDefault ? (schema.def.defaultValue as Record<string, unknown>) : {},
  };
}

function unwrapped(schema: z.ZodType): z.ZodType {
  if (!(schema instanceof z.ZodDefault || schema instanceof z.ZodOptional)) return schema;
  return unwrapped(schema.unwrap() as z.ZodType);
}

/** Without those of entries. */
function keysIn(node: ConfigNode): ConfigKey[] {
  if (node.kind === 'key') return [node.key];
  return node.kind === 'entries' ? [] : [...node.children.values()].flatMap(keysIn);
}

function entriesIn(node: ConfigNode): EntriesNode[] {
  if (node.kind === 'entries') return [node];
  return node.kind === 'key' ? [] : [...node.children.values()].flatMap(entriesIn);
}

export const CONFIG_ROOT = nodeOf(configSchema) as SectionNode;

/** Every key by its path, in the order of the schema, but for those of entries. */
export const CONFIG_KEYS: ReadonlyMap<string, ConfigKey> = new Map(keysIn(CONFIG_ROOT).map((key) => [key.path, key]));

/** The sections of named entries, by their paths. */
export const ENTRY_SECTIONS: ReadonlyMap<string, EntriesNode> = new Map(
  entriesIn(CONFIG_ROOT).map((node) => [node.path, node]),
);

/** Names that stand for something else: `none` for no entry, `constructor` for what every object has. */
const RESERVED_NAMES: ReadonlySet<string> = new Set(['none', 'constructor']);

/** Why an entry cannot have this name; `undefined`: it can. */
export function nameFault({ keys }: EntriesNode, name: string): string | undefined {
  if (RESERVED_NAMES.has(name)) return `it cannot be called ${name}`;
  if (!ENTRY_NAME.test(name)) {
    return 'a name has 1 to 64 characters out of a-z, 0-9, ".", "_" and "-", and begins with a letter or a digit';
  }
  if (name.includes('..')) return 'a name has no two dots in a row';
  // Its path would be that of a key.
  return tailsOf(name).some(({ tail }) => keys.has(tail)) ? 'a name does not end in a key' : undefined;
}

/** A name may have dots: the first part that leaves a key behind it is the name, else all of it is. */
export function placeAt(path: string): Place | undefined {
  const key = CONFIG_KEYS.get(path);
  if (key !== undefined) return { path, steps: key.steps, key, entry: undefined };
  for (const section of ENTRY_SECTIONS.values()) {
    if (!path.startsWith(`${section.path}.`)) continue;
    const rest = path.slice(section.path.length + 1);
    const split = tailsOf(rest).find(({ tail }) => section.keys.has(tail));
    const name = split === undefined ? rest : split.head;
    if (nameFault(section, name) !== undefined) return undefined;
    const entry = { section, name, path: `${section.path}.${name}` };
    const inner = split && section.keys.get(split.tail)!;
    return { path, steps: [...section.steps, name, ...(split?.tail.split('.') ?? [])], key: inner, entry };
  }
  return undefined;
}

/** `a.b.c`: `a` and `b.c`, `a.b` and `c`. */
function tailsOf(text: string): { head: string; tail: string }[] {
  return [...text.matchAll(/\./g)].map(({ index }) => ({ head: text.slice(0, index), tail: text.slice(index + 1) }));
}

/** The value at a path of a configuration; `undefined`: not set. */
export function valueAt(config: unknown, steps: readonly string[]): unknown {
  return steps.reduce<unknown>((value, step) => {
    const isThere = typeof value === 'object' && value !== null && Object.hasOwn(value, step);
    return isThere ? (value as Readonly<Record<string, unknown>>)[step] : undefined;
  }, config);
}
