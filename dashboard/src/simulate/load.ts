import { connectVideo } from 'sightline/client';
import type { VideoSession } from 'sightline/client';
import { Offers } from './offers.ts';
import { DemoStills } from './stills.ts';

/** An even share for each camera that is still worth looking at, frames/s: it decides the number of cameras. */
const SHARE_FPS = 5;
const CAMERAS_MIN = 4;
const CAMERAS_MAX = 20;
const TICK_MS = 20;
const POLL_MS = 1_000;
/** Rate of each camera until the server has reported its capacity. */
const FIRST_FPS = 5;

export interface LoadReport {
  readonly sessions: number;
  /** Frames per second, all sessions together. */
  readonly offeredFps: number;
  readonly sentFps: number;
  /** The server's reported capacity; undefined before it is known. */
  readonly capacityFps: number | undefined;
}

interface LoadCamera {
  readonly session: VideoSession;
  readonly offers: Offers;
  pictures: number;
}

/**
 * Further cameras, all in this page: each offers pictures of the demo camera at a share of `factor` times the server's capacity, and
 * sends those that its grant allows.
 */
export class LoadSimulator {
  /** Multiple of the server's capacity. */
  factor: number;
  readonly #cameras = new Set<LoadCamera>();
  readonly #onReport: (report: LoadReport) => void;
  #stills: DemoStills | undefined;
  #capacityFps: number | undefined;
  #counts = { offered: 0, sent: 0 };
  #countedMs = performance.now();
  #timers: ReturnType<typeof setInterval>[] = [];
  #isPolling = false;
  #isStopped = false;

  constructor(factor: number, onReport: (report: LoadReport) => void) {
    this.factor = factor;
    this.#onReport = onReport;
  }

  /** Opens as many as possible: a server may have no room for all. Rejects without the clip, or without any session. */
  async start(): Promise<void> {
    const stills = await DemoStills.take();
    if (this.#isStopped) return stills.close();
    this.#stills = stills;
    this.#capacityFps = await readCapacity();
    const wanted = Math.round((this.#capacityFps ?? 0) / SHARE_FPS);
    const cameras = Math.min(CAMERAS_MAX, Math.max(CAMERAS_MIN, wanted));
    const opened = await Promise.allSettled(Array.from({ length: cameras }, () => this.#open()));
    if (this.#isStopped) return this.stop();
    const refused = opened.find((one) => one.status === 'rejected');
    if (this.#cameras.size === 0 && refused) throw refused.reason;
    this.#timers = [setInterval(() => this.#offer(), TICK_MS), setInterval(() => void this.#poll(), POLL_MS)];
    await this.#poll();
  }

  /** Ends every session; may be called again. */
  stop(): void {
    this.#isStopped = true;
    for (const timer of this.#timers) clearInterval(timer);
    for (const { session } of this.#cameras) void session.close();
    this.#cameras.clear();
    this.#stills?.close();
  }

  async #open(): Promise<void> {
    const session = await connectVideo({ url: 'ws/video', reconnect: false });
    const camera: LoadCamera = { session, offers: new Offers(performance.now()), pictures: this.#cameras.size };
    this.#cameras.add(camera);
    session.on('state', ({ state }) => state === 'closed' && this.#cameras.delete(camera));
  }

  #offer(): void {
    const nowMs = performance.now();
    const fps = this.#capacityFps === undefined ? FIRST_FPS : (this.factor * this.#capacityFps) / this.#cameras.size;
    for (const camera of this.#cameras) {
      for (let due = camera.offers.due(nowMs, fps); due > 0; due--) {
        this.#counts.offered++;
        if (!camera.session.canSend()) continue;
        const jpeg = this.#stills?.jpeg(camera.pictures, camera.session.grant);
        if (!jpeg || camera.session.send({ jpeg }) === undefined) continue;
        camera.pictures++;
        this.#counts.sent++;
      }
    }
  }

  async #poll(): Promise<void> {
    // The page does not ask again while an answer is late.
    if (this.#isPolling) return;
    this.#isPolling = true;
    this.#capacityFps = (await readCapacity()) ?? this.#capacityFps;
    this.#isPolling = false;
    if (this.#isStopped) return;
    const nowMs = performance.now();
    const seconds = Math.max(0.001, (nowMs - this.#countedMs) / 1000);
    const { offered, sent } = this.#counts;
    this.#counts = { offered: 0, sent: 0 };
    this.#countedMs = nowMs;
    this.#onReport({
      sessions: this.#cameras.size,
      offeredFps: offered / seconds,
      sentFps: sent / seconds,
      capacityFps: this.#capacityFps,
    });
  }
}

async function readCapacity(): Promise<number | undefined> {
  try {
    const response = await fetch('api/performance/metrics');
    const { adaptation } = (await response.json()) as { adaptation: { capacity_fps: number | null } };
    return adaptation.capacity_fps ?? undefined;
  } catch {
    // A server that is busy or gone: the sessions show it.
    return undefined;
  }
}
