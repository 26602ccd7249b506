import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '../../src/base/clock.ts';
import { connectVideo, type VideoSession } from '../../src/client/video.ts';
import { offer } from './children.ts';
import { keepPace, type Pace, type PictureTime } from './pace.ts';

/** The clients of a benchmark, all in one process: the SDK as users have it. */

/** Time for the answers to what was sent last. */
const DRAIN_TIMEOUT_MS = 10_000;

export interface SaturateResult {
  readonly fps: number;
  readonly results: number;
  /** Sent to result received, of every result within the span. */
  readonly latenciesMs: readonly number[];
}

/** Of all sessions since they were opened. */
export interface ClientTotals {
  readonly sent: number;
  readonly results: number;
  readonly dropped: number;
  readonly errors: number;
  readonly bytesSent: number;
}

let pictures: readonly Uint8Array[] = [];
let clients: Client[] = [];
let clientsMade = 0;

class Client {
  readonly session: VideoSession;
  onResult: ((time: PictureTime) => void) | undefined;
  readonly #pictureOf = new Map<number, number>();
  #next: number;

  constructor(session: VideoSession) {
    this.session = session;
    // Everyone begins elsewhere, as cameras do.
    this.#next = (clientsMade++ * 7) % pictures.length;
    session.on('result', ({ result, sentTimeMs, receivedTimeMs }) => {
      const picture = this.#pictureOf.get(result.seq);
      this.#pictureOf.delete(result.seq);
      if (picture === undefined) return;
      const { decode, preprocess, inference, postprocess } = result.stages_ms;
      const workMs = decode + preprocess + inference + postprocess;
      this.onResult?.({ picture, ms: receivedTimeMs - sentTimeMs, workMs, detections: result.detections.length });
    });
    session.on('dropped', ({ seqs }) => {
      for (const seq of seqs) this.#pictureOf.delete(seq);
    });
  }

  send(picture: number): void {
    const seq = this.session.send({ jpeg: pictures[picture]! });
    if (seq !== undefined) this.#pictureOf.set(seq, picture);
  }

  /** As fast as the grant allows: its rate, and its window of unanswered frames. */
  async sendUntil(timeMs: number): Promise<void> {
    while (systemClock.now() < timeMs && (await this.session.ready())) {
      if (systemClock.now() >= timeMs) return;
      this.send(this.#next);
      this.#next = (this.#next + 1) % pictures.length;
    }
  }

  async drained(): Promise<void> {
    const deadlineMs = performance.now() + DRAIN_TIMEOUT_MS;
    while (this.session.metrics().unanswered > 0) {
      if (performance.now() > deadlineMs) throw new Error(`a frame has no answer after ${DRAIN_TIMEOUT_MS} ms`);
      await sleep(10);
    }
  }
}

/** Everybody does something; then the answers are waited for. */
async function all(what: (client: Client, i: number) => Promise<void>): Promise<void> {
  await Promise.all(clients.map(what));
  await Promise.all(clients.map((client) => client.drained()));
  for (const client of clients) client.onResult = undefined;
}

const api = {
  prepare: (given: { pictures: readonly Uint8Array[] }): void => {
    pictures = given.pictures;
  },

  /** Opens further sessions. */
  open: async ({ url, count }: { url: string; count: number }): Promise<void> => {
    for (let i = 0; i < count; i += 1) {
      const options = { url, reconnect: false as const };
      clients.push(new Client(await connectVideo(options)));
    }
  },

  close: async (): Promise<void> => {
    await Promise.all(clients.map(({ session }) => session.close()));
    clients = [];
  },

  /** All clients send as fast as they may; what comes in after the first `settleMs` counts. */
  saturate: async ({ settleMs, spanMs }: { settleMs: number; spanMs: number }): Promise<SaturateResult> => {
    const fromMs = systemClock.now() + settleMs;
    const untilMs = fromMs + spanMs;
    const latenciesMs: number[] = [];
    await all(async (client) => {
      client.onResult = ({ ms }) => {
        const now = systemClock.now();
        if (now >= fromMs && now < untilMs) latenciesMs.push(ms);
      };
      await client.sendUntil(untilMs);
    });
    return { fps: (latenciesMs.length * 1000) / spanMs, results: latenciesMs.length, latenciesMs };
  },

  /** All clients send at a pace; their beats are spread evenly over the period. */
  paced: async (pace: Pace): Promise<PictureTime[]> => {
    const times: PictureTime[] = [];
    await all(async (client, i) => {
      client.onResult = (time) => times.push(time);
      const startTimeMs = pace.startTimeMs + (i * pace.periodMs) / clients.length;
      await keepPace({ ...pace, startTimeMs }, (picture) => client.send(picture));
    });
    return times;
  },

  totals: (): ClientTotals => {
    const totals = { sent: 0, results: 0, dropped: 0, errors: 0, bytesSent: 0 };
    for (const { session } of clients) {
      const metrics = session.metrics();
      totals.sent += metrics.sent;
      totals.results += metrics.results;
      totals.dropped += Object.values(metrics.dropped).reduce((sum, n) => sum + n, 0);
      totals.errors += metrics.errors;
      totals.bytesSent += metrics.bytesSent;
    }
    return totals;
  },
};

export type ClientsApi = typeof api;

offer(api);
