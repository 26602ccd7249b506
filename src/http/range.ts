import type { IncomingHttpHeaders } from 'node:http';

/** Of the bytes of an answer, from `from` up to before `to`. */
export interface Range {
  readonly from: number;
  readonly to: number;
}

/**
 * What a request asks for of so many bytes (RFC 9110 §14.2): `whole`, also where it asks for several parts, in other units, or, by `If-Range`, of bytes that have
 * changed; `none`: there is no such part. Pure.
 */
export function readRange(
  headers: Pick<IncomingHttpHeaders, 'range'> & { readonly 'if-range'?: string | string[] | undefined },
  length: number,
  tag: unknown,
): Range | 'whole' | 'none' {
  const [, first = '', last = ''] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(headers.range ?? '') ?? [];
  if (first === '' && last === '') return 'whole';
  const condition = headers['if-range'];
  if (condition !== undefined && condition !== tag) return 'whole';
  if (first === '') {
    const count = Math.min(Number(last), length);
    return count === 0 ? 'none' : { from: length - count, to: length };
  }
  const from = Number(first);
  const to = last === '' ? length : Math.min(Number(last) + 1, length);
  // Its end before its beginning is no range at all.
  if (last !== '' && Number(last) < from) return 'whole';
  return from >= length ? 'none' : { from, to };
}

/** RFC 9110 §13.1.2. */
export function hasTag(header: string | undefined, tag: string): boolean {
  if (header === undefined) return false;
  return header.trim() === '*' || header.split(',').some((one) => one.trim().replace(/^W\//, '') === tag);
}
