const CHARS_MAX = 40;

/** A foreign value inside an error message: short, whatever was sent; containers may be too deep to be written out. */
export function quote(value: unknown): string {
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'a list' : 'an object';
  const text = String(value);
  const short = text.length > CHARS_MAX ? `${text.slice(0, CHARS_MAX)}…` : text;
  return typeof value === 'string' ? JSON.stringify(short) : short;
}
