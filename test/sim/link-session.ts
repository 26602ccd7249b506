import type { Random } from '../../src/base/random.ts';
import { FrameLimiter } from '../../src/flow/limiter.ts';
import { jpegGrowth } from '../../src/flow/jpeg-size.ts';
import type { Events } from './events.ts';
import type { Link } from './link.ts';

/** What a client is asked for, by whichever controller. */
export interface Ask {
  readonly fps: number;
  /** Infinity: as many as there are. */
  readonly window: number;
  readonly quality: number;
  readonly width: number;
  readonly height: number;
}

export interface SimFrame {
  readonly bytes: number;
  readonly captureMs: number;
  readonly sentMs: number;
  readonly arrivedMs: number;
}

/** The server's side of a session on a simulated link. */
export interface Controller {
  /** Asked before the first frame. */
  first(nowMs: number): Ask;
  /** There are other sessions on the link. */
  shareWay?(): void;
  /** A frame has arrived. */
  frame(frame: SimFrame): void;
  /** A frame was answered, so long after it had been captured. */
  answered(nowMs: number, latencyMs: number): void;
  /** Asked after every frame and some times a second: what is to be told now, if anything. */
  news(nowMs: number): Ask | undefined;
  /** Frames that the client keeps in a queue of its own, the oldest dropped; 0: it sends what it may and forgets the rest. */
  readonly clientQueue: number;
}

export interface LinkSessionOptions {
  readonly controller: Controller;
  /** Frames that the source shows a second. */
  readonly sourceFps: number;
  /** Bytes a pixel at JPEG quality 50. */
  readonly density: number;
  /** One way back. */
  readonly delayBackMs: number;
  readonly processingMs: number;
  readonly startMs?: number;
}

export interface Delivered {
  readonly captureMs: number;
  readonly resultMs: number;
  readonly bytes: number;
  readonly queueMs: number;
}

const ENCODE_MS = 4;
const CONTROL_INTERVAL_MS = 100;
/** Frames of one scene differ by so much in size. */
const SIZE_SPREAD = 0.1;

/** A camera, its client and its session at the server, on a simulated link. */
export class LinkSession {
  readonly delivered: Delivered[] = [];
  readonly asks: { readonly timeMs: number; readonly ask: Ask }[] = [];
  skipped = 0;
  readonly #events: Events;
  readonly #link: Link;
  readonly #options: LinkSessionOptions;
  readonly #random: Random;
  readonly #limiter: FrameLimiter;
  readonly #queue: { readonly captureMs: number; readonly bytes: number }[] = [];
  #ask: Ask;
  #seq = 0;

  constructor(events: Events, link: Link, options: LinkSessionOptions, random: Random) {
    this.#events = events;
    this.#link = link;
    this.#options = options;
    this.#random = random;
    const { controller, sourceFps, startMs = 0 } = options;
    this.#ask = controller.first(events.nowMs);
    this.#limiter = new FrameLimiter({ rateFps: this.#ask.fps, window: this.#ask.window }, 0);
    this.asks.push({ timeMs: startMs, ask: this.#ask });
    events.every(1000 / sourceFps, () => this.#capture(), startMs + (1000 / sourceFps) * random());
    events.every(CONTROL_INTERVAL_MS, () => this.#tell(), startMs + CONTROL_INTERVAL_MS);
  }

  #capture(): void {
    const { clientQueue } = this.#options.controller;
    const captureMs = this.#events.nowMs;
    if (clientQueue > 0) {
      this.#queue.push({ captureMs, bytes: this.#size() });
      if (this.#queue.length > clientQueue) {
        this.#queue.shift();
        this.skipped++;
      }
      this.#sendQueued();
    } else if (this.#limiter.check(captureMs) === 'go') this.#send(captureMs, this.#size(), ENCODE_MS);
    else this.skipped++;
  }

  #sendQueued(): void {
    while (this.#queue.length > 0 && this.#limiter.check(this.#events.nowMs) === 'go') {
      const { captureMs, bytes } = this.#queue.shift()!;
      this.#send(captureMs, bytes, 0);
    }
  }

  #send(captureMs: number, bytes: number, encodeMs: number): void {
    const seq = ++this.#seq;
    this.#limiter.sent(seq, this.#events.nowMs);
    this.#events.in(encodeMs, () =>
      this.#link.send(bytes, (passage) => this.#arrive({ ...passage, captureMs }, seq, passage.queueMs)),
    );
  }

  #arrive(frame: SimFrame, seq: number, queueMs: number): void {
    const { controller, delayBackMs, processingMs } = this.#options;
    controller.frame(frame);
    this.#tell();
    this.#events.in(processingMs, () => controller.answered(this.#events.nowMs, this.#events.nowMs - frame.captureMs));
    this.#events.in(processingMs + delayBackMs, () => {
      this.#limiter.answered(seq);
      this.delivered.push({ captureMs: frame.captureMs, resultMs: this.#events.nowMs, bytes: frame.bytes, queueMs });
      this.#sendQueued();
    });
  }

  #tell(): void {
    const ask = this.#options.controller.news(this.#events.nowMs);
    if (!ask) return;
    this.asks.push({ timeMs: this.#events.nowMs, ask });
    this.#events.in(this.#options.delayBackMs, () => {
      this.#ask = ask;
      this.#limiter.setGrant({ rateFps: ask.fps, window: ask.window }, this.#events.nowMs);
    });
  }

  #size(): number {
    const { width, height, quality } = this.#ask;
    const spread = 1 + SIZE_SPREAD * (2 * this.#random() - 1);
    return Math.round(this.#options.density * width * height * jpegGrowth(quality) * spread);
  }
}
