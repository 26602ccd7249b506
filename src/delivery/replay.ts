import { setImmediate as nextTurn } from 'node:timers/promises';
import { wallTimeMs, type Clock } from '../base/clock.ts';
import { SightlineError, toSightlineError, type ErrorCode } from '../base/errors.ts';
import type { Log } from '../log/log.ts';
import type { Topics } from '../stream/topics.ts';
import type { ReplayMessage, ReplaySource } from './replay-file.ts';

/** By these two topics clients control a replay; see `ReplayDesk`. */
export const REPLAY_CONTROL_TOPIC = 'replay/control';
export const REPLAY_STATE_TOPIC = 'replay/state';

export const REPLAY_SPEED_MIN = 0.1;
export const REPLAY_SPEED_MAX = 20;

export interface ReplayOptions {
  readonly source: ReplaySource;
  readonly topics: Topics;
  readonly clock: Clock;
  /** 0.1 to 20. Default 1. */
  readonly speed?: number;
  readonly loop?: boolean;
  readonly paused?: boolean;
  /** Put before every topic name. Default: nothing. */
  readonly prefix?: string;
  /** The part that is played, ms from the beginning of the source. Default: all of it. */
  readonly fromMs?: number;
  readonly toMs?: number;
  /**
   * What the messages say of their time: `now` (default) moves them to the moment at which they are played, so that times to
   * live and live plots work; `recorded` leaves them as they were.
   */
  readonly times?: 'now' | 'recorded';
  /** A longer time without a message is skipped, ms of the recording. Default: an hour. */
  readonly gapMaxMs?: number;
  /** Of gaps that were skipped, and of the first message of each kind that was left out. */
  readonly log?: Log;
}

export interface ReplayState {
  readonly state: 'playing' | 'paused' | 'ended' | 'failed';
  /** From the beginning of the source. */
  readonly position_s: number;
  readonly duration_s: number;
  readonly speed: number;
  readonly loop: boolean;
  readonly published: number;
  /** Messages, and chunks of a file, that were left out; by the code of the error. */
  readonly refused: number;
  readonly refused_by: Readonly<Partial<Record<ErrorCode, number>>>;
  /** Gaps without a message that were skipped, of the recording's time. */
  readonly skipped_s: number;
  readonly error: string | null;
}

/** So many messages that are due at once are published before other work of the main thread has its turn. */
const SLICE_MESSAGES = 64;
/** A robot that stood over lunch is waited for; a clock that jumped from 1970 to today is not. */
const GAP_MAX_MS = 3_600_000;
/** Kinds of left-out messages, and gaps, that are logged; further ones are only counted. */
const LOGGED_MAX = 20;

/** Publishes a source again, through the ordinary topics, with the messages' original pauses. */
export class Replay {
  readonly #options: ReplayOptions;
  readonly #fromMs: number;
  /** Grows with a source that goes on beyond its announced end, unless a part is played. */
  #toMs: number;
  readonly #isPart: boolean;
  readonly #gapMaxMs: number;
  readonly #running: Promise<void>;
  #speed: number;
  #loop: boolean;
  #paused: boolean;
  #ended = false;
  #closed = false;
  #failure: SightlineError | undefined;
  /** At this moment of the clock the position was this one: from here on it follows from clock and speed. */
  #anchor: { clockMs: number; positionMs: number };
  /** Counts the jumps: a wait for a message of an earlier one gives up. */
  #jumps = 0;
  /** Where the last jump led, exactly: the position itself moves on at once. */
  #jumpMs: number;
  #published = 0;
  readonly #refusedBy: Partial<Record<ErrorCode, number>> = {};
  readonly #logged = new Set<string>();
  #skippedMs = 0;
  #wake: () => void = () => {};

