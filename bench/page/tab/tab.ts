import { systemClock } from '../../../src/base/clock.ts';
import { connectTelemetry, decodingWorker } from '../../../src/client/index.ts';
import { CHECK_PATHS, type RoverMessage } from '../../../src/load/rover-messages.ts';
import { Meter, type Column } from '../../telemetry/meter.ts';
import { serverClock } from '../../telemetry/server-clock.ts';
import type { Tab, TabOptions } from '../tab-api.ts';
import { decodeBatches, loadWorker } from './decode.ts';

/** The page: it looks at every message, and draws a line of what came last in every animation frame. */

declare global {
  interface Window {
    tab: Tab;
  }
}

const SUBSCRIBE_TIMEOUT_MS = 20_000;
const POINTS = 300;

/** One message of `bench/telemetry/plain-ws.ts`. */
interface WireMessage {
  readonly topic: string;
  readonly time: number;
  readonly data: RoverMessage;
}

const meter = new Meter(() => systemClock.now());

// ── What is drawn ────────────────────────────────────────────────────────────────────────────────────────────────────────

/** The last values of one field of the first topic. */
class Trace {
  readonly #values = new Float64Array(POINTS);
  #next = 0;

  add(value: number): void {
    this.#values[this.#next] = value;
    this.#next = (this.#next + 1) % POINTS;
  }

  draw(context: CanvasRenderingContext2D): void {
    const { width, height } = context.canvas;
    context.clearRect(0, 0, width, height);
    context.beginPath();
    for (let i = 0; i < POINTS; i += 1) {
      const value = this.#values[(this.#next + i) % POINTS]!;
      context.lineTo((i * width) / POINTS, height * (0.5 - value / 40));
    }
    context.stroke();
  }
}

const trace = new Trace();
const context = document.querySelector('canvas')!.getContext('2d')!;

function draw(): void {
  trace.draw(context);
  requestAnimationFrame(draw);
}

requestAnimationFrame(draw);

// ── What comes ───────────────────────────────────────────────────────────────────────────────────────────────────────────

async function connectSightline(options: TabOptions): Promise<() => Promise<void>> {
  const { url, topics, form, hasWorker, fromStart = false } = options;
  const worker = hasWorker ? decodingWorker() : undefined;
  if (hasWorker && worker === undefined) throw new Error('the page has no worker');
  // It says so once.
  const loaded = new Promise<void>((resolve) => worker?.addEventListener('message', () => resolve()));
  const session = await connectTelemetry({ url, reconnect: false, worker });
  if (worker !== undefined) await inTime(loaded);
  session.on('error', () => meter.damaged());
  const nowMs = serverClock(session);
  const [seq, check, x, accel, volts] = CHECK_PATHS;
  const subscriptions = topics.map((topic, pair) => {
    // A topic that it leaves out begins with its first message.
    const since = fromStart ? [{ topic: `${topic}/none`, epoch: 1, seq: 1 }] : [];
    const subscription = session.subscribe(topic, { contract: 'all', since });
    subscription.on('loss', () => meter.damaged());
    if (form === 'columns') {
      subscription.onColumns((columns) => {
        const column = (path: string): Column => columns.column(path)!;
        const checked = [column(seq), column(check), column(x), column(accel), column(volts)] as const;
        meter.columns(pair, columns.times, checked, nowMs());
        if (pair === 0) trace.add(checked[2][columns.count - 1]!);
      });
    } else {
      subscription.onTelemetry((messages) => {
        const now = nowMs();
        for (const { timeMs, data } of messages) {
          meter.object(pair, timeMs, data as RoverMessage, now);
          if (pair === 0) trace.add((data as RoverMessage).pose.x);
        }
      });
    }
    return subscription;
  });
  await inTime(Promise.all(subscriptions.map(({ ready }) => ready)));
  return () => session.close();
}

async function connectJson({ url, topics }: TabOptions): Promise<() => Promise<void>> {
  const pairs = new Map(topics.map((topic, pair) => [topic, pair]));
  const socket = new WebSocket(`${url}/subscribe`);
  // As the SDK has it; texts come as strings in any case.
  socket.binaryType = 'arraybuffer';
  const decoder = new TextDecoder();
  socket.addEventListener('message', ({ data: bytes }: MessageEvent<string | ArrayBuffer>) => {
    const { topic, time, data } = JSON.parse(typeof bytes === 'string' ? bytes : decoder.decode(bytes)) as WireMessage;
    const pair = pairs.get(topic)!;
    meter.object(pair, time, data);
    if (pair === 0) trace.add(data.pose.x);
  });
  const opened = new Promise<void>((resolve, reject) => {
    socket.addEventListener('open', () => resolve());
    socket.addEventListener('error', () => reject(new Error(`there is no connection to ${url}`)));
  });
  await inTime(opened);
  return async () => socket.close();
}

async function inTime<T>(what: Promise<T>): Promise<T> {
  let timer: number | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('no answer in time')), SUBSCRIBE_TIMEOUT_MS);
  });
  try {
    return await Promise.race([what, late]);
  } finally {
    clearTimeout(timer);
  }
}

let shut = (): Promise<void> => Promise.resolve();

window.tab = {
  connect: async (options) => {
    meter.expect(options.topics.length);
    shut = await (options.client === 'json' ? connectJson(options) : connectSightline(options));
  },
  begin: (fromMs) => meter.begin(fromMs),
  total: () => meter.total,
  end: () => meter.end(),
  close: () => shut(),
  load: loadWorker,
  decode: decodeBatches,
};
