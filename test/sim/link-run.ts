import { seededRandom } from '../../src/base/random.ts';
import { Adaptive, DropOldest, FixedQuality, Threshold } from './controllers.ts';
import { Events } from './events.ts';
import { percentile } from './figures.ts';
import { LinkSession, type Controller } from './link-session.ts';
import { Link, type LinkOptions } from './link.ts';

/** One or more sessions on one link, for a while; and what came of it. */

export interface LinkRunOptions {
  readonly seed: number;
  readonly link: LinkOptions;
  readonly forMs: number;
  readonly controllers: readonly Controller[];
  /** Between the starts of two sessions. */
  readonly staggerMs?: number;
}

/** Bytes a pixel at JPEG quality 50: a street. */
const DENSITY = 0.11;
const PROCESSING_MS = 10;
const SOURCE_FPS = 30;
/** Level of the baselines that have a fixed one: what a careful user would choose for a link of 10 Mbit/s. */
const FIXED_LEVEL = 3;

export class LinkRun {
  readonly link: Link;
  readonly sessions: readonly LinkSession[];

  constructor({ seed, link, forMs, controllers, staggerMs = 0 }: LinkRunOptions) {
    const events = new Events();
    const random = seededRandom(seed);
    this.link = new Link(events, link, random);
    if (controllers.length > 1) for (const controller of controllers) controller.shareWay?.();
    this.sessions = controllers.map(
      (controller, i) =>
        new LinkSession(
          events,
          this.link,
          {
            controller,
            sourceFps: SOURCE_FPS,
            density: DENSITY,
            delayBackMs: link.delayMs,
            processingMs: PROCESSING_MS,
            startMs: i * staggerMs,
          },
          random,
        ),
    );
    events.runUntil(forMs);
  }

  get delivered(): number {
    return this.sessions.reduce((sum, { delivered }) => sum + delivered.length, 0);
  }

  /** Capture to result, of all frames that were captured within a span. */
  latencyMs(p: number, fromMs = 0, toMs = Infinity): number {
    const frames = this.sessions.flatMap(({ delivered }) => delivered);
    const within = frames.filter(({ captureMs }) => captureMs >= fromMs && captureMs < toMs);
    return percentile(
      within.map(({ captureMs, resultMs }) => resultMs - captureMs),
      p,
    );
  }

  /** The wait of messages behind earlier ones, the truth of the link. */
  queueMs(p: number, fromMs: number, toMs: number): number {
    const within = this.link.passages.filter(({ sentMs }) => sentMs >= fromMs && sentMs < toMs);
    return percentile(
      within.map(({ queueMs }) => queueMs),
      p,
    );
  }

  /** From when on no message waits for longer than `limitMs`, until `toMs`. */
  calmFrom(limitMs: number, fromMs: number, toMs: number): number {
    const late = this.link.passages.findLast(
      ({ sentMs, queueMs }) => sentMs >= fromMs && sentMs < toMs && queueMs > limitMs,
    );
    return late?.sentMs ?? fromMs;
  }

  /** Share of the link that was used. */
  utilisation(fromMs: number, toMs: number): number {
    const bits = this.link.passages
      .filter(({ sentMs }) => sentMs >= fromMs && sentMs < toMs)
      .reduce((sum, { bytes }) => sum + bytes * 8, 0);
    return bits / this.link.bitsBetween(fromMs, toMs);
  }

  /** Bits a second of each session's delivered frames. */
  sharesBps(fromMs: number, toMs: number): number[] {
    return this.sessions.map(({ delivered }) => {
      const bytes = delivered
        .filter(({ captureMs }) => captureMs >= fromMs && captureMs < toMs)
        .reduce((sum, frame) => sum + frame.bytes, 0);
      return (bytes * 8 * 1000) / (toMs - fromMs);
    });
  }

  /** Changes of the picture's size, which are the ladder's. */
  ladderMoves(fromMs: number, toMs: number): number {
    return this.sessions.reduce((sum, { asks }) => {
      const widths = asks.filter(({ timeMs }) => timeMs < toMs);
      return (
        sum + widths.filter(({ timeMs, ask }, i) => timeMs >= fromMs && ask.width !== widths[i - 1]?.ask.width).length
      );
    }, 0);
  }
}

export type ControllerName = 'adaptive' | 'fixed' | 'threshold' | 'drop_oldest';

/** Sightline's controller and the three that it is compared with. */
export function makeController(name: ControllerName, delayMs: number): Controller {
  switch (name) {
    case 'adaptive':
      return new Adaptive(2 * delayMs);
    case 'fixed':
      return new FixedQuality(FIXED_LEVEL);
    case 'threshold':
      return new Threshold(FIXED_LEVEL, 2 * delayMs + 75);
    case 'drop_oldest':
      return new DropOldest(FIXED_LEVEL);
  }
}

/** The same trace under each controller. */
export function runAll(options: Omit<LinkRunOptions, 'controllers'>): Record<ControllerName, LinkRun> {
  const run = (name: ControllerName) =>
    new LinkRun({ ...options, controllers: [makeController(name, options.link.delayMs)] });
  return {
    adaptive: run('adaptive'),
    fixed: run('fixed'),
    threshold: run('threshold'),
    drop_oldest: run('drop_oldest'),
  };
}
