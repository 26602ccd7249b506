import { wallAheadMs } from '../base/clock.ts';
import { SightlineError } from '../base/errors.ts';
import type { PipelineName } from '../base/result.ts';
import { Priority } from '../base/sample.ts';
import type { LimiterVerdict } from '../flow/limiter.ts';
import { CROWDED, FrameLimiter } from '../flow/limiter.ts';
import { FRAME_HEADER_BYTES, decodeServerMessage, encodeFrame } from '../protocol/video-codec.ts';
import type {
  DropCause,
  DroppedMessage,
  ErrorMessage,
  GrantFields,
  MessageFormat,
  Pin,
  PinMessage,
  ReportMessage,
  ResultMessage,
  ServerMessage,
  WelcomeMessage,
} from '../protocol/video.ts';
import type { ClockEstimate } from './clock-sync.ts';
import type { Unsubscribe } from './emitter.ts';
import { Emitter } from './emitter.ts';
import { DurationHistogram } from './histogram.ts';
import type { Identity, LinkSettings, SessionState, StateChange } from './link.ts';
import { Link } from './link.ts';
import { LiveQueue } from './live-queue.ts';
import { sessionUrl } from './socket.ts';

/** The client's own limit of a message; the server's (2 MB unless set otherwise) is in the welcome. */
const CLIENT_MESSAGE_BYTES_MAX = 1_000_000;

const LANE_PATH = '/ws/video';
/** No event of a socket reports that its buffer has drained, so that a waiting caller has to poll. */
const BUFFER_POLL_MS = 20;
const BUFFERED_BYTES_MAX = 256 * 1024;
const RESULTS_QUEUE_MAX = 16;
/** Pictures differ in size: few of them should need larger memory than those before. */
const MEMORY_GROWTH = 1.25;

export interface ConnectVideoOptions<P extends PipelineName = 'objects'> extends LinkSettings {
  /** `ws:`, `wss:`, `http:` or `https:`; in a browser also relative to the page. Without a path: `/ws/video`. */
  readonly url: string;
  /** The pipelines for the frames; default `objects`; several give a result each, on one decoded picture. */
  readonly pipeline?: P | readonly P[];
  /** Id of a model that the server has; for the pipeline `objects` alone. */
  readonly model?: string;
  /** 0..1: detections below it are left out; for the pipeline `objects` alone. */
  readonly confidence?: number;
  /** Latency budget of this session, capture to result, ms; default: the server's setting. */
  readonly budgetMs?: number;
  /** Class of the session's frames that name none, and of the session until its first frame; default normal. */
  readonly priority?: Priority;
  /** How the server writes its messages; default `json`. */
  readonly format?: MessageFormat;
  /** While the socket holds more unsent bytes than this, no frame goes; default 256 KiB. */
  readonly bufferedBytesMax?: number;
}

/** A picture to send. The bytes are copied before `send` returns. */
export interface FrameToSend {
  readonly jpeg: Uint8Array | ArrayBuffer;
  /** On the client's clock, Unix ms; default: now. */
  readonly captureTimeMs?: number;
  readonly priority?: Priority;
}

/** Why a frame got no result: the server's cause, or `lost` with its connection. */
export type LossCause = DropCause | 'lost';

/** Why a frame was not sent. `buffer`: the socket has not sent earlier ones yet. */
export type SkipCause = Exclude<LimiterVerdict, 'go'> | 'buffer' | 'not_open';

/** A result, and the times that only the client knows; all on the client's clock, Unix ms. */
export interface VideoResult<P extends PipelineName = 'objects'> {
  readonly result: ResultMessage<P>;
  readonly captureTimeMs: number;
  readonly sentTimeMs: number;
  readonly receivedTimeMs: number;
  /** Uncertainty of the server's clock; Infinity: not known yet. */
  readonly clockUncertaintyMs: number;
}

