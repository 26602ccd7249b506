/** The server's grant to a client: how fast, and how many frames may be unanswered at once. */
export interface LimiterGrant {
  /** Frames per second, fractions allowed; 0 stops the client. */
  readonly rateFps: number;
  /** Frames that may be unanswered at once. */
  readonly window: number;
}

/** Why a frame may not be sent now: the pace, or too many frames without an answer. */
export type LimiterVerdict = 'go' | 'rate' | 'window';

/**
 * How early a frame may be, in frames. A camera captures at its own intervals, and a browser shows its frames at those of the
 * screen: without a tolerance a 30 fps camera under a grant of 20 would send every second frame (15 fps), because two
 * thirds of its frames are 17 ms early. With three quarters of a frame the mean comes within 2 % of the grant for all usual
 * pairs of camera and grant, at 16 ms of jitter.
 */
const TOLERANCE_FRAMES = 0.75;

/** No two frames follow each other closer than this, in frames: the tolerance must not become a burst after an idle time. */
const SPACING_FRAMES = 0.4;

/** Smaller reductions hardly change when clients send. */
const SPREAD_BELOW = 0.9;

/** Tolerance for rounding errors; without it a frame that comes exactly on time could be refused. */
const ROUNDING_FRAMES = 1e-6;

/** Losses that mean that the server had too much to do at that moment, not that a connection or this session alone is at fault. */
export const CROWDED: ReadonlySet<string> = new Set(['expired', 'queue_full', 'superseded']);

/**
 * The client's frame limiter: a leaky bucket (the continuous-state form of the generic cell rate algorithm, ITU-T I.371
 * annex A) for the pace, and a set of unanswered frames for the window. It holds no frames: the caller drops a frame that may
 * not go now, so that the client always sends the newest. In any span of `t` seconds at one grant it lets at most
 * `rateFps × t + 1.75` frames pass, and an idle time earns no burst.
 *
 * Pure: `nowMs` is passed in, from any clock; a step back counts as standing still.
 */
export class FrameLimiter {
  #grant: LimiterGrant;
  /** Frames in the bucket at `#levelTimeMs`; drains at the granted rate. */
  #level = 0;
  #levelTimeMs: number;
  #lastSentMs = -Infinity;
  /** The next frame is delayed already: grants that fall again and again must not delay it forever. */
  #isPutOff = false;
  readonly #unanswered = new Set<number>();

  constructor(grant: LimiterGrant, nowMs: number) {
    this.#grant = grant;
    this.#levelTimeMs = nowMs;
  }

  get grant(): LimiterGrant {
    return this.#grant;
  }

  get unanswered(): number {
    return this.#unanswered.size;
  }

  /**
   * A new grant applies from now on; frames sent under the old one stay in the bucket. `spread` (0..1, at random) delays the next
   * frame by up to one interval where the rate falls: a server that has too much to do lowers many grants at once, and without the
   * delay these clients would send in step from then on.
   */
  setGrant(grant: LimiterGrant, nowMs: number, spread = 0): void {
    this.#drain(nowMs);
    if (grant.rateFps < SPREAD_BELOW * this.#grant.rateFps) this.putOff(spread, nowMs);
    this.#grant = grant;
  }

  /**
   * A busy server left out a frame: the next one goes up to one interval later (`share`, 0..1, at random). Otherwise clients
   * that send in step would collide again and again, also where there is room for all of them.
   */
  putOff(share: number, nowMs: number): void {
    if (this.#isPutOff) return;
    this.#drain(nowMs);
    this.#level += share;
    this.#isPutOff = true;
  }

  check(nowMs: number): LimiterVerdict {
    if (this.#unanswered.size >= this.#grant.window) return 'window';
    return this.#rateWaitMs(nowMs) > 0 ? 'rate' : 'go';
  }

  /** Milliseconds until the pace allows a frame; `Infinity` while only an answer (or another grant) can allow one. */
  nextInMs(nowMs: number): number {
    return this.#unanswered.size >= this.#grant.window ? Infinity : this.#rateWaitMs(nowMs);
  }

  /** Frame `seq` was sent. Call it only after `check` said `go`. */
  sent(seq: number, nowMs: number): void {
    this.#drain(nowMs);
    this.#level += 1;
    this.#isPutOff = false;
    this.#lastSentMs = this.#levelTimeMs;
    this.#unanswered.add(seq);
  }

  /** Frame `seq` was answered in any way. False when it was not outstanding. */
  answered(seq: number): boolean {
    return this.#unanswered.delete(seq);
  }

  /** Gives up on every unanswered frame (the connection is gone) and returns them, oldest first. */
  abandon(): number[] {
    const lost = [...this.#unanswered];
    this.#unanswered.clear();
    return lost;
  }

  #rateWaitMs(nowMs: number): number {
    this.#drain(nowMs);
    const { rateFps } = this.#grant;
    if (rateFps <= 0) return Infinity;
    const sinceLastFrames = ((this.#levelTimeMs - this.#lastSentMs) / 1000) * rateFps;
    const waitFrames = Math.max(this.#level - TOLERANCE_FRAMES, SPACING_FRAMES - sinceLastFrames);
    return waitFrames <= ROUNDING_FRAMES ? 0 : (waitFrames / rateFps) * 1000;
  }

  #drain(nowMs: number): void {
    const elapsedMs = nowMs - this.#levelTimeMs;
    if (elapsedMs <= 0) return;
    this.#level = Math.max(0, this.#level - (elapsedMs / 1000) * this.#grant.rateFps);
    this.#levelTimeMs = nowMs;
  }
}
