import { availableParallelism } from 'node:os';
import { cameraPictures, meanKb } from '../support/pictures.ts';

/** What the benchmarks that load a server have in common: pictures, settings, bounds, and how they are told. */

export const SEED = 20_262;
/** The default of objects. */
export const MODEL = 'ssd-oidv4';
export const PICTURES = 64;
/** That of the first grant, whatever the server grants later: every frame costs the server the same. */
export const QUALITY = 50;
/** The default, written down since bars are made of it. */
export const BUDGET_MS = 75;
/** A lost session does not wait for its client; a grant may rise to what a fast machine can do for twenty sessions. */
export const SETTINGS = {
  'streaming.resume_window_s': 1,
  'streaming.max_fps': 60,
  'performance.target_latency_ms': BUDGET_MS,
};
/** Of the machine's cores, for the load generator. */
const GENERATOR_SHARE_MAX = 0.25;

/** Cores that the load generator may use. */
export function generatorCoresMax(): number {
  return GENERATOR_SHARE_MAX * availableParallelism();
}

export function loadPictures(): Promise<Uint8Array[]> {
  return cameraPictures(PICTURES, SEED, undefined, { min: QUALITY, max: QUALITY });
}

export function commonSetup(pictures: readonly Uint8Array[]) {
  const settings = Object.entries(SETTINGS).map(([key, value]) => `${key}=${value}`);
  return {
    frames: `${PICTURES} views of two photographs (opencv@7.0.0), 640×480, JPEG quality ${QUALITY}, ${meanKb(pictures)} kB on average, whatever size and quality are granted`,
    server: `the command serve with ${settings.join(', ')}`,
    generator: `one process for all clients, on the same cores, bounded to ${generatorCoresMax()} of them: frames beyond that are not sent (over_cpu), beats that it is late for are missed; offered is what was planned, shown what came about`,
    latency: 'capture to result received, on one clock; every result counts, those of the first second too',
  };
}