export interface VideoEvents<P extends PipelineName = 'objects'> {
  result: VideoResult<P>;
  /** With `pipeline`: its answers alone, in a session of several; else all outstanding ones. */
  dropped: { readonly seqs: readonly number[]; readonly cause: LossCause; readonly pipeline?: P };
  /** With `seq`: that frame got this error instead of a result; `pipeline` as in `dropped`. */
  error: { readonly error: SightlineError; readonly seq?: number; readonly pipeline?: P };
  /** Every answer to these frames has come or will not come. Emitted after the last one. */
  answered: { readonly seqs: readonly number[] };
  grant: GrantFields;
  state: StateChange;
}

/** Counts of the answers to a session's frames. */
export interface AnswerCounts {
  readonly results: number;
  readonly dropped: Readonly<Record<LossCause, number>>;
  /** Errors for an answer. */
  readonly frameErrors: number;
  readonly unanswered: number;
}

/**
 * The accounts of a session since it began, at every moment, for each of its pipelines:
 * `sent = results + Σ dropped + frameErrors + unanswered` (`dropped` includes `lost`). Beside `pipelines` stand the sums over all of
 * them.
 */
export interface VideoMetrics extends AnswerCounts {
  /** Frames. */
  readonly sent: number;
  /** By name. */
  readonly pipelines: Readonly<Record<string, AnswerCounts>>;
  /** Error messages in all. */
  readonly errors: number;
  /** Frames that were offered to `send` and not sent. */
  readonly skipped: Readonly<Record<SkipCause, number>>;
  /** Answers to no outstanding frame. */
  readonly late: number;
  /** Results that the reader of `results()` was too slow for. */
  readonly unread: number;
  readonly reconnects: number;
  readonly bytesSent: number;
  /** Sent to result received. */
  readonly roundTripMs: { readonly p50: number; readonly p95: number; readonly p99: number; readonly count: number };
  readonly clock: ClockEstimate;
}

/** Times of the link's own clock. */
interface UnansweredFrame {
  readonly captureTimeMs: number;
  readonly sentTimeMs: number;
  /** Pipelines whose answers are outstanding. */
  readonly owed: Set<string>;
}

interface Answers {
  results: number;
  readonly dropped: Record<LossCause, number>;
  frameErrors: number;
}

/** A session from its first `welcome` on. Rejects with SightlineError: the server's code, or CONNECTION_FAILED. */
export function connectVideo<P extends PipelineName = 'objects'>(
  options: ConnectVideoOptions<P>,
): Promise<VideoSession<P>> {
  return VideoSession.connect(options);
}

/** One video session, across as many connections as it takes. Made by `connectVideo`; its caller closes it. */
export class VideoSession<P extends PipelineName = 'objects'> {
  readonly #link: Link<WelcomeMessage, ServerMessage<P>>;
  readonly #bufferedBytesMax: number;
  readonly #priority: Priority;
  readonly #emitter = new Emitter<VideoEvents<P>>();
  readonly #queues = new Set<LiveQueue<VideoResult<P>>>();
  readonly #waiters = new Set<() => void>();
  readonly #roundTrips = new DurationHistogram();
  /** The session's data of the frames in `#limiter`; the window bounds both. */
  readonly #unanswered = new Map<number, UnansweredFrame>();
  /** By pipeline. */
  readonly #answers: ReadonlyMap<string, Answers>;
  readonly #skipped: Record<SkipCause, number> = { rate: 0, window: 0, buffer: 0, not_open: 0 };
  #counts = { sent: 0, errors: 0, late: 0, unread: 0, bytesSent: 0 };

  /** The platform's own WebSockets have copied a message when `send` returns; nothing is known of others. */
  readonly #socketCopies: boolean;
  /** Messages are written into it, one after the other: to make and clear new memory costs more than all the rest of sending. */
  #memory = new Uint8Array(0);

  /** Until the welcome names it. */
  readonly #justAnswered: number[] = [];

  #limiter = new FrameLimiter({ rateFps: 0, window: 0 }, 0);
  /** Undefined only until the first welcome, before anybody gets hold of the session. */
  #grant: GrantFields | undefined;
  #lastSeq = 0;
  #pin: Pin | undefined;

