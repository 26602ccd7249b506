import { once } from 'node:events';
import { WebSocket } from 'ws';
import { sessionUrl } from '../../src/client/socket.ts';
import { connectVideo, type VideoSession } from '../../src/client/video.ts';
import { FrameLimiter } from '../../src/flow/limiter.ts';
import { decodeServerMessage, encodeFrame, FRAME_HEADER_BYTES } from '../../src/protocol/video-codec.ts';
import type { GrantFields } from '../../src/protocol/video.ts';
import { DropOldest, FixedQuality, Threshold } from '../../test/sim/controllers.ts';
import type { Ask, Controller } from '../../test/sim/link-session.ts';
import type { SharedClock } from '../support/shared-clock.ts';
import type { FilmedFrame, FilmJob, Told } from './film.ts';
import type { Strip } from './strip.ts';

/** Who decides what a camera sends: Sightline through its SDK, or one of the ways in which it is done without. */

/** `fixed`: one quality, every frame; `threshold`: levels by the mean latency; `fifo`: one quality, the oldest dropped. */
export const SENDER_KINDS = ['sightline', 'fixed', 'threshold', 'fifo'] as const;
export type SenderKind = (typeof SENDER_KINDS)[number];
export const BASELINES = SENDER_KINDS.slice(1);

/** Place of the level `high` on the ladder: what the others begin with. */
const LEVEL = 3;
const RESULT = 'result';
const UNANSWERED = 'unanswered';

export interface Tools {
  readonly clock: SharedClock;
  readonly strip: Strip;
  /** Ms since the start of the run. */
  readonly now: () => number;
}

export interface CameraSender {
  readonly frames: readonly FilmedFrame[];
  readonly told: readonly Told[];
  readonly held: number;
  readonly isOpen: boolean;
  /** The camera shows its next picture. */
  show(capturedMs: number): void;
  close(): void;
}

export function openSender(job: FilmJob, tools: Tools): Promise<CameraSender> {
  if (job.kind === 'sightline') return SightlineSender.open(job, tools);
  return PlainSender.open(job, controllerOf(job.kind, job.targetMs), tools);
}

function controllerOf(kind: Exclude<SenderKind, 'sightline'>, targetMs: number): Controller {
  if (kind === 'fixed') return new FixedQuality(LEVEL);
  return kind === 'fifo' ? new DropOldest(LEVEL) : new Threshold(LEVEL, targetMs);
}

export function isResult({ fate }: FilmedFrame): boolean {
  return fate === RESULT;
}

/** The frames of a session by their numbers. */
class Frames {
  readonly all: FilmedFrame[] = [];
  readonly #waiting = new Map<number, FilmedFrame>();

  /** Without an answer yet. */
  get waiting(): number {
    return this.#waiting.size;
  }

  sent(seq: number, frame: Omit<FilmedFrame, 'fate' | 'answeredMs'>): void {
    const kept = { ...frame, fate: UNANSWERED, answeredMs: Infinity };
    this.all.push(kept);
    this.#waiting.set(seq, kept);
  }

  answered(seq: number, fate: string, answeredMs: number): FilmedFrame | undefined {
    const frame = this.#waiting.get(seq);
    if (!frame) return undefined;
    this.#waiting.delete(seq);
    frame.fate = fate;
    frame.answeredMs = answeredMs;
    return frame;
  }
}

// ── Sightline ────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** The SDK, as users have it: a picture that may not go is forgotten, others are encoded as the grant says. */
class SightlineSender implements CameraSender {
  readonly told: Told[] = [];
  held = 0;
  readonly #frames = new Frames();
  readonly #session: VideoSession;
  readonly #job: FilmJob;
  readonly #tools: Tools;

  private constructor(session: VideoSession, job: FilmJob, tools: Tools) {
    this.#session = session;
    this.#job = job;
    this.#tools = tools;
    const { now } = tools;
    session.on('grant', (grant) => this.told.push(toldBy(grant, now())));
    session.on('result', ({ result }) => this.#frames.answered(result.seq, RESULT, now()));
    session.on('dropped', ({ seqs, cause }) => {
      for (const seq of seqs) this.#frames.answered(seq, cause, now());
    });
    session.on('error', ({ error, seq }) => {
      if (seq !== undefined) this.#frames.answered(seq, error.code, now());
    });
    this.told.push(toldBy(session.grant, now()));
  }

  static async open(job: FilmJob, tools: Tools): Promise<SightlineSender> {
    const session = await connectVideo({
      url: job.url,
      reconnect: false,
      clock: tools.clock,
    });
    return new SightlineSender(session, job, tools);
  }

  get frames(): readonly FilmedFrame[] {
    return this.#frames.all;
  }

  get isOpen(): boolean {
    return this.#session.state === 'open';
  }

  show(capturedMs: number): void {
    if (!this.#session.canSend()) {
      this.held += 1;
      return;
    }
    const { width, height, quality } = this.#session.grant;
    const picture = this.#tools.strip.picture(capturedMs, { width, height }, quality);
    const sentMs = this.#tools.now();
    const seq = this.#session.send({ jpeg: picture.jpeg, captureTimeMs: this.#job.startTimeMs + capturedMs });
    if (seq === undefined) {
      this.held += 1;
      return;
    }
    const bytes = FRAME_HEADER_BYTES + picture.jpeg.length;
    this.#frames.sent(seq, { capturedMs, sentMs, bytes, width: picture.width, quality });
  }

  close(): void {
    void this.#session.close();
  }
}

function toldBy({ rate_fps: fps, width, quality, window, reason }: GrantFields, ms: number): Told {
  return { ms, fps, width, quality, window, reason };
}

// ── Without it ───────────────────────────────────────────────────────────────────────────────────────────────────────────

interface Queued {
  readonly capturedMs: number;
  readonly jpeg: Uint8Array;
  readonly width: number;
  readonly quality: number;
}

/**
 * A socket, the frame header of `docs/protocol.md` and a controller of the client's own: what the server grants is not looked at, and
 * what the socket holds neither. The end of the run bounds what gathers there.
 */
class PlainSender implements CameraSender {
  readonly told: Told[] = [];
  held = 0;
  readonly #frames = new Frames();
  readonly #socket: WebSocket;
  readonly #job: FilmJob;
  readonly #controller: Controller;
  readonly #tools: Tools;
  readonly #queue: Queued[] = [];
  /** Of pictures alone: the window is that of the frames. */
  readonly #pace: FrameLimiter;
  #ask: Ask;
  #pictures = 0;
  #lastSeq = 0;

