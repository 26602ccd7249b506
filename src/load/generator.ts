import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Clock } from '../base/clock.ts';
import { toSightlineError, type ErrorCode } from '../base/errors.ts';
import type { Subscription } from '../client/telemetry-subscription.ts';
import { connectTelemetry, type TelemetryFormat, type TelemetrySession } from '../client/telemetry.ts';
import type { TelemetrySubprotocol } from '../protocol/telemetry.ts';
import { connectUnless } from './connect.ts';
import type { GeneratorResult, LatencyMs, PhaseResult, SecondResult } from './results.ts';
import { isGenuine, roverMessages, sign, type RoverMessage } from './rover-messages.ts';
import { publisherCount, readsFrom, secondsOf, type LoadPhase, type LoadTest } from './scenarios.ts';

export interface GeneratorOptions {
  readonly url: string;
  /** The key, where the server asks for one. */
  readonly token: string | undefined;
  /** PEM of authorities by which it checks the server, beside those that Node knows. */
  readonly authorities?: readonly string[];
  readonly subprotocol: TelemetrySubprotocol;
  readonly test: LoadTest;
  /** Keeps the topics of several runs on one server apart. */
  readonly run: string;
  readonly seed: number;
}

export interface GeneratorContext {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Called now and then. */
  readonly onProgress: (progress: Progress) => void;
}

export interface Progress {
  readonly connected: number;
  readonly seconds: number;
  readonly published: number;
  readonly received: number;
}

const MESSAGES = 512;
/** Send times that are remembered for each publisher: at 1,000 Hz more than 16 s. */
const SENT_TIMES = 16_384;
const CONNECTING_MAX = 20;
/** After the last message. */
const DRAIN_TIMEOUT_MS = 5_000;
const DRAIN_STALL_MS = 1_000;
const PROGRESS_INTERVAL_MS = 250;
const LATENCY_US_MAX = 60_000_000;
const FORMATS: Readonly<Record<TelemetrySubprotocol, TelemetryFormat>> = {
  'sightline.v1.json': 'json',
  'sightline.v1.msgpack': 'msgpack',
  'sightline.v1.binary': 'binary',
};

interface Publisher {
  readonly topic: string;
  readonly session: TelemetrySession;
  /** By vehicle's count, a ring: when it was published, and in which phase. */
  readonly sentMs: Float64Array;
  readonly sentPhase: Uint8Array;
  seq: number;
  /** Offset of its sends within a period, as a fraction. */
  readonly shift: number;
}

interface Connected {
  readonly place: number;
  readonly session: TelemetrySession;
  readonly subscription: Subscription | undefined;
}

/** Runs one load test: all connections, all messages, all checks. */
export class Generator {
  readonly #options: GeneratorOptions;
  readonly #context: GeneratorContext;
  readonly #messages: readonly RoverMessage[];
  readonly #jsonBytes: readonly number[];
  readonly #publishers = new Map<string, Publisher>();
  readonly #nextSeqs = new Map<number, number>();
  readonly #phases: PhaseMeter[];
  readonly #latency = new LatencyMeter();
  readonly #connect = new LatencyMeter();
  readonly #timeline: { received: number; latency: LatencyMeter }[] = [];
  readonly #refused: Record<string, number> = {};
  readonly #errors: Record<string, number> = {};
  readonly #lost: Record<string, number> = {};
  #beganMs = 0;
  #published = 0;
  #publishedJsonBytes = 0;
  #received = 0;
  #damaged = 0;
  #connected = 0;
  #isOver = false;

  constructor(options: GeneratorOptions, context: GeneratorContext) {
    this.#options = options;
    this.#context = context;
    this.#messages = roverMessages(MESSAGES, options.seed);
    this.#jsonBytes = this.#messages.map((message) => JSON.stringify(message).length);
    this.#phases = options.test.phases.map(() => new PhaseMeter());
  }

