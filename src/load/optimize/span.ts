import { availableParallelism, cpus } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { ownTimeMs, type Clock } from '../../base/clock.ts';
import { SightlineError } from '../../base/errors.ts';
import type { GrantFields, ResultMessage } from '../../protocol/video.ts';
import type { PictureBook } from './clip.ts';
import { percentile, type Measured } from './judge.ts';
import { Sender } from './sender.ts';

/** One span of load: sessions that send a clip's pictures to a server, and their results. */

export interface SpanOptions {
  readonly url: string;
  readonly book: PictureBook;
  readonly sessions: number;
  /** Load before the span, until grants and queues have found their place. */
  readonly settleMs: number;
  readonly spanMs: number;
  /** Time for the answers to the last frames. */
  readonly drainMs: number;
  readonly targetMs: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

const FIGURES_TIMEOUT_MS = 5_000;
const MIB = 2 ** 20;

/**
 * The load of `sessions` clients that each send as fast as they are granted, and its figures. A frame counts by its capture time,
 * which is when it is sent: its picture was encoded before. Errors: CONNECTION_FAILED, CONNECTION_LOST, refusals; the signal's reason.
 */
export async function runSpan(options: SpanOptions): Promise<Measured> {
  const { clock, signal, sessions, settleMs, spanMs, drainMs, url, book } = options;
  const meter = new SpanMeter(options);
  const cameras: Camera[] = [];
  try {
    for (let place = 0; place < sessions; place += 1) cameras.push(await Camera.open(options, meter, place));
    // So that no picture is encoded during the measurement, except for grants that change.
    for (const { grant } of cameras) book.prepare(grant);
    const beginMs = clock.now() + settleMs;
    meter.begin(beginMs, beginMs + spanMs);
    const sending = Promise.all(cameras.map((camera) => camera.sendUntil(beginMs + spanMs)));
    // The last `await` handles its error; until then it must not count as unhandled.
    sending.catch(() => undefined);
    await sleep(settleMs, undefined, { signal });
    // Begins the time over which the server measures its load.
    await readServer(url, signal);
    const machine = new MachineMeter();
    await sleep(Math.max(0, beginMs + spanMs - clock.now()), undefined, { signal });
    const server = await readServer(url, signal);
    const others_percent = machine.othersPercent(server.cpu_percent);
    await sending;
    const deadlineMs = clock.now() + drainMs;
    await Promise.all(cameras.map((camera) => camera.drain(deadlineMs)));
    return { ...meter.figures(), ...server, others_percent };
  } catch (thrown) {
    signal.throwIfAborted();
    throw thrown;
  } finally {
    await Promise.all(cameras.map((camera) => camera.close()));
  }
}

/** Sums over the frames of all cameras that were captured within the span. */
export class SpanMeter {
  readonly #targetMs: number;
  readonly #latenciesMs: number[] = [];
  readonly #worksMs: number[] = [];
  #beginMs = Infinity;
  #endMs = Infinity;
  #sent = 0;
  #results = 0;

  constructor({ targetMs }: Pick<SpanOptions, 'targetMs'>) {
    this.#targetMs = targetMs;
  }

  begin(beginMs: number, endMs: number): void {
    this.#beginMs = beginMs;
    this.#endMs = endMs;
  }

