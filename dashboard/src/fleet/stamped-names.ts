import type { CaptureClock, FrameName, ShownFrame } from 'sightline/client/cameras';

/** Which frame has which RTP timestamp, as a channel of data tells it: a name and its picture come by different ways, in any order. Pure. */

/** Of the channel `frames` of a session of WHEP. */
export interface StampedName extends FrameName {
  readonly type: 'frame';
  /** Unix ms by the server. */
  readonly capture_time: number;
  readonly clock: CaptureClock;
  /** The server has encoded it anew. */
  readonly transcoded: boolean;
  readonly boxes: ShownFrame['boxes'];
  readonly rtp_timestamp: number;
}

/** Names whose pictures may be yet to come: those of some ten seconds. */
const NAMES_MAX = 500;

export class StampedNames {
  /** By timestamp, in the order in which they came. */
  readonly #names = new Map<number, StampedName>();
  /** Of the picture on the screen, whose name has not come. */
  #waiting: number | undefined;
  #unnamed = 0;

  /** Pictures that have gone without a name. */
  get unnamed(): number {
    return this.#unnamed;
  }

  /** True: it is that of the picture on the screen, which had none. */
  note(name: StampedName): boolean {
    const stamp = name.rtp_timestamp;
    // After a while timestamps begin anew.
    this.#names.delete(stamp);
    this.#names.set(stamp, name);
    if (this.#names.size > NAMES_MAX) this.#names.delete(this.#names.keys().next().value!);
    if (stamp !== this.#waiting) return false;
    this.#waiting = undefined;
    return true;
  }

  /** A picture has come to the screen. undefined: its name has not come yet. */
  shown(stamp: number): StampedName | undefined {
    if (this.#waiting !== undefined && this.#waiting !== stamp) this.#unnamed++;
    const name = this.#names.get(stamp);
    this.#waiting = name ? undefined : stamp;
    return name;
  }
}

/** The last times, for their percentiles. */
const TIMES_MAX = 1_000;

export class RecentTimes {
  readonly #times: number[] = [];
  #count = 0;

  /** Of all that were noted. */
  get count(): number {
    return this.#count;
  }

  note(ms: number): void {
    this.#times[this.#count++ % TIMES_MAX] = ms;
  }

  /** `share`: 0 to 1. 0 while there is none. */
  percentile(share: number): number {
    const sorted = this.#times.toSorted((a, b) => a - b);
    return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
  }
}
