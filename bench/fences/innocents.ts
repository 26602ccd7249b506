import { get } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '../../src/base/clock.ts';
import { connectTelemetry, type TelemetrySession } from '../../src/client/telemetry.ts';
import { connectVideo, type SkipCause, type VideoSession } from '../../src/client/video.ts';
import { Camera } from '../support/camera.ts';
import { percentile } from '../support/statistics.ts';

/** Clients that keep to the rules and want to notice nothing of an attack: a camera, a reader with its publisher, and a prober of `/health`. */

/** When an innocent does its work; both sides of a comparison have the same. */
export interface Watch {
  /** Unix ms. */
  readonly startTimeMs: number;
  readonly spanMs: number;
  /** How long what is still out is waited for. */
  readonly drainMs: number;
}

/** Ms; NaN of none. */
export interface Times {
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  readonly max: number;
}

export interface CameraSeen {
  /** Beats that came while it was there to take them. */
  readonly shown: number;
  readonly sent: number;
  readonly results: number;
  /** Frames that the grant, or the socket, did not let go. */
  readonly held: Readonly<Record<SkipCause, number>>;
  readonly dropped: Readonly<Record<string, number>>;
  /** Capture to result in hand. */
  readonly ms: Times;
  /** What the server did to it, in words. */
  readonly faults: readonly string[];
}

export interface ReaderSeen {
  readonly published: number;
  readonly received: number;
  /** Published, and not received when nothing came any more. */
  readonly lost: number;
  /** Out of order, twice, or with another number in it than was published. */
  readonly wrong: number;
  /** Published to received, on one clock. */
  readonly ms: Times;
  readonly faults: readonly string[];
}

export interface HealthSeen {
  readonly asked: number;
  readonly failed: number;
  /** By cause. */
  readonly failures: Readonly<Record<string, number>>;
  /** Connection to the end of the answer; one that failed counts as its time-out. */
  readonly ms: Times;
}

const CAMERA_FPS = 10;
const BUDGET_MS = 1_000;
const READER_HZ = 200;
export const HEALTH_EVERY_MS = 100;
const HEALTH_TIMEOUT_MS = 5_000;
const POLL_MS = 10;
/** Faults that are kept; all are counted by how many there are up to here. */
const FAULTS_MAX = 20;
export const CAMERA_NAME = 'innocent-camera';
export const PUBLISHER_NAME = 'innocent-publisher';
export const READER_NAME = 'innocent-reader';
const TOPIC = 'innocent/state';

export function timesOf(ms: readonly number[]): Times {
  const at = (percent: number): number => (ms.length === 0 ? Number.NaN : percentile(ms, percent));
  return { p50: at(50), p95: at(95), p99: at(99), max: at(100) };
}

/** What a session was told that an innocent one should not be. */
class Faults {
  #list: string[] = [];

  add(fault: string): void {
    if (this.#list.length < FAULTS_MAX) this.#list.push(fault);
  }

  /** Since the last time. */
  take(): string[] {
    const taken = this.#list;
    this.#list = [];
    return taken;
  }
}

// ── Camera ───────────────────────────────────────────────────────────────────────────────────────────────────────────────

export class InnocentCamera {
  readonly #session: VideoSession;
  readonly #jpeg: Uint8Array;
  readonly #faults: Faults;

  private constructor(session: VideoSession, jpeg: Uint8Array, faults: Faults) {
    this.#session = session;
    this.#jpeg = jpeg;
    this.#faults = faults;
  }

  static async open(url: string, jpeg: Uint8Array): Promise<InnocentCamera> {
    const session = await connectVideo({ url, clientId: CAMERA_NAME, budgetMs: BUDGET_MS });
    const faults = new Faults();
    session.on('error', ({ error }) => faults.add(`camera: ${error.code}`));
    session.on('state', ({ state, error }) => {
      if (state !== 'open') faults.add(`camera: ${state}, ${error?.code}`);
    });
    return new InnocentCamera(session, jpeg, faults);
  }

