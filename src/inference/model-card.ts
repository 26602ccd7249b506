/** A model file's metadata in its `metadata_props`, in the forms in which exporters write it. */

export interface ModelCard {
  /** `detect`, `segment`, `pose`, `obb`, `classify`, or another word in lower case. */
  readonly task?: string;
  /** Names of the classes, by number; `class 7` for a number that is left out. */
  readonly names?: readonly string[];
  /** How many numbers each box has for its key points. */
  readonly keypoints?: number;
  /** The metadata says that its boxes need no suppression. */
  readonly isEndToEnd: boolean;
  /** Ultralytics' RT-DETR, which has an output of its own form. */
  readonly isRtDetr: boolean;
}

/** Where other projects than Ultralytics, which write `names`, keep the classes' names. */
const OTHER_NAME_KEYS = ['class_names', 'classes', 'labels', 'id2label'];
/** Roboflow's RF-DETR keeps all its metadata in one JSON object. */
const RF_DETR_KEY = 'rfdetr_inference';
const CLASSES_MAX = 65_536;

export function readModelCard(metadata: Readonly<Record<string, string>>): ModelCard {
  const rfDetr = literalOf(metadata[RF_DETR_KEY]);
  const said = isRecord(rfDetr) ? rfDetr : {};
  const names =
    namesOf(said['class_id_to_name']) ??
    namesOf(said['class_names']) ??
    namesIn(metadata['names']) ??
    OTHER_NAME_KEYS.map((key) => namesOf(literalOf(metadata[key]))).find((found) => found !== undefined);
  const task = said['task'] ?? metadata['task'];
  const keypoints = literalOf(metadata['kpt_shape']);
  const exported = literalOf(metadata['args']);
  return {
    ...(typeof task === 'string' && task.trim() !== '' && { task: task.trim().toLowerCase() }),
    ...(names && { names }),
    ...(isCounts(keypoints) && { keypoints: keypoints.reduce((a, b) => a * b, 1) }),
    isEndToEnd: isTrue(metadata['end2end']) || (isRecord(exported) && exported['nms'] === true),
    isRtDetr: /rt-?detr/i.test(`${metadata['head'] ?? ''} ${metadata['description'] ?? ''}`),
  };
}

/** A list or dictionary; any other text has a line for each name, or names with commas between them. */
function namesIn(text: string | undefined): readonly string[] | undefined {
  if (text === undefined || text.trim() === '') return undefined;
  const value = literalOf(text);
  if (value !== undefined) return namesOf(value);
  if (/^\s*[[{(]/.test(text)) return undefined;
  const separator = text.trim().includes('\n') ? '\n' : ',';
  return text
    .trim()
    .split(separator)
    .map((name) => name.trim());
}

function namesOf(value: unknown): readonly string[] | undefined {
  if (Array.isArray(value)) return value.length > 0 && value.every(isName) ? value.map(String) : undefined;
  if (!isRecord(value)) return undefined;
  const entries = Object.entries(value);
  // Some write the number by the name instead of the name by the number.
  const isTurned = entries.every(([key, name]) => !/^\d+$/.test(key) && typeof name === 'number');
  const numbered = entries.map(([key, name]): [number, unknown] =>
    isTurned ? [Number(name), key] : [Number(key), name],
  );
  const isGood = numbered.every(([at, name]) => Number.isInteger(at) && at >= 0 && at < CLASSES_MAX && isName(name));
  if (numbered.length === 0 || !isGood) return undefined;
  const names: string[] = [];
  for (const [at, name] of numbered) names[at] = String(name);
  return Array.from(names, (name, i) => name ?? `class ${i}`);
}

const isName = (value: unknown): value is string | number => typeof value === 'string' || typeof value === 'number';

const isTrue = (text: string | undefined) => /^\s*true\s*$/i.test(text ?? '');

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.length > 0 && value.every((n) => Number.isInteger(n) && n > 0);
}

/** The value of a text in JSON, or as Python's `repr` writes it; undefined when it is neither. */
export function literalOf(text: string | undefined): unknown {
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return new PythonLiteral(text).read();
  }
}

/** Escapes of Python's string literals, but for those with digits. */
const ESCAPES: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', b: '\b', f: '\f', v: '\v', a: '\x07' };
const WORDS: Readonly<Record<string, unknown>> = { True: true, False: false, None: null };
const DEPTH_MAX = 16;

/** Reads dictionaries, lists, tuples, strings, numbers and Python's three words: the forms that `repr` gives plain values. */
class PythonLiteral {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  read(): unknown {
    try {
      const value = this.#value(0);
      return this.#take(/\s*$/y) === undefined ? undefined : value;
    } catch {
      return undefined;
    }
  }

  #value(depth: number): unknown {
    if (depth > DEPTH_MAX) throw new RangeError('too deep');
    const opening = this.#take(/\s*([[({])/y)?.[1];
    if (opening === '{') return this.#dictionary(depth);
    if (opening !== undefined) return this.#list(opening === '[' ? ']' : ')', depth);
    const quoted = this.#take(/\s*[uUbB]?(?:'((?:[^'\\]|\\[^])*)'|"((?:[^"\\]|\\[^])*)")/y);
    if (quoted) return unescaped(quoted[1] ?? quoted[2] ?? '');
    const number = this.#take(/\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)/y)?.[1];
    if (number !== undefined) return Number(number);
    const word = this.#take(/\s*(True|False|None)\b/y)?.[1];
    if (word !== undefined) return WORDS[word];
    throw new SyntaxError('no Python literal');
  }

  #dictionary(depth: number): Record<string, unknown> {
    const entries: [string, unknown][] = [];
    while (!this.#take(/\s*\}/y)) {
      if (entries.length > 0) this.#demand(/\s*,/y);
      if (this.#take(/\s*\}/y)) break;
      const key = this.#value(depth + 1);
      this.#demand(/\s*:/y);
      entries.push([String(key), this.#value(depth + 1)]);
    }
    return Object.fromEntries(entries);
  }

  #list(closing: ']' | ')', depth: number): unknown[] {
    const end = closing === ']' ? /\s*\]/y : /\s*\)/y;
    const values: unknown[] = [];
    while (!this.#take(end)) {
      if (values.length > 0) this.#demand(/\s*,/y);
      if (this.#take(end)) break;
      values.push(this.#value(depth + 1));
    }
    return values;
  }

  #demand(pattern: RegExp): void {
    if (!this.#take(pattern)) throw new SyntaxError('no Python literal');
  }

  /** The match of the sticky pattern here; goes on behind it. */
  #take(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text);
    if (!found) return undefined;
    this.#at = pattern.lastIndex;
    return found;
  }
}

function unescaped(text: string): string {
  return text.replaceAll(
    /\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([^]))/g,
    (whole, x?: string, u?: string, long?: string, other?: string) => {
      const code = x ?? u ?? long;
      if (code !== undefined)
        return Number.parseInt(code, 16) <= 0x10ffff ? String.fromCodePoint(Number.parseInt(code, 16)) : whole;
      return ESCAPES[other ?? ''] ?? other ?? '';
    },
  );
}
