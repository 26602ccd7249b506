/**
 * Worst drift between two clocks, as a fraction (RFC 5905 §4, PHI: 15 parts per million). A sample grows less certain by
 * this much with its age.
 */
const DRIFT = 15e-6;

/** Samples kept to choose from (RFC 5905 §10, the clock filter's NSTAGE). */
const SAMPLES_MAX = 8;

/** The four moments of one exchange, Unix ms: `t0` and `t3` on the client's clock, `t1` and `t2` on the server's. */
export interface ClockExchange {
  readonly t0: number;
  readonly t1: number;
  readonly t2: number;
  readonly t3: number;
}

export interface ClockEstimate {
  /** Server's clock minus client's, ms. */
  readonly offsetMs: number;
  /** The true offset lies within ± this, ms. */
  readonly uncertaintyMs: number;
  /** Round trip of the exchange that the estimate rests on, ms. */
  readonly roundTripMs: number;
}

interface ClockSample extends ClockEstimate {
  readonly takenMs: number;
  /** The estimate from the welcome is not an exchange: its round trip includes the making of the connection. */
  readonly isGreeting: boolean;
}

/**
 * The offset of the server's clock, from several exchanges: that of the shortest round trip wins, since a sample is wrong by
 * at most half a round trip (RFC 5905 §8 and §10). Samples lose certainty with age, so that a fresh and slightly
 * slower one takes over in time. Pure; times in Unix milliseconds.
 */
export class ClockSync {
  readonly #samples: ClockSample[] = [];

  /**
   * An estimate from the welcome: `serverTimeMs` was written somewhere between `startMs` (before the connection was opened)
   * and `nowMs`. The estimate takes the latest possible writing, so that a capture time never lies in the server's future.
   */
  addGreeting(serverTimeMs: number, startMs: number, nowMs: number): void {
    const roundTripMs = nowMs - startMs;
    this.#add({
      offsetMs: serverTimeMs - nowMs,
      uncertaintyMs: roundTripMs,
      roundTripMs,
      takenMs: nowMs,
      isGreeting: true,
    });
  }

  add({ t0, t1, t2, t3 }: ClockExchange): void {
    const roundTripMs = Math.max(0, t3 - t0 - (t2 - t1));
    this.#add({
      offsetMs: (t1 - t0 + (t2 - t3)) / 2,
      uncertaintyMs: roundTripMs / 2,
      roundTripMs,
      takenMs: t3,
      isGreeting: false,
    });
  }

  /** Undefined until the first sample. */
  estimate(nowMs: number): ClockEstimate | undefined {
    const best = this.#best(nowMs);
    return (
      best && {
        offsetMs: best.offsetMs,
        uncertaintyMs: uncertaintyAt(best, nowMs),
        roundTripMs: best.roundTripMs,
      }
    );
  }

  /** Round trip of the exchange that the estimate rests on, ms; undefined until there was one. */
  roundTripMs(nowMs: number): number | undefined {
    const best = this.#best(nowMs);
    return best?.isGreeting === false ? best.roundTripMs : undefined;
  }

  /** Another server, another clock. */
  reset(): void {
    this.#samples.length = 0;
  }

  #add(sample: ClockSample): void {
    const best = this.#best(sample.takenMs);
    // Two honest samples overlap within their uncertainty. Where they do not, a clock was set (or the machine slept), and
    // everything known before is wrong. Half a millisecond allows for coarse timers in browsers.
    if (
      best &&
      Math.abs(best.offsetMs - sample.offsetMs) > uncertaintyAt(best, sample.takenMs) + sample.uncertaintyMs + 0.5
    ) {
      this.reset();
    }
    this.#samples.push(sample);
    if (this.#samples.length > SAMPLES_MAX) this.#samples.shift();
  }

  #best(nowMs: number): ClockSample | undefined {
    let best: ClockSample | undefined;
    for (const sample of this.#samples) {
      if (!best || uncertaintyAt(sample, nowMs) < uncertaintyAt(best, nowMs)) best = sample;
    }
    return best;
  }
}

function uncertaintyAt(sample: ClockSample, nowMs: number): number {
  return sample.uncertaintyMs + Math.max(0, nowMs - sample.takenMs) * DRIFT;
}
