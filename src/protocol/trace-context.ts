/**
 * What a frame brings of the trace that it belongs to: W3C Trace Context (https://www.w3.org/TR/trace-context-2/), as text, or as the
 * bytes behind the header of a frame. `tracestate` is not taken: the server calls nobody to whom it could hand it on.
 */

export interface TraceParent {
  /** 32 hexadecimal digits, in small letters, not all 0. */
  readonly traceId: string;
  /** Of the caller's span: 16 such digits. */
  readonly spanId: string;
  /** The caller keeps the trace. */
  readonly isSampled: boolean;
}

/** Trace id, span id, flags. */
export const TRACE_PARENT_BYTES = 16 + 8 + 1;
/** No version that is known is as long. */
const CHARS_MAX = 512;
const FORM = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/s;
const NOTHING = /^0+$/;
const SAMPLED = 1;

/** undefined: it is none by §3.2 of the recommendation, and the trace begins anew. Later versions may go on behind the flags. */
export function readTraceParent(text: unknown): TraceParent | undefined {
  if (typeof text !== 'string' || text.length > CHARS_MAX) return undefined;
  const [, version, traceId = '', spanId = '', flags = '', rest] = FORM.exec(text) ?? [];
  if (version === undefined || version === 'ff' || (version === '00' && rest !== undefined)) return undefined;
  return traceParent(traceId, spanId, Number.parseInt(flags, 16));
}

/** The same out of `TRACE_PARENT_BYTES` bytes. */
export function readTraceParentBytes(bytes: Uint8Array): TraceParent | undefined {
  if (bytes.length !== TRACE_PARENT_BYTES) return undefined;
  return traceParent(hex(bytes.subarray(0, 16)), hex(bytes.subarray(16, 24)), bytes[24]!);
}

function traceParent(traceId: string, spanId: string, flags: number): TraceParent | undefined {
  if (NOTHING.test(traceId) || NOTHING.test(spanId)) return undefined;
  return { traceId, spanId, isSampled: (flags & SAMPLED) !== 0 };
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
