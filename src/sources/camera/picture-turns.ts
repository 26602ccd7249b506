/**
 * When the pictures of many cameras come. Each camera has one of so many of its key frames taken, and key frames come when they come: by chance those of several cameras come at once, time and again,
 * and wait for each other, while at other times the engine has nothing to do. A camera that may choose among its key frames takes those that come when few others do. Pure but for what was seen.
 */

/** How a picture came: as one of `keys` key frames, which come every `keyMs`. */
export interface KeyTurn {
  readonly keys: number;
  readonly keyMs: number;
}

interface Turn {
  /** Its next picture, and every one after that. */
  readonly nextMs: number;
  readonly periodMs: number;
  /** Where it is to stay. */
  readonly stayUntilMs: number;
}

/** Pictures are in each other's way while the engine is at one of them, and a little longer, since none comes or is done to the millisecond. In runs of the model. */
const NEAR_RUNS = 2.5;
/** A place has to be better by half a picture that comes at the same moment: the places of others change as well. */
const GAIN_MIN = 0.5;
/** Moving costs a picture that comes early: a camera stays where it is for some turns. */
const STAY_TURNS = 4;

export class PictureTurns {
  readonly #turns = new Map<string, Turn>();

  /**
   * A picture of the camera has come. Gives how many key frames earlier than the next turn it had better be taken, from then on; 0: its turns lie well. Never later: it is
   * to be looked at as often as was said. `serviceMs`: of a picture at the engine; 0: not known.
   */
  came(camera: string, atMs: number, { keys, keyMs }: KeyTurn, serviceMs: number): number {
    if (keys <= 0 || keyMs <= 0) {
      this.leave(camera);
      return 0;
    }
    const periodMs = keys * keyMs;
    const stayUntilMs = this.#turns.get(camera)?.stayUntilMs ?? -Infinity;
    // Without it: it is not in its own way.
    this.#turns.delete(camera);
    let earlier = 0;
    if (serviceMs > 0 && keys > 1 && atMs >= stayUntilMs) {
      const nearMs = NEAR_RUNS * serviceMs;
      let least = this.#crowd(atMs + periodMs, nearMs) - GAIN_MIN;
      for (let i = 1; i < keys; i++) {
        const crowd = this.#crowd(atMs + periodMs - i * keyMs, nearMs);
        if (crowd < least) [least, earlier] = [crowd, i];
      }
    }
    const nextMs = atMs + periodMs - earlier * keyMs;
    this.#turns.set(camera, {
      nextMs,
      periodMs,
      stayUntilMs: earlier > 0 ? nextMs + (STAY_TURNS - 1 / 2) * periodMs : stayUntilMs,
    });
    return earlier;
  }

  /** No pictures come of it, or otherwise. Idempotent. */
  leave(camera: string): void {
    this.#turns.delete(camera);
  }

  /** How many others come then, the nearer the more. */
  #crowd(atMs: number, nearMs: number): number {
    let crowd = 0;
    for (const { nextMs, periodMs } of this.#turns.values()) {
      const after = (((atMs - nextMs) % periodMs) + periodMs) % periodMs;
      crowd += Math.max(0, 1 - Math.min(after, periodMs - after) / nearMs);
    }
    return crowd;
  }
}
