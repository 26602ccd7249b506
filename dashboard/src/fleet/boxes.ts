import type { FrameName } from 'sightline/client/cameras';

/** Older results say too little of what is seen now. */
const OLDER_MS_MAX = 5_000;
/** Of one pipeline: more than come in that time. */
const KEPT_MAX = 200;

/** The part of a result that decides where it may be drawn. */
export interface NamedResult {
  readonly frame: FrameName;
  readonly captureTimeMs: number;
  readonly pipeline: string;
}

export interface Drawn<R> {
  /** Of this very frame. */
  readonly own: readonly R[];
  /** Of earlier ones, for pipelines that have not looked at this one: the newest of each, and its age. */
  readonly older: readonly { readonly result: R; readonly ageMs: number }[];
}

/** What pipelines have found in the last frames of a camera. A result belongs to its own frame; on a later one it is only told with its age. */
export class BoxMemory<R extends NamedResult> {
  /** By pipeline, in the order in which they came. */
  readonly #results = new Map<string, R[]>();

  add(result: R): void {
    const kept = this.#results.get(result.pipeline);
    if (kept === undefined) this.#results.set(result.pipeline, [result]);
    else if (kept.push(result) > KEPT_MAX) kept.shift();
  }

  at(frame: FrameName, captureTimeMs: number): Drawn<R> {
    const own: R[] = [];
    const older: { result: R; ageMs: number }[] = [];
    for (const kept of this.#results.values()) {
      const exact = kept.find((result) => isSame(result.frame, frame));
      if (exact) {
        own.push(exact);
        continue;
      }
      const newest = this.#newestBefore(kept, frame, captureTimeMs);
      if (newest) older.push({ result: newest, ageMs: captureTimeMs - newest.captureTimeMs });
    }
    return { own, older };
  }

  #newestBefore(kept: readonly R[], { epoch }: FrameName, captureTimeMs: number): R | undefined {
    // Another connection may show another picture.
    const before = kept.filter(
      (result) =>
        result.frame.epoch === epoch &&
        result.captureTimeMs < captureTimeMs &&
        captureTimeMs - result.captureTimeMs <= OLDER_MS_MAX,
    );
    return before.reduce<R | undefined>(
      (newest, result) => (newest && newest.captureTimeMs >= result.captureTimeMs ? newest : result),
      undefined,
    );
  }
}

export function isSame(a: FrameName, b: FrameName): boolean {
  return a.epoch === b.epoch && a.seq === b.seq && a.camera === b.camera;
}
