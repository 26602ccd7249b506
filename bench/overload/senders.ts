import { once } from 'node:events';
import { WebSocket } from 'ws';
import { systemClock } from '../../src/base/clock.ts';
import type { PipelineName } from '../../src/base/result.ts';
import type { Priority } from '../../src/base/sample.ts';
import { sessionUrl } from '../../src/client/socket.ts';
import { connectVideo, type SkipCause, type VideoSession } from '../../src/client/video.ts';
import { decodeServerMessage, encodeFrame } from '../../src/protocol/video-codec.ts';
import type { ResultMessage } from '../../src/protocol/video.ts';
import { RESULT } from './frames.ts';

/** The two kinds of clients that a server meets: those that keep to what it grants, and those that do not. */

export type SenderKind = 'honouring' | 'ignoring';

/** What is asked for when a session is opened. Who ignores grants tells its class with each frame alone. */
export interface SessionWish {
  readonly pipeline: PipelineName;
  readonly priority: Priority;
  /** Capture to result; absent: the server's setting. */
  readonly budgetMs?: number;
}

export interface FrameToSend {
  readonly jpeg: Uint8Array;
  /** On the system clock, Unix ms. */
  readonly captureTimeMs: number;
  readonly priority: Priority;
}

/** What a result tells. */
export interface Done {
  /** What a worker spent on the frame. */
  readonly workMs: number;
  /** Things, or hands, that were found in it. */
  readonly found: number;
}

/** Told once for each frame that was sent, in whatever way it is answered; `done` with a result. */
export type OnAnswer = (seq: number, fate: string, done?: Done) => void;

/** One session of the load generator. */
export interface Sender {
  onAnswer: OnAnswer | undefined;
  readonly isOpen: boolean;
  /** The frame's `seq`; undefined when it was not sent: the grant, the window or the socket's buffer did not allow it. */
  send(frame: FrameToSend): number | undefined;
  /** Why frames were not sent, since the session was opened. */
  held(): Readonly<Record<SkipCause, number>>;
  close(): Promise<void>;
}

/** Answers of the fate `result` are results; every other one is an error's code or the cause of a loss. */
export function openSender(kind: SenderKind, url: string, wish: SessionWish): Promise<Sender> {
  return kind === 'honouring' ? HonouringSender.open(url, wish) : IgnoringSender.open(url, wish);
}

/** The SDK, as users have it. */
class HonouringSender implements Sender {
  onAnswer: OnAnswer | undefined;
  readonly #session: VideoSession<PipelineName>;

  private constructor(session: VideoSession<PipelineName>) {
    this.#session = session;
    session.on('result', ({ result }) => this.onAnswer?.(result.seq, RESULT, doneOf(result)));
    session.on('dropped', ({ seqs, cause }) => {
      for (const seq of seqs) this.onAnswer?.(seq, cause);
    });
    session.on('error', ({ error, seq }) => {
      if (seq !== undefined) this.onAnswer?.(seq, error.code);
    });
  }

  static async open(url: string, { pipeline, priority, budgetMs }: SessionWish): Promise<Sender> {
    const options = {
      url,
      pipeline,
      priority,
      ...(budgetMs !== undefined && { budgetMs }),
      reconnect: false as const,
    };
    return new HonouringSender(await connectVideo(options));
  }

  get isOpen(): boolean {
    return this.#session.state === 'open';
  }

  send(frame: FrameToSend): number | undefined {
    return this.#session.send(frame);
  }

  held(): Readonly<Record<SkipCause, number>> {
    return this.#session.metrics().skipped;
  }

  close(): Promise<void> {
    return this.#session.close();
  }
}

/** As the SDK: more is not kept for a server that does not read. */
const BUFFERED_BYTES_MAX = 256 * 1024;
/** Processes of one machine have one clock; more than the way of the welcome between them means that it was set meanwhile. */
const CLOCKS_APART_MS_MAX = 500;

/** A socket and the frame header of `docs/protocol.md`, nothing else: grants are read and not followed. */
class IgnoringSender implements Sender {
  onAnswer: OnAnswer | undefined;
  readonly #socket: WebSocket;
  readonly #held: Record<SkipCause, number> = { rate: 0, window: 0, buffer: 0, not_open: 0 };
  #lastSeq = 0;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    // A lost connection shows in frames without an answer.
    socket.on('error', () => undefined);
    socket.on('message', (data: Buffer) => this.#onMessage(data));
  }

  static async open(url: string, { pipeline, budgetMs }: SessionWish): Promise<Sender> {
    const address = sessionUrl(url, '/ws/video', { pipeline, budget_ms: budgetMs });
    const socket = new WebSocket(address, { perMessageDeflate: false });
    const [data] = (await once(socket, 'message')) as [Buffer];
    const welcome = decodeServerMessage(data.toString());
    if (welcome.type !== 'welcome') throw new Error(`no welcome but ${data.toString()}`);
    const apartMs = Math.abs(welcome.server_time - systemClock.now());
    if (apartMs > CLOCKS_APART_MS_MAX) throw new Error(`the clocks of two processes are ${apartMs} ms apart`);
    return new IgnoringSender(socket);
  }

  get isOpen(): boolean {
    return this.#socket.readyState === WebSocket.OPEN;
  }

  send(frame: FrameToSend): number | undefined {
    const cause = this.isOpen ? 'buffer' : 'not_open';
    if (cause === 'not_open' || this.#socket.bufferedAmount > BUFFERED_BYTES_MAX) {
      this.#held[cause] += 1;
      return undefined;
    }
    this.#lastSeq += 1;
    this.#socket.send(encodeFrame({ seq: this.#lastSeq, ...frame }));
    return this.#lastSeq;
  }

  held(): Readonly<Record<SkipCause, number>> {
    return { ...this.#held };
  }

  async close(): Promise<void> {
    if (this.#socket.readyState === WebSocket.CLOSED) return;
    const closed = once(this.#socket, 'close');
    this.#socket.close();
    await closed;
  }

  #onMessage(data: Buffer): void {
    const message = decodeServerMessage<PipelineName>(data.toString());
    if (message.type === 'result') this.onAnswer?.(message.seq, RESULT, doneOf(message));
    else if (message.type === 'dropped') for (const seq of message.seqs) this.onAnswer?.(seq, message.cause);
    else if (message.type === 'error' && message.seq !== undefined) this.onAnswer?.(message.seq, message.code);
  }
}

function doneOf(result: ResultMessage<PipelineName>): Done {
  const { decode, preprocess, inference, postprocess } = result.stages_ms;
  const found = result.pipeline === 'objects' ? result.detections : result.hands;
  return { workMs: decode + preprocess + inference + postprocess, found: found.length };
}