  /**
   * Stopped by the signal it returns the measurements so far, marked as partial. Errors: CONNECTION_FAILED and refusals, when not even the first
   * connection succeeds; the signal's reason, when nothing was measured.
   */
  async run(): Promise<GeneratorResult> {
    const { signal } = this.#context;
    const usedBefore = process.cpuUsage();
    const wallBeganMs = performance.now();
    const timer = setInterval(() => this.#tell(), PROGRESS_INTERVAL_MS);
    const connected: Connected[] = [];
    const result = (): GeneratorResult => {
      const seconds = (this.#context.clock.now() - this.#beganMs) / 1_000;
      const { user, system } = process.cpuUsage(usedBefore);
      const cpuPercent = ((user + system) / 10 / Math.max(1, performance.now() - wallBeganMs)) | 0;
      return this.#result(connected, Math.min(seconds, secondsOf(this.#options.test)), cpuPercent);
    };
    try {
      await this.#connectAll(connected);
      signal.throwIfAborted();
      this.#beganMs = this.#context.clock.now();
      for (const [i, phase] of this.#options.test.phases.entries()) await this.#publishPhase(phase, i);
      await this.#drained();
      return result();
    } catch (thrown) {
      if (!signal.aborted || this.#beganMs === 0 || this.#received === 0) throw thrown;
      return { ...result(), partial: true };
    } finally {
      this.#isOver = true;
      clearInterval(timer);
      await Promise.all(connected.map(({ session }) => session.close()));
    }
  }

  async #connectAll(into: Connected[]): Promise<void> {
    const { test } = this.#options;
    // The first one alone: when it fails, all will, and its error gives the reason.
    into.push(await this.#connectOne(0));
    for (let from = 1; from < test.connections; from += CONNECTING_MAX) {
      const places = Array.from({ length: Math.min(CONNECTING_MAX, test.connections - from) }, (_, i) => from + i);
      await Promise.all(
        places.map(async (place) => {
          try {
            into.push(await this.#connectOne(place));
          } catch (thrown) {
            this.#context.signal.throwIfAborted();
            count(this.#refused, toSightlineError(thrown).code);
          }
        }),
      );
    }
    const publishers = publisherCount(test);
    for (const { place, session } of into.toSorted((a, b) => a.place - b.place)) {
      if (place >= publishers) continue;
      const topic = this.#topic(place);
      this.#publishers.set(topic, {
        topic,
        session,
        sentMs: new Float64Array(SENT_TIMES),
        sentPhase: new Uint8Array(SENT_TIMES),
        seq: 0,
        shift: test.together ? 0 : place / publishers,
      });
    }
  }

  async #connectOne(place: number): Promise<Connected> {
    const { url, token, subprotocol, test } = this.#options;
    const accessToken = token === undefined ? {} : { accessToken: token };
    const { signal } = this.#context;
    const beganMs = performance.now();
    const session = await connectUnless(signal, () =>
      connectTelemetry({ url, format: FORMATS[subprotocol], reconnect: false, ...accessToken }),
    );
    session.on('error', ({ error }) => count(this.#errors, error.code));
    session.on('state', ({ error }) => {
      if (error !== undefined && !this.#isOver) count(this.#errors, error.code);
    });
    this.#connect.record(performance.now() - beganMs);
    const source = readsFrom(test, place);
    const subscription = source === undefined ? undefined : session.subscribe(this.#topic(source));
    subscription?.on('loss', ({ cause, count: lost }) => count(this.#lost, cause, lost));
    subscription?.onTelemetry((messages) => {
      for (const { topic, data } of messages) this.#arrived(place, topic, data as RoverMessage);
    });
    try {
      await subscription?.ready;
    } catch (thrown) {
      await session.close();
      throw thrown;
    }
    this.#connected += 1;
    return { place, session, subscription };
  }

  #topic(place: number): string {
    return `load/${this.#options.run}/${place}`;
  }

  async #publishPhase({ rateHz, seconds }: LoadPhase, phase: number): Promise<void> {
    const { clock, signal } = this.#context;
    const periodMs = 1_000 / rateHz;
    const beganMs = clock.now();
    const beats = Math.max(1, Math.round(rateHz * seconds));
    const publishers = [...this.#publishers.values()];
    const next = publishers.map(() => 0);
    for (;;) {
      const nowMs = clock.now();
      let nextMs = Infinity;
      for (const [i, publisher] of publishers.entries()) {
        const dueMs = (): number => beganMs + (next[i]! + publisher.shift) * periodMs;
        for (; next[i]! < beats && dueMs() <= nowMs; next[i]! += 1) this.#publish(publisher, phase);
        if (next[i]! < beats) nextMs = Math.min(nextMs, dueMs());
      }
      if (nextMs === Infinity) break;
      await sleep(Math.max(1, nextMs - clock.now()), undefined, { signal });
    }
    // A phase lasts as long as specified: the answers to its last messages belong to it.
    await sleep(Math.max(0, beganMs + seconds * 1_000 - clock.now()), undefined, { signal });
  }

  #publish(publisher: Publisher, phase: number): void {
    const { clock } = this.#context;
    const seq = (publisher.seq += 1);
    const place = seq % this.#messages.length;
    const message = this.#messages[place]!;
    sign(message, seq);
    const timeMs = clock.now();
    publisher.sentMs[seq % SENT_TIMES] = timeMs;
    publisher.sentPhase[seq % SENT_TIMES] = phase;
    this.#published += 1;
    this.#publishedJsonBytes += this.#jsonBytes[place]!;
    this.#phases[phase]!.published += 1;
    try {
      publisher.session.publish(publisher.topic, message);
    } catch (thrown) {
      // Its readers miss it, and the report says why.
      count(this.#errors, toSightlineError(thrown).code);
    }
  }

  #arrived(place: number, topic: string, message: RoverMessage): void {
    const nowMs = this.#context.clock.now();
    const publisher = this.#publishers.get(topic);
    const { seq } = message;
    if (!publisher || !isGenuine(message) || seq > publisher.seq || seq < (this.#nextSeqs.get(place) ?? 1)) {
      this.#damaged += 1;
      return;
    }
    this.#nextSeqs.set(place, seq + 1);
    this.#received += 1;
    const second = Math.floor((nowMs - this.#beganMs) / 1_000);
    const slot = (this.#timeline[second] ??= { received: 0, latency: new LatencyMeter() });
    slot.received += 1;
    if (publisher.seq - seq >= SENT_TIMES) return;
    const ms = nowMs - publisher.sentMs[seq % SENT_TIMES]!;
    const phase = this.#phases[publisher.sentPhase[seq % SENT_TIMES]!]!;
    phase.received += 1;
    phase.latency.record(ms);
    slot.latency.record(ms);
    this.#latency.record(ms);
  }

  /** Messages that every connected reader should have got. */
  get #expected(): number {
    return this.#published * this.#readersOfEach;
  }

  get #readersOfEach(): number {
    return this.#options.test.topology === 'fan' ? this.#connected - 1 : 1;
  }

  /** What the SDK of a publisher dropped never came to the server. */
  #lostAndUnsent(): Record<string, number> {
    const lost = { ...this.#lost };
    for (const { session } of this.#publishers.values()) {
      const dropped = Object.entries(session.metrics().publish.dropped);
      for (const [cause, messages] of dropped) {
        if (messages > 0) count(lost, `unsent_${cause}`, messages * this.#readersOfEach);
      }
    }
    return lost;
  }

  async #drained(): Promise<void> {
    const deadlineMs = performance.now() + DRAIN_TIMEOUT_MS;
    let [seen, seenMs] = [this.#received, performance.now()];
    while (this.#received + this.#damaged < this.#expected) {
      const nowMs = performance.now();
      if (this.#received > seen) [seen, seenMs] = [this.#received, nowMs];
      if (nowMs > deadlineMs || nowMs - seenMs > DRAIN_STALL_MS) return;
      await sleep(10, undefined, { signal: this.#context.signal });
    }
  }

  #result(connected: readonly Connected[], seconds: number, cpuPercent: number): GeneratorResult {
    const { test } = this.#options;
    const lost = this.#lostAndUnsent();
    const told = Object.values(lost).reduce((sum, n) => sum + n, 0);
    // After a stop, missing messages may still be in transit.
    const isWhole = !this.#context.signal.aborted;
    const unexplained = isWhole ? Math.max(0, this.#expected - this.#received - this.#damaged - told) : 0;
    const readers = connected.filter(({ place }) => readsFrom(test, place) !== undefined);
    const bytes = readers.reduce((sum, { subscription }) => sum + subscription!.metrics().bytes, 0);
    return {
      connections: test.connections,
      connected: this.#connected,
      refused: this.#refused,
      connect: this.#connect.figures(),
      seconds,
      published: this.#published,
      expected: this.#expected,
      received: this.#received,
      damaged: this.#damaged,
      lost: unexplained > 0 ? { ...lost, unexplained } : lost,
      errors: isWhole ? this.#errors : withoutFarewells(this.#errors),
      latency: this.#latency.figures(),
      phases: test.phases.map((phase, i) => this.#phases[i]!.figures(phase)),
      timeline: this.#timelineFigures(),
      bytes_per_message: this.#received === 0 ? null : bytes / this.#received,
      json_bytes_per_message: this.#published === 0 ? null : this.#publishedJsonBytes / this.#published,
      generator_cpu_percent: cpuPercent,
    };
  }

  #timelineFigures(): SecondResult[] {
    // Array.from, since seconds in which nothing came are holes.
    return Array.from(this.#timeline, (slot) => ({
      received: slot?.received ?? 0,
      p95_ms: slot?.latency.figures().p95_ms ?? null,
    }));
  }

  #tell(): void {
    this.#context.onProgress({
      connected: this.#connected,
      seconds: this.#beganMs === 0 ? 0 : (this.#context.clock.now() - this.#beganMs) / 1_000,
      published: this.#published,
      received: this.#received,
    });
  }
}

/** A terminal's Ctrl+C goes to a private server, too, which says good-bye at the same moment. */
const FAREWELLS: ReadonlySet<string> = new Set(['SHUTTING_DOWN', 'CONNECTION_LOST']);

function withoutFarewells(errors: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(errors).filter(([code]) => !FAREWELLS.has(code)));
}

function count(counts: Record<string, number>, name: string, by = 1): void {
  counts[name] = (counts[name] ?? 0) + by;
}

class PhaseMeter {
  published = 0;
  received = 0;
  readonly latency = new LatencyMeter();

  figures({ rateHz, seconds }: LoadPhase): PhaseResult {
    const { published, received } = this;
    return { rate_hz: rateHz, seconds, published, received, latency: this.latency.figures() };
  }
}

/** Every duration, to three digits. Made when first needed: an empty histogram of Node takes its 200 kB as well. */
class LatencyMeter {
  #histogram: RecordableHistogram | undefined;

  record(ms: number): void {
    this.#histogram ??= createHistogram({ lowest: 1, highest: LATENCY_US_MAX, figures: 3 });
    this.#histogram.record(Math.min(LATENCY_US_MAX, Math.max(1, Math.round(ms * 1_000))));
  }

  figures(): LatencyMs {
    const histogram = this.#histogram;
    if (!histogram) return { p50_ms: null, p95_ms: null, p99_ms: null, max_ms: null, mean_ms: null };
    return {
      p50_ms: histogram.percentile(50) / 1_000,
      p95_ms: histogram.percentile(95) / 1_000,
      p99_ms: histogram.percentile(99) / 1_000,
      max_ms: histogram.max / 1_000,
      mean_ms: histogram.mean / 1_000,
    };
  }
}

/** The reason of a run that could not begin, in the form that crosses processes. */
export function failureOf(thrown: unknown): { code: ErrorCode; message: string } {
  const { code, message } = toSightlineError(thrown);
  return { code, message };
}
