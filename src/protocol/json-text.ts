/** Texts in JSON that is looked at and not parsed, such as what no message may hold. Pure. */

export const QUOTE = 0x22;
const BACKSLASH = 0x5c;
/** Up to so many bytes are looked at one by one: the engine's own search takes as long as that to begin. */
const SHORT_BYTES = 48;

/** Where the text whose first quote is at `from` has its last one; the length of the bytes where it has none. Takes time by its length, whatever is in it. */
export function closingQuote(json: Uint8Array, from: number): number {
  let at = from + 1;
  for (;;) {
    const shortEnd = Math.min(json.length, at + SHORT_BYTES);
    for (; at < shortEnd; at++) {
      const byte = json[at];
      if (byte === QUOTE) return at;
      if (byte === BACKSLASH) at++;
    }
    const found = at < json.length ? json.indexOf(QUOTE, at) : -1;
    if (found < 0) return json.length;
    if (!isEscaped(json, at, found)) return found;
    at = found + 1;
  }
}

/** What is before `from` has nothing to do with it. */
function isEscaped(json: Uint8Array, from: number, at: number): boolean {
  let before = at;
  while (before > from && json[before - 1] === BACKSLASH) before--;
  return (at - before) % 2 === 1;
}
