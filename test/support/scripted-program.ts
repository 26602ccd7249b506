import { SightlineError } from '../../src/base/errors.ts';
import type { Size } from '../../src/base/picture.ts';
import type { Program } from '../../src/inference/programs/program.ts';
import type { Region } from '../../src/vision/placement.ts';

/** A program that does what its settings say, step by step. */

export type ScriptStep =
  /** Runs the model of a role; what it gave comes with the result. */
  | { readonly run: string; readonly region?: Region }
  /** Runs it twice at once. */
  | { readonly runTwice: string }
  /** Asks for a run that nobody waits for. */
  | { readonly leave: string }
  /**
   * `throw`: with a code; `fail`: without one; `hang`: never gives the thread back; `stall`: waits for what never comes; `exit`: ends the
   * thread; `secret`: gives a result that no message takes.
   */
  | 'throw'
  | 'fail'
  | 'hang'
  | 'stall'
  | 'exit'
  | 'secret';

export interface ScriptResult {
  readonly name: string;
  readonly picture: Size;
  readonly source: Size;
  readonly captureTimeMs: number;
  /** Of each run, by output. */
  readonly runs: readonly Readonly<Record<string, readonly number[]>>[];
}

export interface ScriptSettings {
  readonly name?: string;
  readonly steps?: readonly ScriptStep[];
}

export const program: Program<ScriptSettings, number, ScriptResult | { readonly secret: () => void }> = {
  name: 'scripted',
  async run({ picture, source, captureTimeMs, settings, state = 0, model }) {
    const runs: Record<string, readonly number[]>[] = [];
    const run = async (role: string, region?: Region) => {
      const { tensors } = await model(role).infer(picture, region);
      runs.push(Object.fromEntries(Object.entries(tensors).map(([name, { data }]) => [name, Array.from(data)])));
    };
    for (const step of settings.steps ?? []) {
      if (typeof step === 'object') {
        if ('run' in step) await run(step.run, step.region);
        else if ('runTwice' in step) await Promise.all([run(step.runTwice), run(step.runTwice)]);
        else
          model(step.leave)
            .infer(picture)
            .catch(() => undefined);
        continue;
      }
      if (step === 'throw') throw new SightlineError('MODEL_DAMAGED', 'as the script says');
      if (step === 'fail') throw new Error('a slip');
      if (step === 'hang') for (;;);
      if (step === 'stall') await new Promise<never>(() => undefined);
      if (step === 'exit') process.exit(7);
      if (step === 'secret') return { result: { secret: () => undefined } };
    }
    const size = { width: picture.width, height: picture.height };
    const result = { name: settings.name ?? '', picture: size, source, captureTimeMs, runs };
    return { result, state: state + 1, capped: 2 };
  },
};
