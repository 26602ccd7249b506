import { ProxyTracerProvider, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace, TraceFlags } from '@opentelemetry/api';
import type { TracerProvider } from '@opentelemetry/api';
import { wallAheadMs, type Clock } from '../../base/clock.ts';
import type { TracedFrame } from './frame-trace.ts';
import { spansOf } from './spans.ts';

/** The tracing that a program which embeds the server has set up for itself, with `@opentelemetry/api`; undefined: it has not. */
export function registeredProvider(): TracerProvider | undefined {
  const provider = trace.getTracerProvider();
  // The proxy stands there whether or not somebody is behind it.
  const isEmpty = provider instanceof ProxyTracerProvider && provider.getDelegateTracer('sightline') === undefined;
  return isEmpty ? undefined : provider;
}

/** Hands spans to it: its own sampler, processors and exporters go on from there. */
export class ProviderSink {
  readonly #clock: Clock;
  readonly #tracer: ReturnType<TracerProvider['getTracer']>;

  constructor(clock: Clock, provider: TracerProvider, version: string) {
    this.#clock = clock;
    this.#tracer = provider.getTracer('sightline', version);
  }

  /** Throws what the program's own tracing throws. */
  push(frame: TracedFrame): void {
    const aheadMs = wallAheadMs(this.#clock);
    const { parent, traceId } = frame.trace;
    const outside =
      parent === undefined
        ? ROOT_CONTEXT
        : trace.setSpanContext(ROOT_CONTEXT, {
            traceId,
            spanId: parent.spanId,
            traceFlags: TraceFlags.SAMPLED,
            isRemote: true,
          });
    // It gives its spans ids of its own.
    const [whole, ...stages] = spansOf(frame, () => '');
    const first = this.#tracer.startSpan(
      whole.name,
      { kind: SpanKind.SERVER, startTime: whole.startMs + aheadMs, attributes: whole.attributes },
      outside,
    );
    const inside = trace.setSpan(outside, first);
    for (const { name, startMs, endMs } of stages) {
      this.#tracer.startSpan(name, { startTime: startMs + aheadMs }, inside).end(endMs + aheadMs);
    }
    if (whole.fault !== undefined) first.setStatus({ code: SpanStatusCode.ERROR, message: whole.fault });
    first.end(whole.endMs + aheadMs);
  }
}
