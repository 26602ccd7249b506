import { smallPicture } from '../../bench/fences/small-picture.ts';
import { offer } from '../../bench/support/children.ts';
import { percentile } from '../../bench/support/statistics.ts';
import { DurationHistogram } from '../../src/client/histogram.ts';
import { connectTelemetry, type TelemetrySession } from '../../src/client/telemetry.ts';
import { connectVideo, type VideoSession } from '../../src/client/video.ts';

/** Cameras and topics that go on for as long as they are let, and count what became of everything that they sent. */

export interface Opening {
  readonly url: string;
  /** Of the sessions' names and topics. */
  readonly name: string;
  readonly key: string;
  readonly cameras: number;
  readonly topics: number;
}

/** What one stream has seen since it was opened; latencies since the last report. */
export interface StreamSeen {
  readonly name: string;
  /** Frames or messages. */
  readonly sent: number;
  /** With a result, or received. */
  readonly done: number;
  /** Without, by what was told of them. */
  readonly told: number;
  /** Not known yet. */
  readonly open: number;
  readonly wrong: number;
  readonly reconnects: number;
  /** Of all, and of those since the last report, ms; NaN of none. */
  readonly p95Ms: number;
  readonly recentP95Ms: number;
  readonly count: number;
  readonly faults: readonly string[];
}

const CAMERA_FPS = 2;
const TOPIC_HZ = 10;
const BUDGET_MS = 1_000;
/** Latencies that are kept between two reports, and faults in all. */
const TIMES_MAX = 100_000;
const FAULTS_MAX = 5;

let key = '';
let ending = false;
const streams: { seen(): StreamSeen; stop(): void; close(): Promise<void> }[] = [];

const accessToken = (): string => key;

class Times {
  readonly #all = new DurationHistogram();
  #recent: number[] = [];

  add(ms: number): void {
    this.#all.record(ms);
    if (this.#recent.length < TIMES_MAX) this.#recent.push(ms);
  }

  take(): Pick<StreamSeen, 'p95Ms' | 'recentP95Ms' | 'count'> {
    const recent = this.#recent;
    this.#recent = [];
    const { count } = this.#all;
    return {
      p95Ms: count === 0 ? Number.NaN : this.#all.percentileMs(0.95),
      recentP95Ms: recent.length === 0 ? Number.NaN : percentile(recent, 95),
      count,
    };
  }
}

class CameraStream {
  readonly #name: string;
  readonly #session: VideoSession;
  readonly #times = new Times();
  readonly #faults: string[] = [];
  readonly #timer: NodeJS.Timeout;

  private constructor(name: string, session: VideoSession, jpeg: Uint8Array) {
    this.#name = name;
    this.#session = session;
    session.on('result', ({ captureTimeMs, receivedTimeMs }) => this.#times.add(receivedTimeMs - captureTimeMs));
    session.on('state', ({ state, error }) => {
      if (state === 'closed' && !ending && this.#faults.length < FAULTS_MAX)
        this.#faults.push(`closed: ${error?.code}`);
    });
    this.#timer = setInterval(() => {
      if (session.state !== 'closed') session.send({ jpeg });
    }, 1_000 / CAMERA_FPS);
  }

  static async open(url: string, name: string, jpeg: Uint8Array): Promise<CameraStream> {
    const session = await connectVideo({ url, clientId: name, budgetMs: BUDGET_MS, accessToken });
    return new CameraStream(name, session, jpeg);
  }

