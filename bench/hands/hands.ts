import { mkdtemp, rm } from 'node:fs/promises';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { OnnxEngine } from '../../src/inference/engine/engine.ts';
import { ModelRegistry } from '../../src/inference/registry.ts';
import { atLeast, atMost, type Bar, type BenchContext, type Benchmark, type BenchResult } from '../support/document.ts';
import { median } from '../support/statistics.ts';
import { decodesPerFrame, measureCheap, type CheapPlan } from './cheap.ts';
import { CLIPS, clipNamed, findClips, framesOf, type Clip } from './clips.ts';
import { compareHands, handednessByShape, handednessOf, type ComparedFrame, type Comparison } from './comparison.ts';
import { EMPTY, FILMED, FILMED_FRAMES, HandFilm } from './film.ts';
import { reference, type Reference, type ReferenceOptions } from './reference.ts';
import { COMPLEXITIES, openEngine, palmRuns, SETTINGS, Tracker, type Complexity } from './tracker.ts';

const DETECTOR = 'ssd-oidv4';
const COMPARED: Complexity = 1;
/** Nothing is drawn by chance here. */
const SEED = 0;
const TIME_MS = 1_700_000_000_000;

const OPTIONS: ReferenceOptions = {
  selfieMode: false,
  maxNumHands: SETTINGS.maxHands,
  modelComplexity: COMPARED,
  minDetectionConfidence: SETTINGS.detectionConfidence,
  minTrackingConfidence: SETTINGS.trackingConfidence,
  useCpuInference: true,
};

const FULL: CheapPlan = { frames: 240, entrances: 26 };
const QUICK: CheapPlan = { frames: 60, entrances: 13 };
/** So many clips are compared in a quick run. */
const QUICK_CLIPS = 2;

type Figures = Record<string, number>;

export const hands: Benchmark = {
  name: 'hands',
  summary: 'hands against @mediapipe/hands itself in Chromium, and what following them costs',
  run: runHands,
};

async function runHands(context: BenchContext): Promise<BenchResult> {
  const { quick, say } = context;
  const load = loadavg()[0]!;
  const all = await findClips(CLIPS);
  const clips = quick ? all.slice(0, QUICK_CLIPS) : all;
  const film = clipNamed(all, FILMED);
  const empty = clipNamed(all, EMPTY);
  const expected = await reference([...new Set([...clips, film])], OPTIONS, context);
  const cacheDir = await mkdtemp(join(tmpdir(), 'sightline-bench-'));
  try {
    const engine = await openEngine(new ModelRegistry({ cacheDir }), [DETECTOR]);
    try {
      const right = await measureRight(engine, clips, expected, context);
      const cheap: Figures = {};
      const filmed = await HandFilm.open(film, empty, handX(expected));
      for (const complexity of COMPLEXITIES) {
        say(`following hands, complexity ${complexity}`);
        const figures = await measureCheap(engine, filmed, complexity, quick ? QUICK : FULL);
        for (const [name, value] of Object.entries(figures)) cheap[`complexity_${complexity}_${name}`] = value;
      }
      cheap['decodes_per_frame'] = await decodesPerFrame(engine, filmed, DETECTOR);
      const figures = { ...right, ...cheap, load_average_before: load };
      return { seed: SEED, setup: setup(clips, context), figures, bars: bars(figures) };
    } finally {
      await engine.close();
    }
  } finally {
    await rm(cacheDir, { recursive: true, force: true });
  }
}

function setup(clips: readonly Clip[], { quick }: BenchContext): Record<string, string> {
  const { first, last } = FILMED_FRAMES;
  return {
    reference: `@mediapipe/hands as it comes, in Chromium, with ${JSON.stringify(OPTIONS)} and a reset before each clip; its pixels are those that our reader decodes`,
    clips: `${clips.map(({ name }) => name).join(', ')}: signs of American Sign Language, 640×480`,
    ours: `the pipeline hands in the engine, one worker of one thread, ${JSON.stringify(SETTINGS)}`,
    presence: 'share of the frames in which both find a hand or neither does',
    handedness:
      'of the hands that both find; the reference takes a picture for a mirrored one, so that its "Left" is a right hand in these, which are not: reference_label_by_shape is the share of its hands whose own points agree',
    distance:
      "between the landmarks of hands that both find, in the picture's plane, as a share of wrist to middle finger knuckle of the reference",
    steady: `frames ${first} to ${last} of ${FILMED}, forward and backward: one hand in the left half of the picture, in the right half nobody's hand (the first frame of ${EMPTY}), or the same in the mirror`,
    cost: 'two_hands_ms: worker time of a frame with two hands, all of it; two_runs_ms: two runs of the landmark model on the same picture, without anything around them; in turns, medians',
    second_hand:
      'frames from the one in which the second hand is there to the one in which it is reported, both counted, with each moment between two searches',
    decodes: "of frames on which objects and hands are asked for, by the engine's counter",
    mode: quick ? `quick: ${QUICK_CLIPS} clips, few frames` : 'full',
  };
}

