import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { EncodeReply, EncodeRequest, EncodingWorkerLike } from './encoder.ts';
import { PictureEncoder } from './encoder.ts';

/** What these need of a browser, as far as it can be seen from here. */
class FakeCanvas {
  width: number;
  height: number;
  drawn: unknown;

  constructor(width: number, height: number) {
    this.width = width;
    this.height = height;
  }

  getContext() {
    return { drawImage: (source: unknown) => void (this.drawn = source) };
  }

  async convertToBlob() {
    return new Blob([new Uint8Array([0xff, 0xd8, 0xff])]);
  }
}

class FakeFrame {
  readonly displayWidth: number;
  readonly displayHeight: number;
  closed = false;

  constructor({ videoWidth, videoHeight }: { videoWidth: number; videoHeight: number }) {
    this.displayWidth = videoWidth;
    this.displayHeight = videoHeight;
  }

  close(): void {
    this.closed = true;
  }
}

class FakeWorker implements EncodingWorkerLike {
  readonly requests: EncodeRequest[] = [];
  readonly #listeners = new Map<string, ((event: { data: EncodeReply }) => void)[]>();
  terminated = false;

  postMessage(request: EncodeRequest): void {
    this.requests.push(request);
  }

  addEventListener(type: string, listener: (event: { data: EncodeReply }) => void): void {
    this.#listeners.set(type, [...(this.#listeners.get(type) ?? []), listener]);
  }

  terminate(): void {
    this.terminated = true;
  }

  say(data: EncodeReply, type = 'message'): void {
    for (const listener of this.#listeners.get(type) ?? []) listener({ data });
  }
}

const VIDEO = { videoWidth: 1280, videoHeight: 720 } as HTMLVideoElement;
const SIZE = { width: 640, height: 360 };
const READY = { type: 'ready' } as const;
const JPEG = new Uint8Array([0xff, 0xd8, 1]);

const bitmap = () => ({ width: 640, height: 360, close: vi.fn<() => void>() }) as unknown as ImageBitmap;
/** The request goes out when the frame is there, which takes a turn. */
const nextRequest = (worker: FakeWorker, n = 1) => vi.waitFor(() => expect(worker.requests).toHaveLength(n));

beforeEach(() => {
  vi.stubGlobal('OffscreenCanvas', FakeCanvas);
  vi.stubGlobal('VideoFrame', FakeFrame);
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

describe('PictureEncoder', () => {
  test('in place until the worker is there, in the worker from then on', async () => {
    const worker = new FakeWorker();
    const encoder = new PictureEncoder(worker);
    const here = await encoder.encode(VIDEO, SIZE, 60);
    expect(here.picture).toMatchObject({ ...SIZE, drawn: VIDEO });
    expect(here.jpeg[1]).toBe(0xd8);
    expect(worker.requests).toEqual([]);

    worker.say(READY);
    expect(encoder.isInWorker).toBe(true);
    const there = encoder.encode(VIDEO, SIZE, 70);
    await nextRequest(worker);
    expect(worker.requests[0]).toMatchObject({ ...SIZE, quality: 70, source: { displayWidth: 1280 } });
    const picture = bitmap();
    worker.say({ type: 'encoded', jpeg: JPEG, picture });
    expect(await there).toMatchObject({ jpeg: JPEG, picture });
    encoder.release(picture);
    expect(picture.close).toHaveBeenCalledOnce();
  });

  test('a canvas is used again once its picture was released', async () => {
    const encoder = new PictureEncoder(undefined);
    const first = await encoder.encode(VIDEO, SIZE, 60);
    const second = await encoder.encode(VIDEO, SIZE, 60);
    expect(second.picture).not.toBe(first.picture);
    encoder.release(first.picture);
    expect((await encoder.encode(VIDEO, { width: 320, height: 180 }, 60)).picture).toBe(first.picture);
    expect(first.picture.width).toBe(320);
  });

  test.each(['error', 'messageerror'])(
    'a worker that dies (%s) loses the picture in hand, not the next one',
    async (event) => {
      const worker = new FakeWorker();
      const encoder = new PictureEncoder(worker);
      worker.say(READY);
      const lost = encoder.encode(VIDEO, SIZE, 60);
      await nextRequest(worker);
      worker.say(READY, event);
      await expect(lost).rejects.toMatchObject({ code: 'FRAME_UNDECODABLE' });
      expect(worker.terminated).toBe(true);
      expect(encoder.isInWorker).toBe(false);
      expect((await encoder.encode(VIDEO, SIZE, 60)).picture).toBeInstanceOf(FakeCanvas);
    },
  );

  test('a worker that never comes is no loss', async () => {
    const worker = new FakeWorker();
    const encoder = new PictureEncoder(worker);
    worker.say(READY, 'error');
    expect((await encoder.encode(VIDEO, SIZE, 60)).picture).toBeInstanceOf(FakeCanvas);
  });

  test('a worker that cannot encode is told apart from one that is slow, and both are given up', async () => {
    vi.useFakeTimers();
    for (const [act, words] of [
      [(worker: FakeWorker) => worker.say({ type: 'failed', message: 'no context' }), 'no context'],
      [() => void vi.advanceTimersByTime(5_000), 'does not answer'],
    ] as const) {
      const worker = new FakeWorker();
      const encoder = new PictureEncoder(worker);
      worker.say(READY);
      const lost = encoder.encode(VIDEO, SIZE, 60);
      await nextRequest(worker);
      act(worker);
      await expect(lost).rejects.toThrow(words);
      expect(encoder.isInWorker).toBe(false);
    }
  });

  test('a frame that the browser does not turn upright is taken another way', async () => {
    const upright = bitmap();
    const createImageBitmap = vi.fn<() => Promise<ImageBitmap>>(async () => upright);
    vi.stubGlobal('createImageBitmap', createImageBitmap);
    const taken: FakeFrame[] = [];
    class Sideways extends FakeFrame {
      constructor() {
        super({ videoWidth: 720, videoHeight: 1280 });
        taken.push(this);
      }
    }
    vi.stubGlobal('VideoFrame', Sideways);
    const worker = new FakeWorker();
    const encoder = new PictureEncoder(worker);
    worker.say(READY);
    const encoding = encoder.encode(VIDEO, SIZE, 60);
    await nextRequest(worker);
    expect(worker.requests[0]!.source).toBe(upright);
    expect(taken.map(({ closed }) => closed)).toEqual([true]);
    worker.say({ type: 'encoded', jpeg: JPEG, picture: bitmap() });
    await encoding;
  });

  test('the end comes in the middle of a picture', async () => {
    const worker = new FakeWorker();
    const encoder = new PictureEncoder(worker);
    worker.say(READY);
    const encoding = encoder.encode(VIDEO, SIZE, 60);
    await nextRequest(worker);
    encoder.close();
    await expect(encoding).rejects.toThrow('stopped');
    expect(worker.terminated).toBe(true);
  });
});