  async watch({ startTimeMs, spanMs, drainMs }: Watch): Promise<CameraSeen> {
    const session = this.#session;
    const before = session.metrics();
    const waiting = new Set<number>();
    const ms: number[] = [];
    let sent = 0;
    const offResult = session.on('result', ({ result, captureTimeMs, receivedTimeMs }) => {
      if (waiting.delete(result.seq)) ms.push(receivedTimeMs - captureTimeMs);
    });
    const offAnswered = session.on('answered', ({ seqs }) => {
      for (const seq of seqs) waiting.delete(seq);
    });
    const camera = new Camera(startTimeMs, CAMERA_FPS);
    let shown = 0;
    while (systemClock.now() < startTimeMs + spanMs) {
      await sleep(Math.max(1, camera.nextMs - systemClock.now()));
      if (camera.take(systemClock.now()) === undefined) continue;
      shown += 1;
      const seq = session.send({ jpeg: this.#jpeg });
      if (seq === undefined) continue;
      sent += 1;
      waiting.add(seq);
    }
    await until(() => waiting.size === 0, drainMs);
    offResult();
    offAnswered();
    const after = session.metrics();
    return {
      shown,
      sent,
      results: ms.length,
      held: difference(after.skipped, before.skipped),
      dropped: difference(after.dropped, before.dropped),
      ms: timesOf(ms),
      faults: this.#faults.take(),
    };
  }

  async close(): Promise<void> {
    await this.#session.close();
  }
}

// ── Reader ───────────────────────────────────────────────────────────────────────────────────────────────────────────────

interface State {
  readonly n: number;
  /** When it was published, on this process's clock, Unix ms. */
  readonly sentMs: number;
  readonly pose: { readonly x: number; readonly y: number; readonly heading: number };
  readonly cells: readonly number[];
  readonly isMoving: boolean;
}

/** Everything in it follows from its number. */
function stateOf(n: number, sentMs: number): State {
  return {
    n,
    sentMs,
    pose: { x: n / 1_000, y: -n / 8, heading: Math.sin(n) },
    cells: [n % 7, (n * 7_919) % 10_007, 3.7 + (n % 10) / 100],
    isMoving: n % 3 === 0,
  };
}

function isGenuine(state: State): boolean {
  const { pose, cells, isMoving } = stateOf(state.n, state.sentMs);
  return (
    state.pose.x === pose.x &&
    state.pose.y === pose.y &&
    state.pose.heading === pose.heading &&
    state.isMoving === isMoving &&
    cells.every((cell, i) => state.cells[i] === cell)
  );
}

/** A publisher, and a reader that wants every message of it. */
export class InnocentReader {
  readonly #publisher: TelemetrySession;
  readonly #reader: TelemetrySession;
  readonly #faults: Faults;
  #ms: number[] = [];
  #published = 0;
  /** The number of the last message. */
  #last = 0;
  #received = 0;
  #wrong = 0;

  private constructor(publisher: TelemetrySession, reader: TelemetrySession, faults: Faults) {
    this.#publisher = publisher;
    this.#reader = reader;
    this.#faults = faults;
  }

  static async open(url: string): Promise<InnocentReader> {
    const faults = new Faults();
    const publisher = await connectTelemetry({ url, clientId: PUBLISHER_NAME });
    const reader = await connectTelemetry({ url, clientId: READER_NAME });
    for (const [name, session] of Object.entries({ publisher, reader })) {
      session.on('error', ({ error }) => faults.add(`${name}: ${error.code}`));
      session.on('notice', ({ reason, penalty }) => {
        if (reason === 'rate') faults.add(`${name}: ${penalty}`);
      });
      session.on('state', ({ state, error }) => {
        if (state !== 'open') faults.add(`${name}: ${state}, ${error?.code}`);
      });
    }
    const innocent = new InnocentReader(publisher, reader, faults);
    const subscription = reader.subscribe(TOPIC, { contract: 'all' });
    subscription.on('loss', ({ count, cause }) => faults.add(`reader: ${count} lost, ${cause}`));
    subscription.onTelemetry((messages) => {
      for (const { data } of messages) innocent.#take(data as State);
    });
    await subscription.ready;
    return innocent;
  }

  async watch({ startTimeMs, spanMs, drainMs }: Watch): Promise<ReaderSeen> {
    this.#ms = [];
    this.#last = this.#published;
    this.#received = 0;
    this.#wrong = 0;
    const before = this.#published;
    const beats = Math.floor((spanMs * READER_HZ) / 1_000);
    for (let beat = 0; beat < beats;) {
      await sleep(Math.max(1, startTimeMs + (beat * 1_000) / READER_HZ - systemClock.now()));
      const due = Math.min(beats, Math.floor(((systemClock.now() - startTimeMs) * READER_HZ) / 1_000) + 1);
      for (; beat < due; beat += 1) this.#publish();
    }
    const published = this.#published - before;
    await until(() => this.#received >= published, drainMs);
    return {
      published,
      received: this.#received,
      lost: Math.max(0, published - this.#received),
      wrong: this.#wrong,
      ms: timesOf(this.#ms),
      faults: this.#faults.take(),
    };
  }

  async close(): Promise<void> {
    await this.#publisher.close();
    await this.#reader.close();
  }

  #publish(): void {
    this.#published += 1;
    try {
      void this.#publisher.publish(TOPIC, stateOf(this.#published, systemClock.now()));
    } catch (thrown) {
      this.#faults.add(`publisher: ${(thrown as Error).message}`);
    }
  }

  #take(state: State): void {
    this.#ms.push(systemClock.now() - state.sentMs);
    this.#received += 1;
    if (state.n !== this.#last + 1 || !isGenuine(state)) this.#wrong += 1;
    this.#last = state.n;
  }
}

// ── Health ───────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Asks at every beat, whether the last answer is there or not, each time over a connection of its own. */
export async function probeHealth(url: string, { startTimeMs, spanMs }: Watch): Promise<HealthSeen> {
  const probes: Promise<{ readonly ms: number; readonly failure?: string }>[] = [];
  for (let ms = 0; ms < spanMs; ms += HEALTH_EVERY_MS) {
    await sleep(Math.max(0, startTimeMs + ms - systemClock.now()));
    probes.push(askHealth(url));
  }
  const all = await Promise.all(probes);
  const failures: Record<string, number> = {};
  for (const { failure } of all) if (failure !== undefined) failures[failure] = (failures[failure] ?? 0) + 1;
  return {
    asked: all.length,
    failed: all.filter(({ failure }) => failure !== undefined).length,
    failures,
    ms: timesOf(all.map(({ ms }) => ms)),
  };
}

/** Never rejects. */
export function askHealth(url: string): Promise<{ readonly ms: number; readonly failure?: string }> {
  const startMs = performance.now();
  return new Promise((resolve) => {
    const fail = (failure: string): void => resolve({ ms: HEALTH_TIMEOUT_MS, failure });
    const request = get(`${url}/health`, { agent: false }, (response) => {
      response.resume();
      response.once('error', (error: NodeJS.ErrnoException) => fail(error.code ?? error.message));
      response.once('end', () => {
        clearTimeout(timer);
        if (response.statusCode === 200) resolve({ ms: performance.now() - startMs });
        else fail(String(response.statusCode));
      });
    });
    const timer = setTimeout(() => request.destroy(new Error('no answer')), HEALTH_TIMEOUT_MS);
    request.once('error', (error: NodeJS.ErrnoException) => {
      clearTimeout(timer);
      fail(error.code ?? error.message);
    });
  });
}

async function until(condition: () => boolean, timeoutMs: number): Promise<void> {
  const deadlineMs = performance.now() + timeoutMs;
  while (!condition() && performance.now() < deadlineMs) await sleep(POLL_MS);
}

function difference<K extends string>(
  after: Readonly<Record<K, number>>,
  before: Readonly<Record<K, number>>,
): Record<K, number> {
  const entries = Object.entries(after) as [K, number][];
  return Object.fromEntries(entries.map(([name, n]) => [name, n - before[name]])) as Record<K, number>;
}
