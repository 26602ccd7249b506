import { z } from 'zod';
import type { TracedFrame } from './frame-trace.ts';
import { spansOf, type AttributeValue, type Span } from './spans.ts';

/** Frames as a request of OTLP/HTTP in JSON (https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding), and its answer. Pure. */

/** What all spans of this process have in common: attributes by their names (`service.name` …). */
export interface Resource {
  readonly attributes: Readonly<Record<string, AttributeValue>>;
  /** Of Sightline. */
  readonly version: string;
}

/** Numbers of `SpanKind` and `StatusCode` in `trace.proto`. */
const KIND_INTERNAL = 1;
const KIND_SERVER = 2;
const STATUS_ERROR = 2;
/** Flags of a span: those of the trace, and whether its parent is of another process. */
const FLAG_SAMPLED = 1;
const FLAG_KNOWS_PARENT = 0x100;
const FLAG_REMOTE_PARENT = 0x200;

/** `aheadMs`: how far the time of day is ahead of the clock of the frames. */
export function otlpRequest(
  frames: readonly TracedFrame[],
  { resource, aheadMs, newId }: { resource: Resource; aheadMs: number; newId: () => string },
): object {
  const spans = frames.flatMap((frame) =>
    spansOf(frame, newId).map((span, i) => otlpSpan(span, { frame, aheadMs, isFirst: i === 0 })),
  );
  return {
    resourceSpans: [
      {
        resource: { attributes: otlpAttributes(resource.attributes) },
        scopeSpans: [{ scope: { name: 'sightline', version: resource.version }, spans }],
      },
    ],
  };
}

function otlpSpan(
  span: Span,
  { frame, aheadMs, isFirst }: { frame: TracedFrame; aheadMs: number; isFirst: boolean },
): object {
  return {
    traceId: frame.trace.traceId,
    spanId: span.spanId,
    ...(span.parentSpanId !== undefined && { parentSpanId: span.parentSpanId }),
    flags: FLAG_SAMPLED | FLAG_KNOWS_PARENT | (span.isParentRemote ? FLAG_REMOTE_PARENT : 0),
    name: span.name,
    kind: isFirst ? KIND_SERVER : KIND_INTERNAL,
    startTimeUnixNano: unixNanoseconds(span.startMs + aheadMs),
    endTimeUnixNano: unixNanoseconds(span.endMs + aheadMs),
    ...(isFirst && { attributes: otlpAttributes(span.attributes) }),
    ...(span.fault !== undefined && { status: { code: STATUS_ERROR, message: span.fault } }),
  };
}

/** 64 bits are a text in JSON. A number has not enough digits for all of them: a quarter of a microsecond is left. */
function unixNanoseconds(ms: number): string {
  const whole = Math.floor(ms);
  return `${whole}${String(Math.floor((ms - whole) * 1e6)).padStart(6, '0')}`;
}

function otlpAttributes(attributes: Readonly<Record<string, AttributeValue>>): object[] {
  return Object.entries(attributes).map(([key, value]) => ({ key, value: otlpValue(value) }));
}

function otlpValue(value: AttributeValue): object {
  if (typeof value === 'string') return { stringValue: value };
  if (typeof value === 'boolean') return { boolValue: value };
  return Number.isSafeInteger(value) ? { intValue: String(value) } : { doubleValue: value };
}

const answerSchema = z.object({
  partialSuccess: z
    .object({ rejectedSpans: z.coerce.number().int().min(0).default(0), errorMessage: z.string().default('') })
    .optional(),
});

/** Of a collector that has taken the request: the spans that it did not. An answer that cannot be read says nothing against them. */
export function rejectedIn(text: string): { readonly spans: number; readonly why: string } {
  try {
    const { rejectedSpans = 0, errorMessage = '' } = answerSchema.parse(JSON.parse(text)).partialSuccess ?? {};
    return { spans: rejectedSpans, why: errorMessage };
  } catch {
    return { spans: 0, why: '' };
  }
}
