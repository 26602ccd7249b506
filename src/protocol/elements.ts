import { SightlineError } from '../base/errors.ts';

/**
 * How many elements a value has: each text, number, list, object … counts, whatever its size. A value of a megabyte may be one text, or 350,000
 * empty lists, which take a hundred times as long to read and fifty times the memory.
 */

/** Shorter data has fewer elements than any sensible limit. */
const UNCOUNTED_BYTES = 64 * 1024;
const [QUOTE, BACKSLASH, COMMA, COLON] = [0x22, 0x5c, 0x2c, 0x3a];
const [OPEN_LIST, OPEN_OBJECT] = [0x5b, 0x7b];

/** Throws MESSAGE_TOO_LARGE where a JSON text has more than `elementsMax` elements. It need not be JSON: then it is refused elsewhere. */
export function limitJsonElements(json: Uint8Array, elementsMax: number): void {
  if (json.length <= UNCOUNTED_BYTES) return;
  let elements = 1;
  for (let at = 0; at < json.length; at++) {
    const byte = json[at];
    if (byte === QUOTE) at = endOfText(json, at);
    else if (byte === COMMA || byte === COLON || byte === OPEN_LIST || byte === OPEN_OBJECT) {
      if (++elements > elementsMax) throw tooMany(elementsMax);
    }
  }
}

export function tooMany(elementsMax: number): SightlineError {
  return new SightlineError(
    'MESSAGE_TOO_LARGE',
    `the data has more than ${elementsMax} elements: large data goes as bytes, or in several messages`,
  );
}

/** Where the text that begins at `at` has its last quote. */
function endOfText(json: Uint8Array, at: number): number {
  let end = at;
  do {
    end = json.indexOf(QUOTE, end + 1);
    if (end === -1) return json.length;
  } while (isEscaped(json, end));
  return end;
}

function isEscaped(json: Uint8Array, at: number): boolean {
  let before = at;
  while (json[before - 1] === BACKSLASH) before--;
  return (at - before) % 2 === 1;
}
