import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '../../src/base/clock.ts';
import type { PipelineName } from '../../src/base/result.ts';
import { Priority } from '../../src/base/sample.ts';
import { offer } from '../support/children.ts';
import { Camera, CpuBound } from '../support/camera.ts';
import { HELD, OVER_CPU, RESULT, UNANSWERED, type RunLog, type ShownFrame } from './frames.ts';
import { openSender, type Sender, type SenderKind, type SessionWish } from './senders.ts';

/**
 * The load generator: many sources in one process. A frame that may not go is forgotten; nothing is queued here, whatever the
 * server does.
 */

/** One source that sends by a session of its own. */
export interface Source extends SessionWish {
  readonly fps: number;
  /** Of its beat, as a share of its period: 0 to 1. */
  readonly phase: number;
}

/** What the sources of a pipeline show; of the pipelines that are asked for. */
export type Pictures = Readonly<Partial<Record<PipelineName, readonly Uint8Array[]>>>;

export interface Run {
  readonly startTimeMs: number;
  readonly spanMs: number;
  /** By session, in the order in which they were opened. */
  readonly sources: readonly Source[];
  /** What this process may use of the machine's cores; frames beyond it are not sent. */
  readonly coresMax: number;
  /** How long answers are waited for when nothing is sent any more. */
  readonly drainMs: number;
}

export interface Fill {
  readonly settleMs: number;
  readonly spanMs: number;
  /** Frames without an answer, at every moment. */
  readonly underWay: number;
}

export interface FillResult {
  readonly fps: number;
  /** Sent to result received. */
  readonly latenciesMs: readonly number[];
  /** What a worker spent on each frame. */
  readonly worksMs: readonly number[];
}

const DRAIN_POLL_MS = 5;
const FILL_DRAIN_MS = 2_000;
/** The shortest sleep of a timer; several frames may be due when it ends. */
const SLEEP_MS_MIN = 1;

/** Between the pictures with which two sessions begin: cameras do not show the same. */
const PICTURES_APART = 7;

/** What the camera of one session shows: its pictures in their order, over and over. */
class Film {
  readonly #pictures: readonly Uint8Array[];
  #next: number;

  constructor(pictures: readonly Uint8Array[], first: number) {
    this.#pictures = pictures;
    this.#next = first % pictures.length;
  }

  next(): Uint8Array {
    const picture = this.#pictures[this.#next]!;
    this.#next = (this.#next + 1) % this.#pictures.length;
    return picture;
  }
}

let pictures: Pictures = {};
let senders: Sender[] = [];
/** By session. */
let films: Film[] = [];

