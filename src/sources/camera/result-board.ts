import type { PipelineName, PipelineResult } from '../../base/result.ts';
import type { DrawnBoxes } from '../../base/camera-frame.ts';
import { boxesAt, type Look } from '../../vision/box-motion.ts';

/** What was found in the newest frames of a camera, as the process knows it that draws it. Pure but for what it remembers. */

/** A frame, as far as it matters here. */
export interface BoardFrame {
  readonly epoch: number;
  readonly seq: number;
  /** When it is shown, ms within its epoch. */
  readonly shownMs: number;
}

export interface Drawing {
  readonly boxes: DrawnBoxes;
  readonly results: readonly { readonly result: PipelineResult; readonly isPredicted: boolean }[];
}

/** Frames whose results are to come, or have come. Beyond that the oldest is forgotten. */
const FRAMES_MAX = 64;
/** Boxes of a frame so long before are not drawn any more. */
export const BOXES_MS_MAX = 1_500;

interface Expected extends BoardFrame {
  /** Pipelines that have not answered. */
  readonly pending: Set<PipelineName>;
  readonly results: PipelineResult[];
}

interface Seen extends BoardFrame {
  readonly result: PipelineResult;
}

export class ResultBoard {
  /** Frames that went to the engine, the oldest first. */
  readonly #frames = new Map<string, Expected>();
  /** Of each pipeline: the newest result, and the one before it. */
  readonly #newest = new Map<PipelineName, readonly [Seen, Seen | undefined]>();
  #pipelines: readonly PipelineName[] = [];

  /** Those that look at the camera's pictures from now on. */
  configure(pipelines: readonly PipelineName[]): void {
    this.#pipelines = pipelines;
    for (const name of this.#newest.keys()) if (!pipelines.includes(name)) this.#newest.delete(name);
  }

  /** It goes to the engine. */
  expect({ epoch, seq, shownMs }: BoardFrame): void {
    this.#frames.set(keyOf({ epoch, seq }), { epoch, seq, shownMs, pending: new Set(this.#pipelines), results: [] });
    if (this.#frames.size > FRAMES_MAX) this.#frames.delete(this.#frames.keys().next().value!);
  }

  /** What a pipeline says of a frame; null: it has no result. What nobody expects is of no use. */
  note(frame: Pick<BoardFrame, 'epoch' | 'seq'>, pipeline: PipelineName, result: PipelineResult | null): void {
    const expected = this.#frames.get(keyOf(frame));
    if (!expected?.pending.delete(pipeline) || result === null) return;
    expected.results.push(result);
    const { epoch, seq, shownMs } = expected;
    const [newest] = this.#newest.get(pipeline) ?? [];
    if (newest && newest.epoch === epoch && newest.shownMs >= shownMs) return;
    this.#newest.set(pipeline, [{ epoch, seq, shownMs, result }, newest?.epoch === epoch ? newest : undefined]);
  }

  /** All of its results are there, or will not come: it went to no engine, say. */
  isDone(frame: Pick<BoardFrame, 'epoch' | 'seq'>): boolean {
    return (this.#frames.get(keyOf(frame))?.pending.size ?? 0) === 0;
  }

  /** Nothing has been found yet, by any pipeline. */
  get isEmpty(): boolean {
    return this.#newest.size === 0;
  }

  /** Its own results, as far as they are there; of the other pipelines, where their boxes will have gone by then, `boxesMsMax` later at most. */
  drawingFor(frame: BoardFrame, boxesMsMax = BOXES_MS_MAX): Drawing {
    const own = this.#frames.get(keyOf(frame))?.results ?? [];
    const results = own.map((result) => ({ result, isPredicted: false }));
    for (const [pipeline, [newest, before]] of this.#newest) {
      if (own.some((result) => result.pipeline === pipeline)) continue;
      const ageMs = frame.shownMs - newest.shownMs;
      if (newest.epoch !== frame.epoch || ageMs < 0 || ageMs > boxesMsMax) continue;
      results.push({ result: movedOn(newest, before, frame.shownMs), isPredicted: true });
    }
    return { boxes: own.length > 0 ? 'own' : results.length > 0 ? 'predicted' : 'none', results };
  }

  /** Nobody wants drawings any more. */
  clear(): void {
    this.#frames.clear();
    this.#newest.clear();
  }
}

/** Hands move too fast for that: they stay where they were. */
function movedOn({ result, shownMs }: Seen, before: Seen | undefined, atMs: number): PipelineResult {
  if (result.pipeline !== 'objects') return result;
  const later: Look = { atMs: shownMs, detections: result.detections };
  const earlier = before?.result.pipeline === 'objects' ? before.result.detections : undefined;
  const detections = boxesAt(earlier && { atMs: before!.shownMs, detections: earlier }, later, atMs);
  return { pipeline: 'objects', detections };
}

function keyOf({ epoch, seq }: Pick<BoardFrame, 'epoch' | 'seq'>): string {
  return `${epoch} ${seq}`;
}
