import { extname } from 'node:path';
import type { OnnxEngine } from '../../src/inference/engine/engine.ts';
import type { ProgramCall } from '../../src/inference/engine/types.ts';
import { HAND_MODELS } from '../../src/pipelines/hands/call.ts';
import { objectsCall } from '../../src/pipelines/objects/call.ts';
import { toJpeg } from '../support/pictures.ts';
import { median, percentile } from '../support/statistics.ts';
import type { HandFilm } from './film.ts';
import type { LandmarksSettings } from './landmarks-program.ts';
import { handsCall, palmRuns, Tracker, type Complexity } from './tracker.ts';

/** What following hands costs, side by side with the runs that it cannot do without. */

export interface CheapPlan {
  /** Of a steady hand, and of two. */
  readonly frames: number;
  /** Moments at which the second hand comes in, one frame after the other: more than there are between two searches. */
  readonly entrances: number;
}

type Figures = Record<string, number>;

const SETTLE_FRAMES = 10;
/** A hand that was not reported by then counts as so late. */
const ENTRANCE_FRAMES_MAX = 60;
const DECODED_FRAMES = 20;
const JPEG_QUALITY = 75;
const BARE = new URL(`./landmarks-program${extname(import.meta.url)}`, import.meta.url);
/** The halves of the film's picture: where its hands are. */
const REGIONS: LandmarksSettings = {
  regions: [0.25, 0.75].map((centreX) => ({ centreX, centreY: 0.5, width: 0.4, height: 0.4 * (4 / 3), rotation: 0 })),
};

export async function measureCheap(
  engine: OnnxEngine,
  film: HandFilm,
  complexity: Complexity,
  plan: CheapPlan,
): Promise<Figures> {
  const tracker = new Tracker(engine, complexity);
  let index = 0;
  const next = (of: 'one' | 'two') => tracker.next(film[of](index), film.timeMs(index++));

  for (let i = 0; i < SETTLE_FRAMES; i += 1) await next('one');
  const palmsBefore = palmRuns(engine, complexity);
  let oneFound = 0;
  for (let i = 0; i < plan.frames; i += 1) oneFound += (await next('one')).hands.length === 1 ? 1 : 0;
  const palms = palmRuns(engine, complexity) - palmsBefore;

  const entrances: number[] = [];
  let withTwo: unknown;
  for (let i = 0; i < plan.entrances; i += 1) {
    const [state, from] = [tracker.state, index];
    let frames = 1;
    while ((await next('two')).hands.length < 2 && frames < ENTRANCE_FRAMES_MAX) frames += 1;
    entrances.push(frames);
    withTwo = tracker.state;
    [tracker.state, index] = [state, from];
    await next('one');
  }

  tracker.state = withTwo;
  const bare: ProgramCall = {
    program: BARE,
    models: { landmarks: HAND_MODELS[complexity].landmarks },
    settings: REGIONS,
  };
  const followedMs: number[] = [];
  const bareMs: number[] = [];
  const inferenceMs: number[] = [];
  const decodeMs: number[] = [];
  const cropMs: number[] = [];
  let twoFound = 0;
  for (let i = 0; i < SETTLE_FRAMES + plan.frames; i += 1) {
    // In turns: whatever else the machine does hits both alike.
    const [running] = engine.run({ picture: film.two(index), programs: [bare] });
    const { stagesMs } = await running!;
    const { workerMs, stagesMs: stages, hands } = await next('two');
    if (i < SETTLE_FRAMES) continue;
    bareMs.push(stagesMs.inference);
    followedMs.push(workerMs);
    inferenceMs.push(stages.inference);
    decodeMs.push(stages.decode);
    cropMs.push(stages.preprocess);
    twoFound += hands.length === 2 ? 1 : 0;
  }
  return {
    steady_found: oneFound / plan.frames,
    steady_palm_share: palms / plan.frames,
    second_hand_frames_median: median(entrances),
    second_hand_frames_max: Math.max(...entrances),
    two_hands_found: twoFound / plan.frames,
    two_hands_ms: median(followedMs),
    two_hands_ms_p95: percentile(followedMs, 95),
    two_hands_inference_ms: median(inferenceMs),
    two_hands_decode_ms: median(decodeMs),
    two_hands_crop_ms: median(cropMs),
    two_runs_ms: median(bareMs),
    two_runs_ms_p95: percentile(bareMs, 95),
    two_hands_over_two_runs: median(followedMs) / median(bareMs),
  };
}

/** Pictures that the engine decodes for each frame on which objects and hands are asked for, by its own counter. */
export async function decodesPerFrame(engine: OnnxEngine, film: HandFilm, detector: string): Promise<number> {
  const picture = film.two(0);
  const { width, height } = picture;
  const bytes = toJpeg({ data: picture.bytes, width, height }, JPEG_QUALITY);
  const jpeg = { kind: 'jpeg', bytes, width, height } as const;
  const before = engine.stats().decodes;
  let state: unknown;
  for (let i = 0; i < DECODED_FRAMES; i += 1) {
    const running = engine.run({
      picture: jpeg,
      captureTimeMs: film.timeMs(i),
      programs: [objectsCall(detector), handsCall(1, state)],
    });
    const [, hands] = await Promise.all(running);
    state = hands!.state;
  }
  return (engine.stats().decodes - before) / DECODED_FRAMES;
}