  private constructor(socket: WebSocket, job: FilmJob, controller: Controller, tools: Tools) {
    this.#socket = socket;
    this.#job = job;
    this.#controller = controller;
    this.#tools = tools;
    const ask = controller.first(0);
    this.#ask = ask;
    this.#pace = new FrameLimiter({ rateFps: ask.fps, window: Infinity }, tools.now());
    this.told.push(toldByItself(ask, tools.now()));
    // A lost connection shows in `isOpen`.
    socket.on('error', () => undefined);
    socket.on('message', (data: Buffer) => this.#onMessage(data));
  }

  static async open(job: FilmJob, controller: Controller, tools: Tools): Promise<PlainSender> {
    const socket = new WebSocket(sessionUrl(job.url, '/ws/video', {}), { perMessageDeflate: false });
    const [data] = (await once(socket, 'message')) as [Buffer];
    const { type } = decodeServerMessage(data.toString());
    if (type !== 'welcome') throw new Error(`no welcome but ${data.toString()}`);
    return new PlainSender(socket, job, controller, tools);
  }

  get frames(): readonly FilmedFrame[] {
    return this.#frames.all;
  }

  get isOpen(): boolean {
    return this.#socket.readyState === WebSocket.OPEN;
  }

  show(capturedMs: number): void {
    if (this.#pace.check(capturedMs) === 'go') this.#take(capturedMs);
    else this.held += 1;
    this.#follow();
  }

  close(): void {
    this.#socket.terminate();
  }

  /** A picture that its own pace lets through: sent, or kept until there is room in the window. */
  #take(capturedMs: number): void {
    this.#pictures += 1;
    this.#pace.sent(this.#pictures, capturedMs);
    this.#pace.answered(this.#pictures);
    const { quality } = this.#ask;
    const { jpeg, width } = this.#tools.strip.picture(capturedMs, this.#ask, quality);
    this.#queue.push({ capturedMs, jpeg: Uint8Array.from(jpeg), width, quality });
    this.#sendQueued();
    if (this.#queue.length > this.#controller.clientQueue) {
      this.#queue.shift();
      this.held += 1;
    }
  }

  #sendQueued(): void {
    while (this.#queue.length > 0 && this.#frames.waiting < this.#ask.window) this.#send(this.#queue.shift()!);
  }

  #send({ capturedMs, jpeg, width, quality }: Queued): void {
    if (!this.isOpen) return;
    const seq = (this.#lastSeq += 1);
    const sentMs = this.#tools.now();
    const captureTimeMs = this.#job.startTimeMs + capturedMs;
    const message = encodeFrame({ seq, captureTimeMs, sentAfterMs: sentMs - capturedMs, jpeg });
    this.#socket.send(message);
    this.#frames.sent(seq, { capturedMs, sentMs, bytes: message.length, width, quality });
  }

  #onMessage(data: Buffer): void {
    const message = decodeServerMessage(data.toString());
    if (message.type === 'result') this.#answered(message.seq, RESULT);
    else if (message.type === 'dropped') for (const seq of message.seqs) this.#answered(seq, message.cause);
    else if (message.type === 'error' && message.seq !== undefined) this.#answered(message.seq, message.code);
  }

  #answered(seq: number, fate: string): void {
    const nowMs = this.#tools.now();
    const frame = this.#frames.answered(seq, fate, nowMs);
    if (frame && isResult(frame)) this.#controller.answered(nowMs, nowMs - frame.capturedMs);
    this.#sendQueued();
    this.#follow();
  }

  /** What the controller asks for now, if it is something else. */
  #follow(): void {
    const nowMs = this.#tools.now();
    const ask = this.#controller.news(nowMs);
    if (!ask) return;
    this.#ask = ask;
    this.#pace.setGrant({ rateFps: ask.fps, window: Infinity }, nowMs);
    this.told.push(toldByItself(ask, nowMs));
  }
}

function toldByItself({ fps, width, quality, window }: Ask, ms: number): Told {
  return { ms, fps, width, quality, window, reason: 'own' };
}