function bars(figures: Figures): Bar[] {
  const least = (name: string, bar: number): Bar => atLeast(name, figures[name] ?? Number.NaN, bar);
  const most = (name: string, bar: number): Bar => atMost(name, figures[name] ?? Number.NaN, bar);
  return [
    least('presence', 0.95),
    least('handedness', 0.95),
    most('distance_median', 0.03),
    most('complexity_0_two_hands_over_two_runs', 1.4),
    most('complexity_1_two_hands_over_two_runs', 1.25),
    ...COMPLEXITIES.flatMap((complexity) => [
      most(`complexity_${complexity}_steady_palm_share`, 0.1),
      most(`complexity_${complexity}_second_hand_frames_max`, 15),
    ]),
    most('decodes_per_frame', 1),
  ];
}

async function measureRight(
  engine: OnnxEngine,
  clips: readonly Clip[],
  expected: Reference,
  { signal, say }: BenchContext,
): Promise<Figures> {
  const compared: ComparedFrame[] = [];
  const palmsBefore = palmRuns(engine, COMPARED);
  for (const clip of clips) {
    const frames = await compareClip(engine, clip, expected, signal);
    say(inWords(clip, compareHands(frames)));
    compared.push(...frames);
  }
  const all = compareHands(compared);
  const known = clips.flatMap(({ name }) => expected[name]!.flat());
  const asSaid = known.filter(({ label, world }) => handednessByShape(world) === handednessOf(label));
  return {
    presence: all.presence,
    handedness: all.handedness,
    distance_median: all.distanceMedian,
    distance_p95: all.distanceP95,
    frames: all.frames,
    frames_with_hand_reference: all.referenceFrames,
    frames_with_hand: all.oursFrames,
    same_number_of_hands: all.sameCount,
    hands_in_both: all.pairs,
    hands_in_reference_alone: all.onlyReference,
    hands_in_ours_alone: all.onlyOurs,
    reference_label_by_shape: asSaid.length / known.length,
    palm_share_of_clips: (palmRuns(engine, COMPARED) - palmsBefore) / all.frames,
  };
}

async function compareClip(
  engine: OnnxEngine,
  clip: Clip,
  expected: Reference,
  signal: AbortSignal,
): Promise<ComparedFrame[]> {
  const tracker = new Tracker(engine, COMPARED);
  const compared: ComparedFrame[] = [];
  for await (const { bytes, width, height, ptsS } of framesOf(clip)) {
    signal.throwIfAborted();
    const picture = { kind: 'rgb', bytes, width, height, source: { width, height } } as const;
    const { hands } = await tracker.next(picture, TIME_MS + ptsS * 1_000);
    const found = expected[clip.name]![compared.length];
    if (!found) throw new Error(`the reference has fewer frames of ${clip.name}`);
    compared.push({
      width,
      height,
      reference: found.map(({ label, landmarks }) => ({ handedness: handednessOf(label), landmarks })),
      ours: hands,
    });
  }
  if (compared.length !== expected[clip.name]!.length) throw new Error(`the reference has more frames of ${clip.name}`);
  return compared;
}

function inWords({ name }: Clip, { frames, presence, handedness, distanceMedian }: Comparison): string {
  return (
    `${name}: ${frames} frames, presence agrees in ${presence.toFixed(3)}, handedness in ${handedness.toFixed(3)}, ` +
    `landmarks ${(distanceMedian * 100).toFixed(1)} % of a palm apart`
  );
}

/** The middle of the film's hand, as a fraction of the width. */
function handX(expected: Reference): number {
  const { first, last } = FILMED_FRAMES;
  const found = expected[FILMED]!.slice(first, last + 1).flat();
  return median(found.flatMap(({ landmarks }) => landmarks.map(({ x }) => x)));
}
