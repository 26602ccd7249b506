import { isSlow, type TracedFrame } from './frame-trace.ts';

/** The spans of a frame: one for all of it, and one for each stage. Pure. */

export type AttributeValue = string | number | boolean;

export interface Span {
  readonly name: string;
  readonly spanId: string;
  /** undefined: it is the first of its trace. */
  readonly parentSpanId: string | undefined;
  readonly isParentRemote: boolean;
  /** Times of the process's clock, ms. */
  readonly startMs: number;
  readonly endMs: number;
  readonly attributes: Readonly<Record<string, AttributeValue>>;
  /** Why it failed; undefined: it did not. */
  readonly fault: string | undefined;
}

/** As many as `spansOf` makes. */
export function spanCount({ outcome }: TracedFrame): number {
  if (outcome.kind !== 'result') return 1;
  return 1 + STAGES + (outcome.sent ? SENT_STAGES : 0);
}

/** Stages of a result, and of sending it, with the names that the figures have (`sightline_frame_stage_seconds`). */
const STAGES = 6;
const SENT_STAGES = 2;

/** The first one is that of the whole frame, whose children the others are. `newId`: a span id, 16 hexadecimal digits. */
export function spansOf(frame: TracedFrame, newId: () => string): readonly [Span, ...Span[]] {
  const { trace, outcome } = frame;
  const stages = stagesOf(frame);
  const whole: Span = {
    name: 'frame',
    spanId: newId(),
    parentSpanId: trace.parent?.spanId,
    isParentRemote: trace.parent !== undefined,
    startMs: stages[0]?.startMs ?? Math.min(frame.captureTimeMs, frame.answeredTimeMs),
    endMs: Math.max(stages.at(-1)?.endMs ?? 0, frame.answeredTimeMs),
    attributes: attributesOf(frame),
    fault: outcome.kind === 'result' ? undefined : outcome.reason,
  };
  const children = stages.map(({ name, startMs, endMs }): Span => ({
    name,
    startMs,
    endMs,
    spanId: newId(),
    parentSpanId: whole.spanId,
    isParentRemote: false,
    attributes: {},
    fault: undefined,
  }));
  return [whole, ...children];
}

function attributesOf(frame: TracedFrame): Span['attributes'] {
  const { outcome } = frame;
  const about = {
    'sightline.client_id': frame.clientId,
    'sightline.pipeline': frame.pipeline,
    'sightline.model': frame.model,
    ...(frame.epoch !== undefined && { 'sightline.epoch': frame.epoch }),
    'sightline.seq': frame.seq,
    'sightline.budget_ms': frame.budgetMs,
    'sightline.outcome': outcome.kind,
  };
  if (outcome.kind !== 'result') return { ...about, 'error.type': outcome.reason };
  const { width, height } = outcome;
  return { ...about, 'sightline.width': width, 'sightline.height': height, 'sightline.slow': isSlow(frame) };
}

/**
 * One after the other. Between `postprocess` and `encode` a result may wait for those of earlier frames, and for its socket. What was decoded before it came has that
 * stage before `queue`.
 */
function stagesOf({ outcome, captureTimeMs, answeredTimeMs }: TracedFrame): Pick<Span, 'name' | 'startMs' | 'endMs'>[] {
  if (outcome.kind !== 'result') return [];
  const { receivedTimeMs, startedTimeMs, stagesMs, decodedBeforeMs, sent } = outcome;
  // A capture time may lie a little ahead of the server's clock.
  const capturedMs = Math.min(captureTimeMs, receivedTimeMs);
  const arrivedMs = Math.max(capturedMs, receivedTimeMs - (decodedBeforeMs ?? 0));
  const spans = [{ name: 'capture', startMs: capturedMs, endMs: arrivedMs }];
  const follow = (name: string, startMs: number, tookMs: number): number => {
    spans.push({ name, startMs, endMs: startMs + tookMs });
    return startMs + tookMs;
  };
  if (decodedBeforeMs !== undefined) follow('decode', arrivedMs, receivedTimeMs - arrivedMs);
  follow('queue', receivedTimeMs, startedTimeMs - receivedTimeMs);
  let atMs = startedTimeMs;
  if (decodedBeforeMs === undefined) atMs = follow('decode', atMs, stagesMs.decode);
  atMs = follow('preprocess', atMs, stagesMs.preprocess);
  atMs = follow('inference', atMs, stagesMs.inference);
  follow('postprocess', atMs, stagesMs.postprocess);
  if (sent) follow('transmit', follow('encode', answeredTimeMs, sent.encodeMs), sent.transmitMs);
  return spans;
}
