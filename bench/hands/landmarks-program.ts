import type { Program } from '../../src/inference/programs/program.ts';
import type { Region } from '../../src/vision/placement.ts';

/** The landmark model and nothing else: what following hands is held against. */

export interface LandmarksSettings {
  readonly regions: readonly Region[];
}

/** A run for each region; what it says is not looked at. Its role: `landmarks`. */
export const program: Program<LandmarksSettings, undefined, null> = {
  name: 'landmarks',
  async run({ picture, settings, model }) {
    for (const region of settings.regions) await model('landmarks').infer(picture, region);
    return { result: null };
  },
};
