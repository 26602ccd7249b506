import { SightlineError } from '../base/errors.ts';
import { DEPTH_MAX } from './wire-value.ts';

/** A message of so many values is larger than any server takes: what is woven into itself is given up there. */
const VALUES_MAX = 1024 * 1024;
const PLACE_CHARS_MAX = 120;

/**
 * A program's value as the value that a message can say, in every format: the one that `JSON.stringify` would write, but that
 * NaN, the infinities and −0 stay. A copy: its owner may go on and change it. Throws PAYLOAD_BAD, naming the key, for what JSON
 * has no form for or would lose without a word, and for what no message may hold (`wire-value.ts`); MESSAGE_TOO_LARGE for more
 * than 1,048,576 values.
 */
export function programValue(data: unknown): unknown {
  const walk = new Walk();
  const value = walk.begin(data);
  if (value === undefined) {
    const what = data === undefined ? 'undefined' : `a ${typeof data}`;
    throw walk.bad(`is ${what}, for which JSON has no form: give null, or nothing at all`);
  }
  return value;
}

class Walk {
  /** Keys and places on the way to where it is, and what they belong to. */
  readonly #path: (string | number)[] = [];
  readonly #parents: object[] = [];
  #count = 0;

  begin(data: unknown): unknown {
    try {
      return this.#take(data, '');
    } catch (cause) {
      if (cause instanceof SightlineError) throw cause;
      // Getters, proxies and `toJSON` are the program's own code.
      throw this.bad(`cannot be read: ${String((cause as Error | undefined)?.message ?? cause).slice(0, 200)}`, cause);
    }
  }

  /** Undefined: what JSON leaves out. */
  #take(given: unknown, key: string | number): unknown {
    if (++this.#count > VALUES_MAX) {
      throw new SightlineError('MESSAGE_TOO_LARGE', `${this.#place()} is beyond the first ${VALUES_MAX} values`);
    }
    const isBare = typeof given !== 'object' && typeof given !== 'function' && typeof given !== 'bigint';
    const value = isBare || given === null ? given : bare(given, key);
    switch (typeof value) {
      case 'string':
        if (!value.isWellFormed()) throw this.bad('has half a character, which UTF-8 cannot say');
        return value;
      case 'number':
      case 'boolean':
        return value;
      case 'bigint':
        throw this.bad(
          `is the BigInt ${String(value).slice(0, 40)}, for which JSON has no form: give a number or a text`,
        );
      case 'object':
        return value === null ? null : this.#takeContainer(value);
      default:
        return undefined;
    }
  }

  #takeContainer(value: object): unknown {
    if (this.#parents.length >= DEPTH_MAX) {
      const first = this.#parents.indexOf(value);
      if (first !== -1) {
        // Where it is met for the second time.
        const second = this.#parents.indexOf(value, first + 1);
        if (second !== -1) this.#path.length = second;
        throw this.bad('holds itself');
      }
      throw this.bad(`is nested deeper than ${DEPTH_MAX} levels`);
    }
    const kind = kindWithoutForm(value);
    if (kind !== undefined) {
      const article = /^[AEIO]/.test(kind) ? 'an' : 'a';
      throw this.bad(`is ${article} ${kind}, for which JSON has no form: ${adviceFor(value, kind)}`);
    }
    this.#parents.push(value);
    const copy = Array.isArray(value) ? this.#takeList(value) : this.#takeObject(value as Record<string, unknown>);
    this.#parents.pop();
    return copy;
  }

  #takeList(list: readonly unknown[]): unknown[] {
    const copy: unknown[] = [];
    for (let i = 0; i < list.length; i++) {
      this.#path.push(i);
      copy.push(this.#take(list[i], i) ?? null);
      this.#path.pop();
    }
    return copy;
  }

  #takeObject(object: Record<string, unknown>): Record<string, unknown> {
    const copy: Record<string, unknown> = {};
    for (const key of Object.keys(object)) {
      this.#path.push(key);
      if (key === '__proto__') throw this.bad('is a key that no message may have');
      if (!key.isWellFormed()) throw this.bad('is a key with half a character, which UTF-8 cannot say');
      const value = this.#take(object[key], key);
      if (value !== undefined) copy[key] = value;
      this.#path.pop();
    }
    return copy;
  }

  bad(why: string, cause?: unknown): SightlineError {
    return new SightlineError('PAYLOAD_BAD', `${this.#place()} ${why}`, cause === undefined ? undefined : { cause });
  }

  #place(): string {
    let place = this.#path.length === 0 ? 'the data' : 'data';
    for (const part of this.#path) {
      if (typeof part === 'number') place += `[${part}]`;
      else place += /^[\w$]+$/.test(part) ? `.${part}` : `[${JSON.stringify(part)}]`;
    }
    if (place.length <= PLACE_CHARS_MAX) return place;
    // The key itself is at the end.
    const half = PLACE_CHARS_MAX / 2;
    return `${place.slice(0, half).toWellFormed()}…${place.slice(-half).toWellFormed()}`;
  }
}

/** What `toJSON` makes of it, and a primitive instead of its wrapper. */
function bare(given: NonNullable<unknown>, key: string | number): unknown {
  const { toJSON } = given as { toJSON?: unknown };
  const value: unknown = typeof toJSON === 'function' ? toJSON.call(given, String(key)) : given;
  if (typeof value !== 'object' || value === null || isPlain(value)) return value;
  switch (tagOf(value)) {
    case 'Number':
      return Number(value);
    case 'String':
      return String(value);
    case 'Boolean':
    case 'BigInt':
      return value.valueOf();
    default:
      return value;
  }
}

/** What it is, where JSON writes `{}` though there is something in it, or an object of numbered keys. */
function kindWithoutForm(value: object): string | undefined {
  if (isPlain(value)) return undefined;
  const tag = tagOf(value);
  if (tag === 'Object') return undefined;
  const isLost = ArrayBuffer.isView(value) || Object.hasOwn(ADVICE, tag) || Object.keys(value).length === 0;
  return isLost ? tag : undefined;
}

const NUMBERS = 'give Array.from(…) of its numbers, or a Uint8Array as the whole of the data';
const ADVICE: Readonly<Record<string, string>> = {
  Map: 'give Object.fromEntries(…) of it',
  Set: 'give a list of it',
  Error: 'give its message',
  ArrayBuffer: NUMBERS,
};

function adviceFor(value: object, kind: string): string {
  return ADVICE[kind] ?? (ArrayBuffer.isView(value) ? NUMBERS : 'give a plain object, a list or a text');
}

function isPlain(value: object): boolean {
  if (Array.isArray(value)) return true;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** `Map`, `Date`, `Object` for a class of the program: also of another realm, as an iframe is one. */
function tagOf(value: object): string {
  return Object.prototype.toString.call(value).slice('[object '.length, -1);
}
