import { trace, type Span, type SpanOptions, type Context, SpanStatusCode, TraceFlags } from '@opentelemetry/api';
import { afterEach, describe, expect, test } from 'vitest';
import { ManualClock } from '../../base/clock.ts';
import { isSampledAt, isSlow, type TracedFrame } from './frame-trace.ts';
import { ProviderSink, registeredProvider } from './provider.ts';
import { FrameTracer } from './tracer.ts';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const CALLER = '00f067aa0ba902b7';
const BYTES = new Uint8Array([...Buffer.from(TRACE + CALLER, 'hex'), 1]);

const frameOf = (
  trace: TracedFrame['trace'],
  tookMs = 10,
  outcome: TracedFrame['outcome'] = {
    kind: 'result',
    width: 2,
    height: 2,
    receivedTimeMs: 1_001,
    startedTimeMs: 1_002,
    stagesMs: { decode: 1, preprocess: 1, inference: 1, postprocess: 1 },
    sent: { encodeMs: 1, transmitMs: 1 },
  },
): TracedFrame => ({
  trace,
  clientId: 'c',
  pipeline: 'objects',
  model: 'm',
  seq: 1,
  captureTimeMs: 1_000,
  answeredTimeMs: 1_000 + tookMs,
  budgetMs: 75,
  outcome,
});

function tracer(sampleRate: number) {
  const kept: TracedFrame[] = [];
  return { kept, tracer: new FrameTracer({ sampleRate, sink: { push: (frame) => void kept.push(frame) } }) };
}

describe('the rate', () => {
  test('is decided by the last 56 bits of the id, the upper ones stay', () => {
    const id = (fraction: string) => `${'a'.repeat(18)}${fraction}`;
    expect(isSampledAt(id('f'.repeat(14)), 0)).toBe(false);
    expect(isSampledAt(id('0'.repeat(14)), 1)).toBe(true);
    expect(isSampledAt(id('c0000000000000'), 0.25)).toBe(true);
    expect(isSampledAt(id('bfffffffffffff'), 0.2499)).toBe(false);
    // Whoever keeps more keeps these as well.
    expect(isSampledAt(id('c0000000000000'), 0.3)).toBe(true);
  });

  test('is the share that is kept', () => {
    const { tracer: quarter } = tracer(0.25);
    const sampled = Array.from({ length: 4_000 }, () => quarter.begin(undefined)).filter(({ isSampled }) => isSampled);
    expect(sampled.length).toBeGreaterThan(800);
    expect(sampled.length).toBeLessThan(1_200);
    expect(new Set(sampled.map(({ traceId }) => traceId)).size).toBe(sampled.length);
    for (const { traceId } of sampled) expect(traceId).toMatch(/^[0-9a-f]{32}$/);
  });
});

describe('a frame', () => {
  test.each([
    ['text', `00-${TRACE}-${CALLER}-01`, true],
    ['text of a trace that is not kept', `00-${TRACE}-${CALLER}-00`, false],
    ['bytes', BYTES, true],
  ])('goes on in the trace that it brings, by %s', (_what, given, isSampled) => {
    for (const rate of [0, 1]) {
      const { tracer: one } = tracer(rate);
      expect(one.begin(given)).toEqual({
        traceId: TRACE,
        parent: { traceId: TRACE, spanId: CALLER, isSampled },
        isSampled,
      });
      expect(one.report().parentsIgnored).toBe(0);
    }
  });

  test.each([['nonsense'], [7], [null], [new Uint8Array(25)], [`00-${TRACE}-${CALLER}-01x`]])(
    'begins a trace of its own where it brings %j, which is counted',
    (given) => {
      const { tracer: one } = tracer(1);
      const begun = one.begin(given);
      expect(begun).toMatchObject({ parent: undefined, isSampled: true });
      expect(begun.traceId).not.toBe(TRACE);
      expect(one.report().parentsIgnored).toBe(1);
    },
  );

  test('is kept at rate 0 if it took longer than its budget, whatever its caller says; one that was lost is not', () => {
    const { tracer: one, kept } = tracer(0);
    const unwanted = one.begin(`00-${TRACE}-${CALLER}-00`);
    one.end(frameOf(one.begin(undefined), 75));
    one.end(frameOf(unwanted, 75));
    one.end(frameOf(unwanted, 200, { kind: 'dropped', reason: 'expired' }));
    expect(kept).toEqual([]);
    one.end(frameOf(one.begin(undefined), 75.1));
    one.end(frameOf(unwanted, 76));
    expect(kept.map(isSlow)).toEqual([true, true]);
  });
});

/** What a program would register: the SDK of OpenTelemetry in a few lines, on its public interface. */
class Recorded {
  readonly ended: {
    name: string;
    parent: string | undefined;
    options: SpanOptions;
    endTime: unknown;
    status: unknown;
  }[] = [];

  getTracer() {
    return {
      startSpan: (name: string, options: SpanOptions = {}, context?: Context): Span => {
        const parent = context && trace.getSpanContext(context);
        const spanId = `${this.ended.length + 1}`.padStart(16, '0');
        let status: unknown;
        const span = {
          spanContext: () => ({
            traceId: parent?.traceId ?? TRACE,
            spanId: `${spanId}`,
            traceFlags: TraceFlags.SAMPLED,
          }),
          setStatus: (given: unknown) => {
            status = given;
            return span;
          },
          end: (endTime: unknown) => void this.ended.push({ name, parent: parent?.spanId, options, endTime, status }),
        };
        return span as unknown as Span;
      },
      startActiveSpan: () => {
        throw new Error('not used');
      },
    };
  }
}

describe('the tracing of an embedding program', () => {
  afterEach(() => trace.disable());

  test('is found once it is registered', () => {
    expect(registeredProvider()).toBeUndefined();
    trace.getTracer('somebody').startSpan('x').end();
    expect(registeredProvider()).toBeUndefined();
    trace.setGlobalTracerProvider(new Recorded() as never);
    expect(registeredProvider()).toBeDefined();
  });

  test('gets the spans, with the caller of the frame above them', () => {
    const recorded = new Recorded();
    const clock = new ManualClock();
    clock.stepWall(500);
    const sink = new ProviderSink(clock, recorded as never, '1');
    const parent = { traceId: TRACE, spanId: CALLER, isSampled: false };
    sink.push(frameOf({ traceId: TRACE, parent, isSampled: true }));
    const whole = recorded.ended.at(-1)!;
    expect(whole).toMatchObject({ name: 'frame', parent: CALLER, options: { startTime: 1_500 }, endTime: 1_512 });
    expect(recorded.ended.slice(0, -1).map(({ name }) => name)).toEqual([
      'capture',
      'queue',
      'decode',
      'preprocess',
      'inference',
      'postprocess',
      'encode',
      'transmit',
    ]);
    sink.push(
      frameOf({ traceId: TRACE, parent: undefined, isSampled: true }, 10, { kind: 'error', reason: 'WORKER_LOST' }),
    );
    expect(recorded.ended.at(-1)).toMatchObject({
      parent: undefined,
      status: { code: SpanStatusCode.ERROR, message: 'WORKER_LOST' },
    });
  });

  test('costs no session where it throws', () => {
    const sink = {
      push: () => {
        throw new Error('broken');
      },
    };
    const one = new FrameTracer({ sampleRate: 1, sink });
    one.end(frameOf(one.begin(undefined)));
    expect(one.report().sinkFaults).toBe(1);
  });
});