  sent(captureMs: number): void {
    if (this.#isWithin(captureMs)) this.#sent += 1;
  }

  result(captureMs: number, receivedMs: number, { stages_ms: stages }: Pick<ResultMessage, 'stages_ms'>): void {
    if (this.#isWithin(receivedMs)) this.#results += 1;
    if (!this.#isWithin(captureMs)) return;
    this.#latenciesMs.push(receivedMs - captureMs);
    this.#worksMs.push(stages.decode + stages.preprocess + stages.inference + stages.postprocess);
  }

  figures(): Omit<Measured, 'cpu_percent' | 'memory_mb' | 'others_percent'> {
    const seconds = (this.#endMs - this.#beginMs) / 1000;
    const inTime = this.#latenciesMs.filter((ms) => ms <= this.#targetMs).length;
    return {
      results_per_s: this.#results / seconds,
      in_time_per_s: inTime / seconds,
      p50_ms: percentile(this.#latenciesMs, 0.5),
      p95_ms: percentile(this.#latenciesMs, 0.95),
      // A frame without a result was lost, whatever the server said of it.
      loss_percent: (100 * (this.#sent - this.#latenciesMs.length)) / Math.max(1, this.#sent),
      work_p95_ms: percentile(this.#worksMs, 0.95),
    };
  }

  #isWithin(timeMs: number): boolean {
    return timeMs >= this.#beginMs && timeMs < this.#endMs;
  }
}

/** One session. It begins at its own place in the clip and at its own moment within an interval, as cameras do. */
class Camera {
  readonly #options: SpanOptions;
  readonly #meter: SpanMeter;
  readonly #place: number;
  readonly #sender: Sender;
  #next: number;

  private constructor(options: SpanOptions, meter: SpanMeter, place: number, sender: Sender) {
    this.#options = options;
    this.#meter = meter;
    this.#place = place;
    this.#sender = sender;
    this.#next = place * 7;
  }

  static async open(options: SpanOptions, meter: SpanMeter, place: number): Promise<Camera> {
    const { url, clock, signal } = options;
    const sender = await Sender.open({
      url,
      clock,
      signal,
      onResult: ({ result, captureTimeMs, receivedTimeMs }) =>
        meter.result(ownTimeMs(clock, captureTimeMs), ownTimeMs(clock, receivedTimeMs), result),
    });
    return new Camera(options, meter, place, sender);
  }

  get grant(): GrantFields {
    return this.#sender.grant;
  }

  async sendUntil(untilMs: number): Promise<void> {
    const { clock, book, sessions, signal } = this.#options;
    const periodMs = 1000 / Math.max(1, this.#sender.grant.rate_fps);
    await sleep((periodMs * this.#place) / sessions, undefined, { signal });
    while (await this.#sender.ready(untilMs)) {
      const jpeg = book.jpeg(this.#next, this.#sender.grant);
      const captureMs = clock.now();
      if (this.#sender.send(jpeg, captureMs) === undefined) continue;
      this.#next += 1;
      this.#meter.sent(captureMs);
    }
  }

  drain(untilMs: number): Promise<void> {
    return this.#sender.answered(untilMs);
  }

  close(): Promise<void> {
    return this.#sender.close();
  }
}

/** Load of the machine since it was made, besides the server and this process. */
class MachineMeter {
  readonly #begun = performance.now();
  readonly #own = process.cpuUsage();
  readonly #busyMs = busyMs();

  /** `serverPercent`: the server's load, in percent of the processors that it may use. */
  othersPercent(serverPercent: number): number {
    const elapsedMs = performance.now() - this.#begun;
    const { user, system } = process.cpuUsage(this.#own);
    const serverMs = (serverPercent / 100) * elapsedMs * availableParallelism();
    const othersMs = busyMs() - this.#busyMs - serverMs - (user + system) / 1000;
    return Math.min(100, Math.max(0, (100 * othersMs) / (elapsedMs * cpus().length)));
  }
}

/** Of all processors together, since the machine was started. */
function busyMs(): number {
  return cpus().reduce((sum, { times }) => sum + times.user + times.nice + times.sys + times.irq, 0);
}

/** The server's own figures of its process. Errors: CONNECTION_FAILED. */
async function readServer(url: string, signal: AbortSignal): Promise<Pick<Measured, 'cpu_percent' | 'memory_mb'>> {
  try {
    const response = await fetch(new URL('/api/performance/metrics', url), {
      signal: AbortSignal.any([signal, AbortSignal.timeout(FIGURES_TIMEOUT_MS)]),
    });
    const { process } = (await response.json()) as { process: { cpu_percent: number; rss_bytes: number } };
    return { cpu_percent: process.cpu_percent, memory_mb: process.rss_bytes / MIB };
  } catch (cause) {
    signal.throwIfAborted();
    throw new SightlineError('CONNECTION_FAILED', `${url} does not return its figures: ${(cause as Error).message}`, {
      cause,
    });
  }
}