const api = {
  prepare: (given: { pictures: Pictures }): void => {
    pictures = given.pictures;
  },

  /** A session for each wish. */
  open: async ({ url, kind, wishes }: { url: string; kind: SenderKind; wishes: readonly SessionWish[] }) => {
    for (const wish of wishes) {
      films.push(new Film(pictures[wish.pipeline]!, films.length * PICTURES_APART));
      senders.push(await openSender(kind, url, wish));
    }
  },

  close: async (): Promise<void> => {
    await Promise.all(senders.map((sender) => sender.close()));
    senders = [];
    films = [];
  },

  /**
   * Keeps a fixed number of frames under way: a new one goes for each that is answered, over all sessions in turn, so that the
   * engine is full and hardly anything waits.
   */
  fill: async ({ settleMs, spanMs, underWay }: Fill): Promise<FillResult> => {
    const fromMs = systemClock.now() + settleMs;
    const untilMs = fromMs + spanMs;
    const latenciesMs: number[] = [];
    const worksMs: number[] = [];
    const waiting = senders.map(() => new Map<number, number>());
    let turn = 0;
    const sendOne = (): void => {
      const now = systemClock.now();
      if (now >= untilMs) return;
      for (let tried = 0; tried < senders.length; tried += 1) {
        turn = (turn + 1) % senders.length;
        const seq = senders[turn]!.send({ jpeg: films[turn]!.next(), captureTimeMs: now, priority: Priority.normal });
        if (seq === undefined) continue;
        waiting[turn]!.set(seq, now);
        return;
      }
    };
    for (const [i, sender] of senders.entries()) {
      sender.onAnswer = (seq, fate, done) => {
        const sentMs = waiting[i]!.get(seq);
        if (sentMs === undefined) return;
        waiting[i]!.delete(seq);
        const now = systemClock.now();
        if (fate === RESULT && now >= fromMs && now < untilMs) {
          latenciesMs.push(now - sentMs);
          worksMs.push(done!.workMs);
        }
        sendOne();
      };
    }
    for (let i = 0; i < underWay; i += 1) sendOne();
    await sleep(untilMs - systemClock.now());
    await drained(() => waiting.every(({ size }) => size === 0), FILL_DRAIN_MS);
    return { fps: (latenciesMs.length * 1_000) / spanMs, latenciesMs, worksMs };
  },

  /** Every source shows its frames until the span is over. */
  run: async ({ startTimeMs, spanMs, sources, coresMax, drainMs }: Run): Promise<RunLog> => {
    const frames: ShownFrame[] = [];
    const waiting = senders.map(() => new Map<number, ShownFrame>());
    const heldBefore = heldBy();
    for (const [i, sender] of senders.entries()) {
      sender.onAnswer = (seq, fate, done) => {
        const frame = waiting[i]!.get(seq);
        if (!frame) return;
        waiting[i]!.delete(seq);
        Object.assign(frame, done);
        frame.fate = fate;
        frame.answeredMs = systemClock.now() - startTimeMs;
      };
    }
    const cameras = sources.map(({ fps, phase }) => new Camera(startTimeMs + (phase * 1_000) / fps, fps));
    await sleep(Math.max(0, startTimeMs - systemClock.now()));
    const bound = new CpuBound(coresMax, systemClock.now(), cpuMs());
    for (let now = systemClock.now(); now < startTimeMs + spanMs; now = systemClock.now()) {
      const maySend = bound.allows(now, cpuMs());
      for (const [i, camera] of cameras.entries()) {
        const captureTimeMs = systemClock.now();
        const lateMs = camera.take(captureTimeMs);
        if (lateMs === undefined) continue;
        const frame: ShownFrame = { source: i, shownMs: captureTimeMs - startTimeMs, lateMs, fate: OVER_CPU };
        frames.push(frame);
        if (!maySend) continue;
        const seq = senders[i]!.send({ jpeg: films[i]!.next(), captureTimeMs, priority: sources[i]!.priority });
        frame.fate = seq === undefined ? HELD : UNANSWERED;
        if (seq !== undefined) waiting[i]!.set(seq, frame);
      }
      const nextMs = Math.min(startTimeMs + spanMs, ...cameras.map((camera) => camera.nextMs));
      await sleep(Math.max(SLEEP_MS_MIN, nextMs - systemClock.now()));
    }
    await drained(() => waiting.every(({ size }) => size === 0), drainMs);
    for (const sender of senders) sender.onAnswer = undefined;
    const held = heldBy();
    return {
      frames,
      missed: cameras.reduce((sum, camera) => sum + camera.missed, 0),
      heldBy: Object.fromEntries(Object.entries(held).map(([cause, n]) => [cause, n - (heldBefore[cause] ?? 0)])),
      connectionsLost: senders.filter(({ isOpen }) => !isOpen).length,
    };
  },
};

function heldBy(): Record<string, number> {
  const sum: Record<string, number> = {};
  for (const sender of senders) {
    for (const [cause, n] of Object.entries(sender.held())) sum[cause] = (sum[cause] ?? 0) + n;
  }
  return sum;
}

/** Of this process, all threads. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}

async function drained(isDone: () => boolean, timeoutMs: number): Promise<void> {
  const deadlineMs = performance.now() + timeoutMs;
  while (!isDone() && performance.now() < deadlineMs) await sleep(DRAIN_POLL_MS);
}

export type SourcesApi = typeof api;

offer(api);
