import { existsSync, writeFileSync } from 'node:fs';
import { CHANNEL_FORMS, type ChannelForm } from '../../src/base/camera-frame.ts';
import { encodeData } from '../../src/sources/camera/data-codec.ts';
import type {
  CameraInput,
  FrameData,
  PictureScale,
  ReaderNews,
  ReaderOrder,
} from '../../src/sources/camera/messages.ts';
import { openData, openParent } from '../../src/supervise/parent.ts';
import { readScript, SCRIPTED_GOP, type Script } from './scripted-cameras.ts';

/**
 * A process that reads cameras as the server sees it, but the cameras are made up: what each does stands in its address (`scripted-cameras.ts`). For tests of the server's side, with faults that no
 * real camera shows on demand.
 */

const COUNTS_MS = 100;
/** What may wait in the pipe; pictures beyond it are dropped. */
const PIPE_BYTES_MAX = 4 * 2 ** 20;
/** From an end that comes early to the data before it. */
const EARLY_MS = 200;

const monotonicMs = () => Number(process.hrtime.bigint()) / 1e6;
const data = openData();
const cameras = new Map<number, ScriptedCamera>();
let dataBytes = 0;
/** What waits meanwhile. */
const held: Uint8Array[] = [];
let isHeld = false;

class ScriptedCamera {
  readonly #camera: number;
  readonly #script: Script;
  readonly #timers: NodeJS.Timeout[] = [];
  #epoch: number;
  #seq = 0;
  #rateFps = 0;
  #scale: PictureScale = null;
  #nextPictureMs = 0;
  /** What is wanted of the forms of its raw channel, and has begun. */
  readonly #forms = CHANNEL_FORMS.map((form) => ({ form, isWanted: false, hasInit: false, isKeyDue: true }));
  /** Frames with results that the server has told, while they are drawn. */
  readonly #told = new Set<number>();
  readonly counts = {
    received: 0,
    receivedBytes: 0,
    decoded: 0,
    damaged: 0,
    unmasked: 0,
    pictures: 0,
    picturesDropped: 0,
    fragments: 0,
    fragmentsDropped: 0,
    transcoded: 0,
    transcodedDropped: 0,
    annotated: 0,
    annotatedDropped: 0,
    decodeMs: 0,
    scaleMs: 0,
    encodeMs: 0,
  };

  constructor(camera: number, epoch: number, { url }: CameraInput) {
    this.#camera = camera;
    this.#epoch = epoch;
    this.#script = readScript(url);
    const { openMs, does } = this.#script;
    if (does !== 'silent') this.#after(openMs, () => this.#opened());
  }