  /** Plays at once unless `paused`. Errors: USAGE. */
  constructor(options: ReplayOptions) {
    const { source, clock } = options;
    const durationMs = source.endMs - source.startMs;
    this.#options = options;
    this.#speed = checkSpeed(options.speed ?? 1);
    this.#loop = options.loop ?? false;
    this.#paused = options.paused ?? false;
    this.#fromMs = options.fromMs ?? 0;
    this.#toMs = Math.min(options.toMs ?? durationMs, durationMs);
    this.#isPart = options.toMs !== undefined;
    this.#gapMaxMs = options.gapMaxMs ?? GAP_MAX_MS;
    if (!(this.#fromMs >= 0 && this.#fromMs <= this.#toMs)) {
      throw new SightlineError(
        'USAGE',
        `from ${this.#fromMs / 1000} s to ${this.#toMs / 1000} s is not within a recording of ${durationMs / 1000} s`,
      );
    }
    this.#jumpMs = this.#fromMs;
    this.#anchor = { clockMs: clock.now(), positionMs: this.#fromMs };
    this.#running = this.#run();
  }

  get state(): ReplayState {
    const { source } = this.#options;
    return {
      state: this.#failure ? 'failed' : this.#ended ? 'ended' : this.#paused ? 'paused' : 'playing',
      position_s: this.#positionMs / 1000,
      duration_s: Math.max(this.#isPart ? 0 : this.#toMs, source.endMs - source.startMs) / 1000,
      speed: this.#speed,
      loop: this.#loop,
      published: this.#published,
      refused: Object.values(this.#refusedBy).reduce((sum, count) => sum + count, 0),
      refused_by: { ...this.#refusedBy },
      skipped_s: this.#skippedMs / 1000,
      error: this.#failure ? `${this.#failure.message} (${this.#failure.code})` : null,
    };
  }

  /** Goes on; from the beginning when it had come to its end. */
  play(): void {
    if (this.#ended) this.seek(this.#fromMs);
    this.#reanchor(this.#positionMs);
    this.#paused = false;
    this.#wake();
  }

  pause(): void {
    this.#reanchor(this.#positionMs);
    this.#paused = true;
    this.#wake();
  }

  /** `positionMs` from the beginning of the source; beyond the part that is played its nearest end. Keeps playing or pausing. */
  seek(positionMs: number): void {
    if (!Number.isFinite(positionMs)) throw new SightlineError('USAGE', `position ${positionMs} is not a number`);
    this.#jumps++;
    this.#ended = false;
    this.#jumpMs = Math.min(Math.max(positionMs, this.#fromMs), this.#toMs);
    this.#reanchor(this.#jumpMs);
    this.#wake();
  }

  /** Errors: USAGE. */
  setSpeed(speed: number): void {
    checkSpeed(speed);
    this.#reanchor(this.#positionMs);
    this.#speed = speed;
    this.#wake();
  }

  setLoop(loop: boolean): void {
    this.#loop = loop;
  }

  /** Resolves once the end was reached, or the replay was closed. Errors: those of the source. */
  async untilEnded(): Promise<void> {
    while (!this.#ended && !this.#closed && !this.#failure) await this.#changed(Infinity);
    if (this.#failure) throw this.#failure;
  }

  /** Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#wake();
    await this.#running;
  }

  get #positionMs(): number {
    const { clockMs, positionMs } = this.#anchor;
    if (this.#paused || this.#ended) return positionMs;
    return Math.min(this.#toMs, positionMs + (this.#options.clock.now() - clockMs) * this.#speed);
  }

  #reanchor(positionMs: number): void {
    this.#anchor = { clockMs: this.#options.clock.now(), positionMs };
  }

  async #run(): Promise<void> {
    try {
      while (!this.#closed) {
        if (this.#ended) {
          await this.#changed(Infinity);
          continue;
        }
        const jump = this.#jumps;
        const isPlayed = await this.#playOn(jump);
        if (!isPlayed || jump !== this.#jumps) continue;
        // One moment is no loop: it would be published forever at full speed.
        if (this.#loop && this.#toMs > this.#fromMs) this.seek(this.#fromMs);
        else this.#end();
        await nextTurn();
      }
    } catch (thrown) {
      this.#failure = toSightlineError(thrown);
      this.#wake();
    }
  }

  /** From the position to the end; false when a jump or the close came in between. */
  async #playOn(jump: number): Promise<boolean> {
    const { source } = this.#options;
    let slice = 0;
    const messages = source.messages(source.startMs + this.#jumpMs, (refusal, topic) => this.#refuse(refusal, topic));
    for await (const message of messages) {
      const positionMs = message.logTimeMs - source.startMs;
      // A double holds times of today to a quarter of a microsecond.
      if (positionMs > this.#toMs + 0.001) {
        if (this.#isPart) break;
        this.#toMs = positionMs;
      }
      if (++slice % SLICE_MESSAGES === 0) await nextTurn();
      if (!(await this.#untilDue(Math.min(positionMs, this.#toMs), jump))) return false;
      this.#publish(message, positionMs);
    }
    return await this.#untilDue(this.#toMs, jump);
  }

  async #untilDue(positionMs: number, jump: number): Promise<boolean> {
    for (;;) {
      if (this.#closed || jump !== this.#jumps) return false;
      const aheadMs = positionMs - this.#positionMs;
      if (aheadMs <= 0 && !this.#paused) return true;
      if (aheadMs > this.#gapMaxMs && !this.#paused) this.#skip(positionMs, aheadMs);
      else await this.#changed(this.#paused ? Infinity : aheadMs / this.#speed);
    }
  }

  #skip(positionMs: number, gapMs: number): void {
    const place = { position_s: this.#positionMs / 1000, gap_s: gapMs / 1000 };
    if (this.#isNew(`gap ${Math.round(positionMs)}`)) this.#options.log?.write('replay_gap', place);
    this.#skippedMs += gapMs;
    this.#reanchor(positionMs);
  }

  #publish({ topic, logTimeMs, publishTimeMs, payload }: ReplayMessage, positionMs: number): void {
    const { topics, prefix = '', times = 'now' } = this.#options;
    const { clockMs, positionMs: anchorMs } = this.#anchor;
    const dueMs = wallTimeMs(this.#options.clock, clockMs + (positionMs - anchorMs) / this.#speed);
    const timeMs = times === 'now' ? dueMs - (logTimeMs - publishTimeMs) : publishTimeMs;
    // Recordings of others often begin their names with a slash, which would be an empty level here.
    const name = prefix + topic.replace(/^\/+/, '');
    try {
      if (name === REPLAY_CONTROL_TOPIC || name === REPLAY_STATE_TOPIC) {
        throw new SightlineError('TOPIC_FORBIDDEN', 'the recording of another replay must not control this one');
      }
      topics.publish(name, { payload, timeMs });
      this.#published++;
    } catch (thrown) {
      const error = toSightlineError(thrown);
      if (error.code === 'INTERNAL') throw thrown;
      this.#refuse(error, topic);
    }
  }

  #refuse({ code, message }: SightlineError, topic: string | undefined): void {
    this.#refusedBy[code] = (this.#refusedBy[code] ?? 0) + 1;
    if (!this.#isNew(`${code}${topic}`)) return;
    this.#options.log?.write('replay_left_out', { code, reason: message, topic: topic?.slice(0, 80) });
  }

  /** Each `kind` is logged once. */
  #isNew(kind: string): boolean {
    if (this.#logged.has(kind) || this.#logged.size >= LOGGED_MAX) return false;
    this.#logged.add(kind);
    return true;
  }

  #end(): void {
    this.#reanchor(this.#toMs);
    this.#ended = true;
    this.#wake();
  }

  /** Something about the replay has changed, or the time is over. */
  #changed(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = timeoutMs === Infinity ? undefined : setTimeout(() => this.#wake(), Math.min(timeoutMs, 60_000));
      const wakeOthers = this.#wake;
      this.#wake = () => {
        clearTimeout(timer);
        this.#wake = () => {};
        wakeOthers();
        resolve();
      };
    });
  }
}

function checkSpeed(speed: number): number {
  if (speed >= REPLAY_SPEED_MIN && speed <= REPLAY_SPEED_MAX) return speed;
  throw new SightlineError('USAGE', `speed ${speed} is not between ${REPLAY_SPEED_MIN} and ${REPLAY_SPEED_MAX}`);
}