  seen(): StreamSeen {
    const { sent, results, dropped, frameErrors, unanswered, reconnects } = this.#session.metrics();
    const told = Object.values(dropped).reduce((sum, n) => sum + n, 0) + frameErrors;
    return {
      name: this.#name,
      sent,
      done: results,
      told,
      open: unanswered,
      wrong: sent === results + told + unanswered ? 0 : 1,
      reconnects,
      ...this.#times.take(),
      faults: this.#faults,
    };
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  async close(): Promise<void> {
    await this.#session.close();
  }
}

interface Beat {
  readonly n: number;
  readonly sentMs: number;
}

/** A publisher of reliable messages, and a reader of all of them, each over a connection of its own. */
class TopicStream {
  readonly #name: string;
  readonly #publisher: TelemetrySession;
  readonly #reader: TelemetrySession;
  readonly #times = new Times();
  readonly #faults: string[] = [];
  #timer: NodeJS.Timeout | undefined;
  #sent = 0;
  #received = 0;
  #last = 0;
  #told = 0;
  #wrong = 0;

  private constructor(name: string, publisher: TelemetrySession, reader: TelemetrySession) {
    this.#name = name;
    this.#publisher = publisher;
    this.#reader = reader;
    for (const [who, session] of Object.entries({ publisher, reader })) {
      session.on('state', ({ state, error }) => {
        if (state === 'closed' && !ending) this.#fault(`${who} closed: ${error?.code}`);
      });
    }
  }

  static async open(url: string, name: string): Promise<TopicStream> {
    const publisher = await connectTelemetry({ url, clientId: `${name}-publisher`, accessToken });
    const reader = await connectTelemetry({ url, clientId: `${name}-reader`, accessToken });
    const stream = new TopicStream(name, publisher, reader);
    await stream.#begin();
    return stream;
  }

  seen(): StreamSeen {
    const { reconnects } = this.#reader.metrics();
    return {
      name: this.#name,
      sent: this.#sent,
      done: this.#received,
      told: this.#told,
      open: this.#sent - this.#received - this.#told,
      wrong: this.#wrong,
      reconnects: reconnects + this.#publisher.metrics().reconnects,
      ...this.#times.take(),
      faults: this.#faults,
    };
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  async close(): Promise<void> {
    await this.#publisher.close();
    await this.#reader.close();
  }

  async #begin(): Promise<void> {
    const subscription = this.#reader.subscribe(`soak/${this.#name}`, { contract: 'reliable' });
    subscription.on('loss', ({ count }) => (this.#told += count));
    subscription.onTelemetry((messages) => {
      for (const { data } of messages) this.#take(data as Beat);
    });
    await subscription.ready;
    this.#timer = setInterval(() => this.#publish(), 1_000 / TOPIC_HZ);
  }

  #publish(): void {
    if (this.#publisher.state === 'closed') return;
    this.#sent += 1;
    const beat: Beat = { n: this.#sent, sentMs: performance.now() };
    this.#publisher.publish(`soak/${this.#name}`, beat, { reliable: true })?.catch((thrown: Error) => {
      if (!ending) this.#fault(`publish: ${thrown.message}`);
    });
  }

  #take({ n, sentMs }: Beat): void {
    this.#times.add(performance.now() - sentMs);
    this.#received += 1;
    if (n <= this.#last) this.#wrong += 1;
    this.#last = n;
  }

  #fault(what: string): void {
    if (this.#faults.length < FAULTS_MAX) this.#faults.push(what);
  }
}

const api = {
  open: async ({ url, name, key: first, cameras, topics }: Opening): Promise<void> => {
    key = first;
    const jpeg = smallPicture();
    for (let i = 0; i < cameras; i += 1) streams.push(await CameraStream.open(url, `${name}-camera${i}`, jpeg));
    for (let i = 0; i < topics; i += 1) streams.push(await TopicStream.open(url, `${name}-topic${i}`));
  },

  /** From the next connection on. */
  useKey: (next: string): void => {
    key = next;
  },

  seen: (): readonly StreamSeen[] => streams.map((stream) => stream.seen()),

  /** Nothing is sent any more. */
  stop: (): void => {
    for (const stream of streams) stream.stop();
  },

  close: async (): Promise<void> => {
    ending = true;
    await Promise.all(streams.map((stream) => stream.close()));
  },
};

export type StreamsApi = typeof api;

offer(api);