  pictures(rateFps: number, scale: PictureScale): void {
    if (rateFps !== this.#rateFps) this.#nextPictureMs = 0;
    this.#rateFps = rateFps;
    this.#scale = scale;
  }

  want(form: ChannelForm, isWanted: boolean): void {
    if (form === 'transcoded' && isWanted && this.#script.does === 'no transcode') {
      say({ type: 'transcode_failed', camera: this.#camera, reason: 'the encoder fails' });
      return;
    }
    Object.assign(
      this.#forms.find((one) => one.form === form)!,
      { isWanted, isKeyDue: true },
    );
  }

  result({ seq, result }: Extract<ReaderOrder, { type: 'result' }>): void {
    if (result) this.#told.add(seq);
  }

  still({ request, widthMax, drawn }: Extract<ReaderOrder, { type: 'still' }>): void {
    const { camera, epoch, seq } = this.#frame(this.#seq - 1);
    if (this.#script.does === 'no stills') {
      say({ type: 'still_failed', camera, request, code: 'CAMERA_NO_PICTURE', reason: 'there is none' });
      return;
    }
    send({
      ...this.#frame(seq),
      epoch,
      kind: 'still',
      request,
      boxes: drawn === null ? 'none' : 'own',
      width: widthMax,
      height: 8,
      bytes: Uint8Array.of(0xff, 0xd8, 0xff, 0xd9),
    });
  }

  decodeBy(device: string | null): void {
    const { does, afterMs } = this.#script;
    say({ type: 'decoder', camera: this.#camera, by: device ?? 'software', fault: null });
    if (device === null || does !== 'lose device') return;
    this.#after(afterMs, () => {
      say({ type: 'decoder', camera: this.#camera, by: 'software', fault: 'the device is gone' });
    });
  }

  close(): void {
    for (const timer of this.#timers) clearInterval(timer);
  }

  #opened(): void {
    const { does, code, fps, afterMs } = this.#script;
    if (code !== undefined) return this.#end(code, `it said ${this.#script.url}`);
    this.#live();
    const isLast = () => does === 'end early' && this.#seq === SCRIPTED_GOP - 1;
    this.#timers.push(setInterval(() => (isLast() ? this.#endEarly() : this.#tick()), 1000 / fps));
    if (does === 'crash') this.#after(afterMs, () => void (this.#isFirst() && process.kill(process.pid, 'SIGKILL')));
    if (does === 'hang') {
      this.#after(afterMs, () => {
        if (this.#isFirst()) for (;;);
      });
    }
    if (does === 'stall') this.#after(afterMs, () => this.close());
    if (does === 'break') this.#after(afterMs, () => this.#end('CAMERA_STALLED', 'it broke off'));
    if (does === 'blackout') this.#after(2 * afterMs, () => this.#end('CAMERA_STALLED', 'it broke off'));
    if (does === 'end') this.#after(afterMs, () => this.#end(null, ''));
    if (does === 'black' || does === 'blackout') {
      this.#after(afterMs, () => say({ type: 'condition', camera: this.#camera, condition: 'black' }));
    }
    if (does === 'garble') this.#after(afterMs, () => data.write(Buffer.alloc(64, 0xff)));
    if (does === 'change') {
      this.#after(afterMs, () => {
        this.#epoch = Math.max(Date.now(), this.#epoch + 1);
        this.#seq = 0;
        for (const form of this.#forms) Object.assign(form, { hasInit: false, isKeyDue: true });
        this.#live();
      });
    }
  }

  /** Once only, if the script says so. */
  #isFirst(): boolean {
    const { once } = this.#script;
    if (once === undefined) return true;
    if (existsSync(once)) return false;
    writeFileSync(once, '');
    return true;
  }

  #live(): void {
    const { width, height } = this.#script;
    const facts = {
      format: 'rtsp',
      codec: 'h264',
      codecString: 'avc1.64001f',
      clock: 'camera',
      width,
      height,
    } as const;
    say({ type: 'live', camera: this.#camera, epoch: this.#epoch, facts });
  }

  #end(code: Extract<ReaderNews, { type: 'ended' }>['code'], reason: string): void {
    this.close();
    cameras.delete(this.#camera);
    say({ type: 'ended', camera: this.#camera, code, reason, dataBytes });
  }

  #endEarly(): void {
    isHeld = true;
    this.#tick();
    this.#end(null, '');
    setTimeout(() => {
      isHeld = false;
      data.write(...held.splice(0));
    }, EARLY_MS);
  }

  #frame(seq: number): FrameData {
    return {
      camera: this.#camera,
      epoch: this.#epoch,
      seq,
      arrivedMs: monotonicMs(),
      capturedBeforeMs: 5,
      clock: 'camera',
    };
  }

  #tick(): void {
    const seq = this.#seq++;
    const { fps, width, height, fragmentBytes } = this.#script;
    const frame = this.#frame(seq);
    this.counts.received++;
    this.counts.receivedBytes += fragmentBytes;
    const isKey = seq % SCRIPTED_GOP === 0;
    for (const one of this.#forms) {
      const { form } = one;
      if (!one.isWanted || (one.isKeyDue && !isKey)) continue;
      one.isKeyDue = false;
      if (!one.hasInit) {
        one.hasInit = true;
        send({
          kind: 'init',
          form,
          camera: this.#camera,
          epoch: this.#epoch,
          codecString: 'avc1.64001f',
          width,
          height,
          bytes: named(frame, 16),
        });
      }
      this.counts[form === 'raw' ? 'fragments' : form]++;
      send({
        ...frame,
        kind: 'fragment',
        form,
        // It draws what is told of the frames before.
        boxes: form === 'annotated' && this.#told.size > 0 ? 'predicted' : 'none',
        order: seq,
        isKey,
        mediaTimeS: seq / fps,
        durationS: 1 / fps,
        bytes: named(frame, fragmentBytes),
      });
    }
    if (this.#rateFps <= 0 || frame.arrivedMs < this.#nextPictureMs) return;
    this.#nextPictureMs = Math.max(this.#nextPictureMs, frame.arrivedMs - 1000 / this.#rateFps) + 1000 / this.#rateFps;
    this.counts.decoded++;
    if (data.socket.writableLength > PIPE_BYTES_MAX) {
      this.counts.picturesDropped++;
      return;
    }
    const size = this.#scale ?? { width, height };
    this.counts.pictures++;
    const source = { width, height };
    const bytes = named(frame, size.width * size.height * 3);
    send({
      ...frame,
      kind: 'picture',
      width: size.width,
      height: size.height,
      source,
      decodeMs: 1,
      keyMs: 0,
      keys: 0,
      bytes,
    });
  }

  #after(ms: number, act: () => void): void {
    this.#timers.push(setTimeout(act, ms));
  }
}

/** Bytes that begin with the name of their frame. */
function named({ epoch, seq }: FrameData, length: number): Uint8Array {
  const bytes = Buffer.alloc(length);
  bytes.writeDoubleLE(epoch, 0);
  bytes.writeUInt32LE(seq, 8);
  return bytes;
}

function send(message: Parameters<typeof encodeData>[0]): void {
  const parts = encodeData(message);
  for (const { length } of parts) dataBytes += length;
  if (isHeld) held.push(...parts);
  else data.write(...parts);
}

function say(news: ReaderNews): void {
  parent.send(news);
}

const parent = openParent<ReaderOrder, ReaderNews>({
  onMessage: (order) => {
    if (order.type === 'open') cameras.set(order.camera, new ScriptedCamera(order.camera, order.epoch, order.input));
    const camera = cameras.get(order.camera);
    if (order.type === 'pictures') camera?.pictures(order.rateFps, order.scale);
    else if (order.type === 'raw' || order.type === 'transcoded') camera?.want(order.type, order.isWanted);
    else if (order.type === 'annotated') camera?.want('annotated', order.wish !== null);
    else if (order.type === 'result') camera?.result(order);
    else if (order.type === 'decoder') camera?.decodeBy(order.by);
    else if (order.type === 'still') camera?.still(order);
    else if (order.type === 'close') {
      camera?.close();
      cameras.delete(order.camera);
      say({ type: 'ended', camera: order.camera, code: null, reason: 'it was closed', dataBytes });
    }
  },
});

setInterval(() => {
  say({ type: 'counts', cameras: [...cameras].map(([camera, { counts }]) => [camera, { ...counts }] as const) });
}, COUNTS_MS);