  private constructor(options: ConnectVideoOptions<P>) {
    this.#answers = new Map(
      pipelinesOf(options).map((name) => [name, { results: 0, dropped: noLosses(), frameErrors: 0 }]),
    );
    this.#priority = options.priority ?? Priority.normal;
    this.#bufferedBytesMax = options.bufferedBytesMax ?? BUFFERED_BYTES_MAX;
    this.#socketCopies = options.WebSocket === undefined;
    this.#link = new Link<WelcomeMessage, ServerMessage<P>>(
      {
        settings: options,
        lane: LANE_PATH,
        address: (identity) => addressOf(options, identity),
        decode: decodeServerMessage<P>,
        encodeClock: (request) => JSON.stringify(request),
      },
      {
        onOpen: (welcome) => this.#onOpen(welcome),
        onMessage: (message) => this.#onMessage(message),
        onLost: () => this.#giveUpUnanswered(),
        onState: (change) => this.#onState(change),
        onFault: (error) => this.#emitter.emit('error', { error }),
      },
    );
  }

  /** @internal Use `connectVideo`. */
  static async connect<P extends PipelineName>(options: ConnectVideoOptions<P>): Promise<VideoSession<P>> {
    const session = new VideoSession<P>(options);
    await session.#link.open();
    return session;
  }

  /** Welcome of the present connection, or of the last one. */
  get welcome(): WelcomeMessage {
    return this.#link.welcome as WelcomeMessage;
  }

  /** The current grant. */
  get grant(): GrantFields {
    return this.#grant as GrantFields;
  }

  get state(): SessionState {
    return this.#link.state;
  }

  /** The newest `seq` that was sent; 0 before the first. */
  get lastSeq(): number {
    return this.#lastSeq;
  }

  /**
   * Sends a frame, if the grant allows it at this moment, and returns its `seq`; `undefined` when it does not: the frame is
   * counted under `metrics().skipped` and forgotten, so that the next one offered is the newest. Throws FRAME_EMPTY,
   * FRAME_NOT_JPEG or MESSAGE_TOO_LARGE for a picture that no server would take.
   */
  send(frame: FrameToSend): number | undefined {
    const jpeg = frame.jpeg instanceof Uint8Array ? frame.jpeg : new Uint8Array(frame.jpeg);
    this.#refuseBadPicture(jpeg);
    const nowMs = this.#link.clock.now();
    const verdict = this.#verdict(nowMs);
    if (verdict !== 'go') {
      this.#skipped[verdict]++;
      return undefined;
    }
    const seq = ++this.#lastSeq;
    const captureTimeMs = frame.captureTimeMs === undefined ? nowMs : this.#link.toOwnMs(frame.captureTimeMs);
    const fields = {
      seq,
      captureTimeMs: captureTimeMs + this.#link.offsetMs(nowMs),
      sentAfterMs: nowMs - captureTimeMs,
      priority: frame.priority ?? this.#priority,
      jpeg,
    };
    const message = encodeFrame(fields, this.#memoryFor(FRAME_HEADER_BYTES + jpeg.length));
    this.#link.send(message);
    this.#limiter.sent(seq, nowMs);
    this.#unanswered.set(seq, { captureTimeMs, sentTimeMs: nowMs, owed: new Set(this.#answers.keys()) });
    this.#counts.sent++;
    this.#counts.bytesSent += message.length;
    return seq;
  }

  /** Would `send` send now? Asking costs and counts nothing. */
  canSend(): boolean {
    return this.#verdict(this.#link.clock.now()) === 'go';
  }

  /**
   * Milliseconds until a frame may go: 0 for now, `Infinity` when that depends on an answer, a grant or a connection. While
   * the socket's buffer is the obstacle it is the time after which it pays to ask again.
   */
  nextSendInMs(): number {
    const nowMs = this.#link.clock.now();
    const verdict = this.#verdict(nowMs);
    if (verdict === 'go') return 0;
    if (verdict === 'not_open') return Infinity;
    return verdict === 'buffer' ? BUFFER_POLL_MS : this.#limiter.nextInMs(nowMs);
  }

  /** Waits until a frame may go: `true`; `false` once the session is closed. */
  async ready(): Promise<boolean> {
    while (this.state !== 'closed') {
      const waitMs = this.nextSendInMs();
      if (waitMs === 0) return true;
      await this.#change(waitMs);
    }
    return false;
  }

  /**
   * The results as they come, from now on: `for await (const { result } of session.results())`. A reader that falls more
   * than `queueMax` behind loses the oldest (`metrics().unread`). Ends with the session; throws the error that ended it.
   */
  results({ queueMax = RESULTS_QUEUE_MAX }: { queueMax?: number } = {}): AsyncIterableIterator<VideoResult<P>> {
    const queue = new LiveQueue<VideoResult<P>>(queueMax, () => {
      this.#queues.delete(queue);
      this.#counts.unread += queue.dropped;
    });
    if (this.state === 'closed') queue.end();
    else this.#queues.add(queue);
    return queue;
  }

  on<Name extends keyof VideoEvents>(event: Name, listener: (value: VideoEvents<P>[Name]) => void): Unsubscribe {
    return this.#emitter.on(event, listener);
  }

  /** Fixes the quality of this session, or removes the pin (`{}`). The server answers with a `grant`; so does a new one. */
  pin(pin: Pin): void {
    this.#pin = pin;
    this.#sendPin(pin);
  }

  /** Reports how long this client takes to show a result, ms: a server that adapts asks a client that falls behind for less. */
  reportLag(lagMs: number): void {
    this.#link.send(JSON.stringify({ type: 'report', lag_ms: Math.max(0, lagMs) } satisfies ReportMessage));
  }

  /** The server's time for a moment on the client's clock, both Unix ms; good to ± `metrics().clock.uncertaintyMs`. */
  toServerTimeMs(clientTimeMs: number): number {
    return this.#link.toServerMs(clientTimeMs);
  }

  metrics(): VideoMetrics {
    const { unread, ...counts } = this.#counts;
    const pipelines = Object.fromEntries(
      Array.from(this.#answers, ([name, { dropped, ...answers }]): [string, AnswerCounts] => [
        name,
        { ...answers, dropped: { ...dropped }, unanswered: this.#owedTo(name) },
      ]),
    );
    return {
      ...counts,
      ...Object.values(pipelines).reduce(sumOf),
      pipelines,
      skipped: { ...this.#skipped },
      unread: [...this.#queues].reduce((sum, queue) => sum + queue.dropped, unread),
      roundTripMs: {
        p50: this.#roundTrips.percentileMs(0.5),
        p95: this.#roundTrips.percentileMs(0.95),
        p99: this.#roundTrips.percentileMs(0.99),
        count: this.#roundTrips.count,
      },
      reconnects: this.#link.reconnects,
      clock: this.#link.clockEstimate(),
    };
  }

  /** Ends the session for good; may be called again. Resolves when the socket is closed, after a second at the latest. */
  close(): Promise<void> {
    return this.#link.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  // ── Connections ────────────────────────────────────────────────────────────────────────────────────────────────────

  #onOpen(welcome: WelcomeMessage): void {
    // The session may have been used under this name before: a seq must rise.
    this.#lastSeq = Math.max(this.#lastSeq, welcome.last_seq);
    this.#applyGrant(welcome.grant);
    if (this.#pin) this.#sendPin(this.#pin);
  }

  #onState(change: StateChange): void {
    if (change.state === 'closed') for (const queue of this.#queues) queue.end(change.error);
    this.#emitter.emit('state', change);
    if (change.state !== 'closed') return;
    this.#emitter.clear();
    this.#wake();
  }

  // ── Messages ───────────────────────────────────────────────────────────────────────────────────────────────────────

  #onMessage(message: ServerMessage<P>): void {
    switch (message.type) {
      case 'result':
        return this.#onResult(message);
      case 'dropped':
        return this.#onDropped(message);
      case 'error':
        return this.#onError(message);
      case 'grant':
        return this.#applyGrant(message);
      default:
      // From a newer server: ignored.
    }
  }

  #onResult(result: ResultMessage<P>): void {
    const frame = this.#unanswered.get(result.seq);
    if (this.#answered(result.seq, result.pipeline).length === 0) return;
    const receivedTimeMs = this.#link.clock.now();
    this.#answers.get(result.pipeline)!.results++;
    this.#roundTrips.record(receivedTimeMs - frame!.sentTimeMs);
    const aheadMs = wallAheadMs(this.#link.clock);
    const received: VideoResult<P> = {
      result,
      captureTimeMs: frame!.captureTimeMs + aheadMs,
      sentTimeMs: frame!.sentTimeMs + aheadMs,
      receivedTimeMs: receivedTimeMs + aheadMs,
      clockUncertaintyMs: this.#link.uncertaintyMs(receivedTimeMs),
    };
    for (const queue of this.#queues) queue.push(received);
    this.#emitter.emit('result', received);
    this.#tellAnswered();
  }

  #onDropped({ seqs, cause, pipeline }: DroppedMessage): void {
    const ours = seqs.filter((seq) => this.#lost(this.#answered(seq, pipeline), cause));
    if (ours.length === 0) return;
    if (CROWDED.has(cause)) this.#limiter.putOff(this.#link.random(), this.#link.clock.now());
    this.#emitter.emit('dropped', { seqs: ours, cause, ...(pipeline && { pipeline: pipeline as P }) });
    this.#tellAnswered();
  }

  /** Counts answers that will not come; false where there are none. */
  #lost(pipelines: readonly string[], cause: LossCause): boolean {
    for (const name of pipelines) {
      const { dropped } = this.#answers.get(name)!;
      // From a newer server: an unknown cause.
      dropped[cause] = (dropped[cause] ?? 0) + 1;
    }
    return pipelines.length > 0;
  }

  #onError({ code, message, seq, pipeline }: ErrorMessage): void {
    this.#counts.errors++;
    const error = new SightlineError(code, message);
    if (seq !== undefined) for (const name of this.#answered(seq, pipeline)) this.#answers.get(name)!.frameErrors++;
    this.#emitter.emit('error', {
      error,
      ...(seq !== undefined && { seq }),
      ...(pipeline && { pipeline: pipeline as P }),
    });
    this.#tellAnswered();
  }

  /**
   * The pipelines whose answers to a frame have come with a message: the one that it names, or all outstanding ones where it names
   * none. None, and counted, when the frame is not outstanding. The frame is answered with the last of them.
   */
  #answered(seq: number, pipeline: string | undefined): readonly string[] {
    const owed = this.#unanswered.get(seq)?.owed;
    const come = pipeline === undefined ? [...(owed ?? [])] : [pipeline].filter((name) => owed?.has(name));
    if (!owed || come.length === 0) {
      this.#counts.late++;
      return [];
    }
    for (const name of come) owed.delete(name);
    if (owed.size === 0) {
      this.#unanswered.delete(seq);
      this.#limiter.answered(seq);
      this.#justAnswered.push(seq);
    }
    return come;
  }

  #tellAnswered(): void {
    const seqs = this.#justAnswered.splice(0);
    if (seqs.length > 0) this.#emitter.emit('answered', { seqs });
    this.#wake();
  }

  /** Frames with an outstanding answer of a pipeline. */
  #owedTo(pipeline: string): number {
    let count = 0;
    for (const { owed } of this.#unanswered.values()) if (owed.has(pipeline)) count++;
    return count;
  }

  /** The connection is gone, and with it every outstanding answer. */
  #giveUpUnanswered(): void {
    const seqs = this.#limiter.abandon();
    if (seqs.length === 0) return;
    for (const { owed } of this.#unanswered.values()) this.#lost([...owed], 'lost');
    this.#unanswered.clear();
    this.#emitter.emit('dropped', { seqs, cause: 'lost' });
    this.#emitter.emit('answered', { seqs });
  }

  #applyGrant(grant: GrantFields): void {
    const { rate_fps: rateFps, window, width, height, quality, pinned, level, reason } = grant;
    this.#grant = { rate_fps: rateFps, window, width, height, quality, pinned, level, reason };
    this.#limiter.setGrant({ rateFps, window }, this.#link.clock.now(), this.#link.random());
    this.#emitter.emit('grant', this.#grant);
    this.#wake();
  }

  // ── Sending ────────────────────────────────────────────────────────────────────────────────────────────────────────

  #verdict(nowMs: number): LimiterVerdict | SkipCause {
    if (this.state !== 'open') return 'not_open';
    if (this.#link.bufferedBytes > this.#bufferedBytesMax) return 'buffer';
    return this.#limiter.check(nowMs);
  }

  #refuseBadPicture(jpeg: Uint8Array): void {
    if (jpeg.length === 0) throw new SightlineError('FRAME_EMPTY', 'the picture has no bytes');
    if (jpeg[0] !== 0xff || jpeg[1] !== 0xd8) {
      throw new SightlineError('FRAME_NOT_JPEG', 'the picture is not a JPEG: it does not begin with FF D8');
    }
    const bytes = jpeg.length + FRAME_HEADER_BYTES;
    const bytesMax = Math.min(CLIENT_MESSAGE_BYTES_MAX, this.welcome.limits.message_bytes_max);
    if (bytes <= bytesMax) return;
    throw new SightlineError(
      'MESSAGE_TOO_LARGE',
      `a picture of ${jpeg.length} bytes makes a message over ${bytesMax} bytes`,
    );
  }

  /** Where a message may be written; undefined: into memory of its own. */
  #memoryFor(bytes: number): Uint8Array<ArrayBuffer> | undefined {
    // A socket that compresses reads what it has not sent yet once more.
    if (!this.#socketCopies || this.#link.bufferedBytes > 0) return undefined;
    if (this.#memory.length < bytes) this.#memory = new Uint8Array(Math.ceil(bytes * MEMORY_GROWTH));
    return this.#memory.subarray(0, bytes);
  }

  #sendPin(pin: Pin): void {
    this.#link.send(JSON.stringify({ type: 'pin', ...pin } satisfies PinMessage));
  }

  /** Resolves when something has changed that `ready` depends on, after `timeoutMs` at the latest. */
  #change(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#waiters.delete(done);
        resolve();
      };
      const timer = timeoutMs === Infinity ? undefined : setTimeout(done, timeoutMs);
      this.#waiters.add(done);
    });
  }

  #wake(): void {
    for (const done of this.#waiters) done();
  }
}

