import { mkdir, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { AV_CODEC_ID_H264 } from 'node-av/constants';
import { SightlineError } from '../../base/errors.ts';
import { connectionFault } from './faults.ts';
import { INLET_PAYLOAD_TYPE, InletReader, isRtcp, KEY_WANTED } from './inlet-packets.ts';
import { isPipeName } from './inlets.ts';
import { KeyWish } from './key-wish.ts';
import { RtpOrder, type Patience } from './rtp.ts';
import { RtpQueue } from './rtp-queue.ts';
import { monotonicMs, type PacketSource, type SourcePacket, type TrackFacts } from './source.ts';

/** What is lost is sent again: for longer than that takes on most lines nothing behind it goes on. */
const PATIENCE: Patience = { packetsMax: 512, waitMsMax: 250 };

/**
 * H.264 of a publisher (WHIP), whose connection is with the thread for WebRTC: its packets come through a local socket. One publisher, once: after its end there is another source, as after the loss
 * of any camera.
 */
export class WhipSource implements PacketSource {
  readonly #path: string | undefined;
  readonly #queue = new RtpQueue('h264', INLET_PAYLOAD_TYPE);
  readonly #order = new RtpOrder(PATIENCE);
  readonly #reader = new InletReader();
  readonly #wish = new KeyWish();
  readonly #arrived = Promise.withResolvers<void>();
  #server: Server | undefined;
  #publisher: Socket | undefined;
  #isClosed = false;

  /** `path`: of the socket; undefined: nobody can come. */
  constructor(path: string | undefined) {
    this.#path = path;
    // It may end while nobody waits for that.
    this.#arrived.promise.catch(() => undefined);
  }

  /** Errors: CAMERA_UNREACHABLE: there can be no such socket. */
  async arrive(): Promise<void> {
    try {
      await this.#listen();
      await this.#arrived.promise;
    } catch (thrown) {
      throw connectionFault(thrown);
    }
  }

  async open(): Promise<TrackFacts> {
    return {
      format: 'whip',
      codec: 'h264',
      codecId: AV_CODEC_ID_H264,
      extradata: undefined,
      width: 0,
      height: 0,
      parameters: undefined,
      isStored: false,
    };
  }

  async read(): Promise<SourcePacket | undefined> {
    const packet = await this.#queue.next();
    if (!this.#queue.isCrowded && this.#publisher?.isPaused() === true) this.#publisher.resume();
    return packet;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#server?.close();
    this.#publisher?.destroy();
    this.#queue.close();
    this.#arrived.reject(new SightlineError('CAMERA_ENDED', 'it was closed'));
  }

  async #listen(): Promise<void> {
    const path = this.#path;
    if (path === undefined) throw new SightlineError('CAMERA_FORBIDDEN', 'nobody can publish to it here');
    if (!isPipeName(path)) {
      await mkdir(dirname(path), { recursive: true, mode: 0o700 });
      // Of a process that was killed.
      await rm(path, { force: true });
    }
    if (this.#isClosed) return;
    this.#server = createServer((socket) => this.#onPublisher(socket));
    this.#server.on('error', (error) => this.#arrived.reject(error));
    this.#server.listen(path);
  }

  #onPublisher(socket: Socket): void {
    socket.on('error', () => undefined);
    if (this.#publisher || this.#isClosed) return void socket.destroy();
    this.#publisher = socket;
    // The next one has its place at the next source.
    this.#server?.close();
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.on('close', () => this.#queue.fail(new SightlineError('CAMERA_ENDED', 'its publisher has gone')));
    this.#askForKey(monotonicMs());
    this.#arrived.resolve();
  }

  #take(chunk: Buffer): void {
    const nowMs = monotonicMs();
    for (const packet of this.#reader.push(chunk)) {
      if (isRtcp(packet)) this.#queue.takeRtcp(packet);
      else {
        for (const { bytes, arrivedMs } of this.#order.push(packet, nowMs)) {
          for (const frame of this.#queue.takeRtp(bytes, arrivedMs)) this.#wish.see(frame, nowMs);
        }
      }
    }
    this.#askForKey(nowMs);
    // What comes meanwhile is left out by the sender, as is told by the numbers of the packets.
    if (this.#queue.isCrowded) this.#publisher!.pause();
  }

  #askForKey(nowMs: number): void {
    if (this.#wish.isDue(nowMs)) this.#publisher!.write(KEY_WANTED);
  }
}
