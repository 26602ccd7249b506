import type { Hand } from '../../src/base/hand.ts';
import type { Picture } from '../../src/base/picture.ts';
import { OnnxEngine } from '../../src/inference/engine/engine.ts';
import type { ProgramCall, ProgramOutcome } from '../../src/inference/engine/types.ts';
import type { ModelRegistry } from '../../src/inference/registry.ts';
import { HAND_MODELS, HANDS_PROGRAM } from '../../src/pipelines/hands/call.ts';
import type { HandsSettings } from '../../src/pipelines/hands/program.ts';

/** The pipeline of hands in the real engine, for one source. */

export type Complexity = 0 | 1;

export const COMPLEXITIES: readonly Complexity[] = [0, 1];

/** As the reference has them; without smoothing, which it does not do. */
export const SETTINGS: HandsSettings = {
  detectionConfidence: 0.5,
  trackingConfidence: 0.5,
  maxHands: 2,
  smoothing: false,
};

export interface Tracked extends ProgramOutcome {
  readonly hands: readonly Hand[];
}

/** One worker: what is compared and measured here is what a frame takes, and nothing beside it. */
export async function openEngine(registry: ModelRegistry, more: readonly string[] = []): Promise<OnnxEngine> {
  const engine = new OnnxEngine({ workers: 1 });
  const ids = new Set([...HAND_MODELS.flatMap((models) => Object.values(models)), ...more]);
  for (const id of ids) await engine.load(await registry.resolve(id));
  return engine;
}

export function handsCall(complexity: Complexity, state: unknown): ProgramCall {
  return { program: HANDS_PROGRAM, models: HAND_MODELS[complexity], settings: SETTINGS, state };
}

export class Tracker {
  /** What the next picture goes with; whoever sets it goes back to an earlier picture. */
  state: unknown;
  readonly #engine: OnnxEngine;
  readonly #complexity: Complexity;

  constructor(engine: OnnxEngine, complexity: Complexity) {
    this.#engine = engine;
    this.#complexity = complexity;
  }

  async next(picture: Picture, captureTimeMs: number): Promise<Tracked> {
    const [running] = this.#engine.run({ picture, captureTimeMs, programs: [handsCall(this.#complexity, this.state)] });
    const outcome = await running!;
    this.state = outcome.state;
    return { ...outcome, hands: (outcome.result as { readonly hands: readonly Hand[] }).hands };
  }
}

/** Runs of the palm detector so far. */
export function palmRuns(engine: OnnxEngine, complexity: Complexity): number {
  const model = engine.stats().models.find(({ id }) => id === HAND_MODELS[complexity].palm);
  return Object.entries(model?.batch.runs ?? {}).reduce((sum, [pictures, runs]) => sum + Number(pictures) * runs, 0);
}
