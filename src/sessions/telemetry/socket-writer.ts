import type { Socket } from 'node:net';
import type { WebSocket } from 'ws';
import type { Clock } from '../../base/clock.ts';
import { SightlineError } from '../../base/errors.ts';
import type { BatchSchema } from '../../protocol/schema-book.ts';
import type { TelemetryServerMessage, TelemetrySubprotocol } from '../../protocol/telemetry.ts';
import type { EncodedRange } from './encoder.ts';
import { PauseReason, SocketReading } from '../socket-reading.ts';
import { controlFrame } from './frames.ts';

const NOTHING = Buffer.alloc(0);

export interface SocketWriterHost {
  readonly clock: Clock;
  readonly settings: {
    /** Unsent bytes from which the socket is given no more data. */
    readonly socketBytesMax: number;
    /** A client that takes nothing for so long is given up. */
    readonly slowConsumerMs: number;
  };
}

export interface SocketWriterParts {
  readonly host: SocketWriterHost;
  readonly socket: WebSocket;
  readonly protocol: TelemetrySubprotocol;
  readonly owner: WriterOwner;
}

export interface WriterOwner {
  /** The socket has passed everything on. */
  onEmptied(): void;
}

/** Writes frames to one socket, watches how it takes them, and decides whether the socket is read. */
export class SocketWriter {
  readonly #host: SocketWriterHost;
  readonly #owner: WriterOwner;
  readonly #protocol: TelemetrySubprotocol;
  readonly #socket: WebSocket;
  readonly #raw: Socket;
  /** An encrypted socket has passed on no write before the next turn of the event loop, also where the kernel takes it at once. */
  readonly #isEncrypted: boolean;
  #sentMs: number | undefined;
  /** Since when the socket has passed nothing on of what it has. */
  #stalledMs: number | undefined;
  /** Bytes of control messages since the socket was last empty. */
  #controlBytes = 0;
  #isWatched = false;
  #isClosed = false;
  /** The layouts that the client has been told, by number; one that is no more lives no longer for it. Made when the first one is told. */
  #told: Map<number, WeakRef<BatchSchema>> | undefined;
  /** Made when it is first needed. */
  #callback: ((error?: Error | null) => void) | undefined;

  constructor({ host, owner, protocol, socket }: SocketWriterParts) {
    this.#host = host;
    this.#owner = owner;
    this.#protocol = protocol;
    this.#socket = socket;
    // `ws` has no public way to send a frame that is framed already, and framing once for all readers is the point.
    this.#raw = (socket as unknown as { _socket: Socket })._socket;
    this.#isEncrypted = 'encrypted' in this.#raw;
  }

  /** Nothing is sent any more. */
  get closed(): boolean {
    return this.#isClosed;
  }

  get isOpen(): boolean {
    return !this.#isClosed && this.#socket.readyState === this.#socket.OPEN;
  }

  /** Bytes that were given to the socket and that it has not passed on. */
  get unsentBytes(): number {
    return this.#raw.writableLength;
  }

  /** Nothing is on its way, and the client has been told nothing that it would be told again. */
  get isAtRest(): boolean {
    return this.#raw.writableLength === 0 && !this.#isWatched && this.#told === undefined;
  }

  get canTake(): boolean {
    return !this.#isClosed && this.#raw.writableLength < this.#host.settings.socketBytesMax;
  }

  /** When data was last sent, in ms of the clock. */
  get sentMs(): number {
    return this.#sentMs ?? -Infinity;
  }

  /** Sends a control message now. A client that asks for ever and reads nothing is not read either. */
  control(message: TelemetryServerMessage): void {
    if (this.#isClosed) return;
    const frame = controlFrame(message, this.#protocol);
    this.#write(frame);
    this.#controlBytes = this.#raw.writableLength === 0 ? 0 : this.#controlBytes + frame.length;
    if (this.#controlBytes > this.#host.settings.socketBytesMax) this.pause(PauseReason.deaf);
  }

  /** Sends encoded messages, before them the layouts that the client does not know yet. */
  send({ bytes, schemas }: EncodedRange, nowMs: number): void {
    this.#sentMs = nowMs;
    for (const schema of schemas) {
      if (this.#told?.get(schema.id)?.deref() === schema) continue;
      this.#told ??= new Map();
      this.#told.set(schema.id, new WeakRef(schema));
      this.control({ type: 'schema', schema_id: schema.id, fields: [...schema.fields] });
    }
    this.#write(bytes);
  }

  /** What is written up to `uncork` leaves in one system call. */
  cork(): void {
    this.#raw.cork();
  }

  uncork(): void {
    this.#raw.uncork();
    this.#watch();
  }

  /** The socket is not read until no reason is left. */
  pause(reason: PauseReason): void {
    if (!this.#isClosed) SocketReading.of(this.#socket).pause(reason);
  }

  resume(reason: PauseReason): void {
    if (!this.#isClosed) SocketReading.of(this.#socket).resume(reason);
  }

  /** To be asked about once a second. Returns why the client is to be given up, if it takes nothing. */
  check(nowMs: number): SightlineError | undefined {
    const unsent = this.#raw.writableLength;
    if (this.#isClosed || unsent === 0) {
      this.#stalledMs = undefined;
      return undefined;
    }
    const { slowConsumerMs } = this.#host.settings;
    this.#stalledMs ??= nowMs;
    if (nowMs - this.#stalledMs < slowConsumerMs) return undefined;
    const message = `the client has taken nothing of ${unsent} bytes for ${slowConsumerMs} ms`;
    return new SightlineError('SLOW_CONSUMER', message);
  }

  /** Idempotent. */
  close(): void {
    this.#isClosed = true;
  }

  /** On an idle socket the kernel takes a write at once, and a callback for each would cost a third of it. */
  #write(frame: Buffer): void {
    if (this.#socket.readyState !== this.#socket.OPEN) return;
    if (this.#isEncrypted || this.#raw.writableLength > 0) this.#raw.write(frame, this.#onWritten());
    else this.#raw.write(frame);
    this.#watch();
  }

  /** While bytes are left in the socket, somebody may wait until they are gone. */
  #watch(): void {
    if (this.#raw.writableLength === 0 || this.#raw.writableCorked > 0) return;
    this.#stalledMs ??= this.#host.clock.now();
    // Each write to an encrypted one has the callback.
    if (this.#isWatched || this.#isEncrypted) return;
    this.#isWatched = true;
    this.#raw.write(NOTHING, this.#onWritten());
  }

  #onWritten(): (error?: Error | null) => void {
    this.#callback ??= (error) => this.#written(error);
    return this.#callback;
  }

  #written(error?: Error | null): void {
    this.#isWatched = false;
    if (error || this.#isClosed) return;
    this.#stalledMs = this.#raw.writableLength > 0 ? this.#host.clock.now() : undefined;
    if (this.#stalledMs !== undefined) return;
    this.#controlBytes = 0;
    this.resume(PauseReason.deaf);
    this.#owner.onEmptied();
  }
}