const PRIORITY_NAMES = Object.keys(Priority) as (keyof typeof Priority)[];

function pipelinesOf({ pipeline = [] }: ConnectVideoOptions<PipelineName>): readonly string[] {
  const names = typeof pipeline === 'string' ? [pipeline] : pipeline;
  return names.length === 0 ? ['objects'] : names;
}

function noLosses(): Record<LossCause, number> {
  return { queue_full: 0, expired: 0, superseded: 0, stale: 0, slow_reader: 0, disconnected: 0, lost: 0 };
}

function sumOf(one: AnswerCounts, other: AnswerCounts): AnswerCounts {
  const causes = Object.keys({ ...one.dropped, ...other.dropped }) as LossCause[];
  const dropped = causes.map((cause) => [cause, (one.dropped[cause] ?? 0) + (other.dropped[cause] ?? 0)]);
  return {
    results: one.results + other.results,
    dropped: Object.fromEntries(dropped) as Record<LossCause, number>,
    frameErrors: one.frameErrors + other.frameErrors,
    unanswered: one.unanswered + other.unanswered,
  };
}

function addressOf(options: ConnectVideoOptions<PipelineName>, identity: Identity): string {
  const { url, model, confidence, format, budgetMs: budget_ms } = options;
  const priority = PRIORITY_NAMES.find((name) => Priority[name] === options.priority);
  const pipeline = options.pipeline === undefined ? undefined : pipelinesOf(options).join(',');
  return sessionUrl(url, LANE_PATH, { pipeline, model, confidence, format, budget_ms, priority, ...identity });
}
