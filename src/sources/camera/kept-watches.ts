import type { PictureWatch } from '../../vision/picture-watch.ts';

/** What was learned of a camera's picture over a connection. */
export interface KeptWatch {
  readonly watch: PictureWatch;
  /** Codec and size of the pictures; of others it says nothing. */
  readonly form: string;
  /** When its connection ended, CLOCK_MONOTONIC, ms. */
  readonly endedMs: number;
}

/** Some 200 KB each. A process has fewer cameras. */
const WATCHES_MAX = 128;
/** Light and shadows are others then. */
const AGE_MS_MAX = 600_000;

/** Watches of cameras whose connection has ended: a camera that connects again and again is covered all the same. */
export class KeptWatches {
  /** By scene, the one that has ended first in front. */
  readonly #kept = new Map<string, KeptWatch>();

  keep(scene: string, kept: KeptWatch): void {
    this.#kept.delete(scene);
    this.#kept.set(scene, kept);
    if (this.#kept.size > WATCHES_MAX) this.#kept.delete(this.#kept.keys().next().value!);
  }

  /** It is kept here no more. Undefined: there is none. */
  take(scene: string, nowMs: number): KeptWatch | undefined {
    for (const [old, { endedMs }] of this.#kept) if (nowMs - endedMs > AGE_MS_MAX) this.#kept.delete(old);
    const kept = this.#kept.get(scene);
    this.#kept.delete(scene);
    return kept;
  }
}
