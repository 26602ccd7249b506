import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import { DataReader } from '../../src/sources/camera/data-codec.ts';
import type { Detection } from '../../src/base/detection.ts';
import type {
  AnnotatedWish,
  CameraInput,
  ReaderData,
  ReaderNews,
  ReaderOrder,
} from '../../src/sources/camera/messages.ts';
import { Child } from '../../src/supervise/child.ts';
import { mp4Of, type CodedClip } from './coded-clip.ts';
import { readNumber } from './picture-number.ts';
import { RtspServer, type RtspServerOptions } from './rtsp-server.ts';

const SCRIPT = new URL('../../src/sources/camera/reader-process.ts', import.meta.url);
const WAIT = { timeout: 30_000, interval: 20 };

type Kind = ReaderData['kind'];
type DataOf<K extends Kind> = Extract<ReaderData, { kind: K }>;
type NewsOf<T extends ReaderNews['type']> = Extract<ReaderNews, { type: T }>;

/** A process that reads cameras, and all that it says. */
export class ReaderProcess implements AsyncDisposable {
  readonly child: Child<ReaderOrder, ReaderNews>;
  readonly news: ReaderNews[] = [];
  readonly data: ReaderData[] = [];
  /** It has ended by itself. */
  failure: string | undefined;
  /** Called for each. */
  onData: ((data: ReaderData) => void) | undefined;
  #lastCamera = 0;

  constructor(threads = 24) {
    this.child = Child.fork<ReaderOrder, ReaderNews>(SCRIPT, {
      hasData: true,
      env: { ...process.env, UV_THREADPOOL_SIZE: String(threads) },
      onMessage: (news) => void this.news.push(news),
    });
    void this.#watchExit();
    const reader = new DataReader();
    this.child.data!.on('data', (chunk: Buffer) => {
      reader.push(chunk);
      for (let data = reader.next(); data; data = reader.next()) {
        this.data.push(data);
        this.onData?.(data);
      }
    });
  }

  open(url: string, input: Partial<CameraInput> = {}): ReadCamera {
    const camera = ++this.#lastCamera;
    const epoch = Date.now();
    const defaults: Omit<CameraInput, 'url'> = {
      transport: 'tcp',
      loop: false,
      pace: 'live',
      allowedNetworks: [],
      openTimeoutMs: 20_000,
      stallTimeoutMs: 20_000,
      pixelsMax: 4_000_000,
      rateFpsMax: 200,
      masks: [],
    };
    this.child.send({ type: 'open', camera, epoch, input: { ...defaults, url, ...input } });
    return new ReadCamera(this, camera, epoch);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.child.stop();
  }

  async #watchExit(): Promise<void> {
    const { cause, text, errorTail } = await this.child.exited;
    if (cause !== 'stopped') this.failure = `the process ${text}: ${errorTail}`;
  }
}

/** A process that reads cameras, a server of some, and a folder for files. */
export class ReaderWorld implements AsyncDisposable {
  readonly folder: string;
  readonly server: RtspServer;
  readonly reader = new ReaderProcess();

  private constructor(folder: string, server: RtspServer) {
    this.folder = folder;
    this.server = server;
  }

  static async open(cameras: RtspServerOptions['cameras']): Promise<ReaderWorld> {
    return new ReaderWorld(await mkdtemp(join(tmpdir(), 'sightline-reader-')), await RtspServer.open({ cameras }));
  }

  async mp4File(name: string, clip: CodedClip): Promise<string> {
    const path = join(this.folder, `${name}.mp4`);
    const { track, fragments } = mp4Of(clip);
    await writeFile(path, Buffer.concat([track.init, ...fragments]));
    return path;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.reader[Symbol.asyncDispose]();
    await this.server.close();
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** One camera of it. */
export class ReadCamera {
  readonly camera: number;
  readonly epoch: number;
  readonly #process: ReaderProcess;
  #lastRequest = 0;

  constructor(process: ReaderProcess, camera: number, epoch: number) {
    this.#process = process;
    this.camera = camera;
    this.epoch = epoch;
  }

  pictures(rateFps: number, scale: Extract<ReaderOrder, { type: 'pictures' }>['scale'] = null): void {
    this.#process.child.send({ type: 'pictures', camera: this.camera, rateFps, scale });
  }

  raw(isWanted: boolean): void {
    this.#process.child.send({ type: 'raw', camera: this.camera, isWanted });
  }

  transcoded(isWanted: boolean): void {
    this.#process.child.send({ type: 'transcoded', camera: this.camera, isWanted });
  }

  annotated(wish: Partial<AnnotatedWish> | null): void {
    const whole = wish && { fpsMax: 1_000, sideMax: 1_280, pipelines: ['objects'] as const, ...wish };
    this.#process.child.send({ type: 'annotated', camera: this.camera, wish: whole });
  }

  /** What was found in a frame; null: nothing will be told of it. */
  result({ epoch, seq }: { epoch: number; seq: number }, detections: readonly Detection[] | null): void {
    const result = detections && ({ pipeline: 'objects', detections } as const);
    this.#process.child.send({ type: 'result', camera: this.camera, epoch, seq, pipeline: 'objects', result });
  }

  /** `drawn`: with what was found. */
  still(widthMax = 10_000, drawn = false): number {
    const request = ++this.#lastRequest;
    this.#process.child.send({
      type: 'still',
      camera: this.camera,
      request,
      widthMax,
      drawn: drawn ? ['objects'] : null,
    });
    return request;
  }

  close(): void {
    this.#process.child.send({ type: 'close', camera: this.camera });
  }

  of<K extends Kind>(kind: K): DataOf<K>[] {
    return this.#process.data.filter((data): data is DataOf<K> => data.camera === this.camera && data.kind === kind);
  }

  news<T extends ReaderNews['type']>(type: T): NewsOf<T>[] {
    const isOurs = (news: ReaderNews) => news.type !== 'counts' && news.camera === this.camera;
    return this.#process.news.filter((news): news is NewsOf<T> => news.type === type && isOurs(news));
  }

  /** Undefined: none yet. */
  get counts() {
    const all = this.#process.news.findLast((news) => news.type === 'counts');
    return all?.cameras.find(([camera]) => camera === this.camera)?.[1];
  }

  async until(kind: Kind, count: number): Promise<void> {
    await this.#poll(
      () => this.of(kind).length >= count,
      () => `${this.of(kind).length} of ${count} ${kind}s`,
    );
  }

  /** Until it is so. */
  async waitFor(isSo: () => boolean): Promise<void> {
    await this.#poll(isSo, () => 'not so');
  }

  async #poll(isSo: () => boolean, what: () => string): Promise<void> {
    const state = () => this.#process.failure ?? (isSo() ? 'so' : what());
    await expect.poll(state, WAIT).toBe('so');
  }

  async live(): Promise<NewsOf<'live'>> {
    await this.waitFor(() => this.news('live').length + this.news('ended').length > 0);
    expect(this.news('ended')).toEqual([]);
    return this.news('live')[0]!;
  }

  async ended(): Promise<NewsOf<'ended'>> {
    await this.waitFor(() => this.news('ended').length > 0);
    return this.news('ended')[0]!;
  }
}

/** The number that a picture carries. */
export function numberOf({ bytes: data, width, height }: DataOf<'picture'>): number | undefined {
  return readNumber({ data, width, height, pixelBytes: 3 });
}
