import { extname } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '../../base/clock.ts';
import type { ErrorCode } from '../../base/errors.ts';
import type { Random } from '../../base/random.ts';
import { Child, type ChildExit, type ExitCause } from '../../supervise/child.ts';
import type { RestartPolicy } from '../../supervise/restart.ts';
import { Supervisor } from '../../supervise/supervisor.ts';
import { DataReader } from './data-codec.ts';
import type { HardwareType } from './hardware.ts';
import type {
  AnnotatedWish,
  CameraInput,
  PictureCondition,
  PictureScale,
  ReaderCounts,
  ReaderData,
  ReaderNews,
  ReaderOrder,
  StreamFacts,
} from './messages.ts';

/** The script lies beside this file and has its ending: `.ts` in the clone, `.js` in the package. */
export const READER_SCRIPT = new URL(`./reader-process${extname(import.meta.url)}`, import.meta.url);

/** `pool`: for several cameras; `own`: for one that brought down others with it; `test`: for addresses that are tried. */
export type LinkKind = 'pool' | 'own' | 'test';

/** A process has ended, and a camera's connection with it. */
export interface ProcessLoss {
  readonly cause: ExitCause;
  /** What happened, as the end of a sentence. */
  readonly text: string;
  /** Until there is a process again. */
  readonly restartInMs: number;
  /** It had this camera: else it was not the camera that has ended it. */
  readonly wasOpen: boolean;
}

/** What one connection to a camera tells. After `ended` or `lost` nothing more comes. */
export interface OpeningListener {
  /** It is its turn, and there is a process. */
  begun(): void;
  /** As in `ReaderNews`. */
  publisher(isThere: boolean): void;
  live(epoch: number, facts: StreamFacts): void;
  /** `code` null: a file was played to its end. */
  ended(code: ErrorCode | null, reason: string): void;
  lost(loss: ProcessLoss): void;
  condition(condition: PictureCondition): void;
  /** As in `ReaderNews`. */
  decoder(by: string, fault: string | null): void;
  transcodeFailed(reason: string): void;
  annotateFailed(reason: string): void;
  counts(counts: ReaderCounts): void;
  stillFailed(request: number, code: ErrorCode, reason: string): void;
  data(data: ReaderData): void;
}

export interface LinkExit extends ChildExit {
  readonly pid: number | undefined;
  /** That it had. */
  readonly cameras: number;
  readonly restartInMs: number | undefined;
}

export interface ReaderLinkOptions {
  readonly kind: LinkKind;
  readonly camerasMax: number;
  readonly clock: Clock;
  readonly random: Random;
  /** Default: the reader. */
  readonly script?: URL | undefined;
  /** Runs callbacks of others. */
  readonly guard: (callback: () => void) => void;
  readonly onExit: (exit: LinkExit) => void;
}

/** A life of a few seconds is no life: then restarts become rarer. */
const POLICY: RestartPolicy = { atOnce: 1, firstDelayMs: 500, delayMaxMs: 30_000, healthyMs: 30_000 };
/** A process that hangs takes its cameras with it for so long. It is generous: the machine may be busy. */
const SILENCE_MS = 8_000;
/** Of the program with its libraries, and of each camera: a decoder of 4K pictures and a few of them. */
const PROCESS_BYTES = 512 * 2 ** 20;
const CAMERA_BYTES = 96 * 2 ** 20;
const MEMORY_INTERVAL_MS = 1_000;
/** The process's own threads of libuv's pool, beside one that each camera may hold. */
const THREADS_MORE = 8;
const THREADS_MAX = 1_024;
/** Arenas of glibc's allocator: by default each of those threads may have one of its own, which keeps what was freed. Other C libraries ignore it. */
const ARENAS_MAX = '2';
const GRACE_MS = 2_000;
/** Orders that may wait: more than all of its cameras get until it counts as hung. */
const ORDERS_MAX = 4_096;
/**
 * Connections that are opened at once, and for how long each keeps its place when nothing comes of it: a hundred cameras that come back together do so one
 * behind the other, and those that do not answer hold up nobody.
 */
const OPENING_MAX = 6;
const OPENING_MS = 500;
/** A connection that was told to end holds up the next one of its camera for no longer. */
const ENDING_MS = 2_000;

/** One process that reads cameras, over all its lives. */
export class ReaderLink {
  readonly kind: LinkKind;
  readonly camerasMax: number;
  /** Cameras that have their place here; the pool keeps it. */
  cameras = 0;
  readonly #options: ReaderLinkOptions;
  readonly #supervisor: Supervisor<ReaderOrder, ReaderNews>;
  /** Connections that the process knows, by its number. */
  readonly #open = new Map<number, Opening>();
  /** Those that are to be opened, the first one first. */
  readonly #waiting = new Set<Opening>();
  /** Those that have just been. */
  readonly #begun = new Map<Opening, NodeJS.Timeout>();
  /** Those that were told to end, and have not yet. */
  readonly #ending = new Map<number, { readonly opening: Opening; readonly timer: NodeJS.Timeout }>();
  #child: Child<ReaderOrder, ReaderNews> | undefined;
  /** News of ends that have come before all data of their cameras, in order. */
  #early: Ended[] = [];
  #lastCamera = 0;
  #dataBytes = 0;
  /** Of the lives before this one. */
  #pastDataBytes = 0;
  #strays = 0;
  #isClosed = false;

  constructor(options: ReaderLinkOptions) {
    this.#options = options;
    this.kind = options.kind;
    this.camerasMax = options.camerasMax;
    this.#supervisor = new Supervisor({
      start: () => this.#start(),
      policy: POLICY,
      random: options.random,
      onExit: (exit, restartInMs) => this.#ended(exit, restartInMs),
    });
  }

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Since its beginning, over all its lives. `strays`: news and data of connections that were closed already. */
  accounts() {
    const { starts, exits, refused } = this.#supervisor.accounts();
    return { starts, exits, ordersRefused: refused, dataBytes: this.#dataBytes, strays: this.#strays };
  }

  /** The connection is opened as soon as there is a process, it is its turn, and an earlier one of the same camera is over. */
  open(epoch: number, input: CameraInput, listener: OpeningListener, after?: Opening): Opening {
    const link = { send: (order: ReaderOrder) => this.#send(order), end: () => this.#close(opening) };
    const opening: Opening = new Opening(++this.#lastCamera, { epoch, input, listener }, link, after);
    this.#waiting.add(opening);
    // Whoever opens it says first what is wanted of it.
    queueMicrotask(() => this.#pump());
    return opening;
  }

  /** Ends the process; its connections hear nothing of that. Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#clear();
    await this.#supervisor.stop();
  }

  #start(): Child<ReaderOrder, ReaderNews> {
    const { script = READER_SCRIPT, clock } = this.#options;
    const child: Child<ReaderOrder, ReaderNews> = Child.fork(script, {
      hasData: true,
      envMore: {
        UV_THREADPOOL_SIZE: String(Math.min(THREADS_MAX, this.camerasMax + THREADS_MORE)),
        MALLOC_ARENA_MAX: ARENAS_MAX,
      },
      limits: {
        silenceMs: SILENCE_MS,
        memoryBytesMax: PROCESS_BYTES + CAMERA_BYTES * this.camerasMax,
        memoryIntervalMs: MEMORY_INTERVAL_MS,
      },
      waitingMax: ORDERS_MAX,
      graceMs: GRACE_MS,
      onMessage: (news) => this.#news(news),
      clock,
    });
    const reader = new DataReader();
    this.#pastDataBytes = this.#dataBytes;
    child.data!.on('data', (chunk: Buffer) => {
      if (child !== this.#child) return;
      this.#dataBytes += chunk.length;
      try {
        reader.push(chunk);
        for (let data = reader.next(); data !== undefined; data = reader.next()) this.#data(data);
        this.#endEarly();
      } catch {
        // Nothing behind it can be read: the next life begins anew.
        child.data!.removeAllListeners('data');
        void child.stop();
      }
    });
    this.#child = child;
    queueMicrotask(() => this.#pump());
    return child;
  }

  #ended(exit: ChildExit, restartInMs: number | undefined): void {
    const pid = this.#child?.pid;
    this.#child = undefined;
    const lost = [...this.#open.values()];
    const waiting = [...this.#waiting];
    this.#clear();
    if (this.#isClosed) return;
    this.#options.onExit({ ...exit, pid, cameras: lost.length, restartInMs });
    const loss = { cause: exit.cause, text: exit.text, restartInMs: restartInMs ?? 0 };
    for (const { listener } of lost) this.#options.guard(() => listener.lost({ ...loss, wasOpen: true }));
    for (const { listener } of waiting) this.#options.guard(() => listener.lost({ ...loss, wasOpen: false }));
  }

  #pump(): void {
    if (!this.#child || this.#child.isGone || this.#isClosed) return;
    for (const opening of this.#waiting) {
      if (this.#begun.size >= OPENING_MAX) return;
      if (!opening.mayBegin) continue;
      this.#waiting.delete(opening);
      this.#open.set(opening.camera, opening);
      const timer = setTimeout(() => this.#settled(opening), OPENING_MS);
      this.#begun.set(opening, timer);
      opening.begin();
      this.#options.guard(() => opening.listener.begun());
    }
  }

  /** Its opening holds up others no more. */
  #settled(opening: Opening): void {
    clearTimeout(this.#begun.get(opening));
    if (this.#begun.delete(opening)) this.#pump();
  }

  /** It is wanted no more. */
  #close(opening: Opening): void {
    const { camera } = opening;
    if (this.#waiting.delete(opening)) opening.isOver = true;
    if (this.#open.delete(camera)) {
      const timer = setTimeout(() => this.#over(camera), ENDING_MS);
      this.#ending.set(camera, { opening, timer });
      if (!this.#send({ type: 'close', camera })) this.#over(camera);
    }
    this.#settled(opening);
  }

  /** One that was told to end has ended, or takes too long for others to wait for it. */
  #over(camera: number): boolean {
    const ending = this.#ending.get(camera);
    if (!ending) return false;
    clearTimeout(ending.timer);
    this.#ending.delete(camera);
    ending.opening.isOver = true;
    this.#pump();
    return true;
  }

  #clear(): void {
    for (const timer of this.#begun.values()) clearTimeout(timer);
    for (const { timer, opening } of this.#ending.values()) {
      clearTimeout(timer);
      opening.isOver = true;
    }
    for (const opening of [...this.#open.values(), ...this.#waiting]) opening.isOver = true;
    this.#begun.clear();
    this.#ending.clear();
    this.#open.clear();
    this.#waiting.clear();
    this.#early = [];
  }

  #send(order: ReaderOrder): boolean {
    const child = this.#child;
    if (!child || child.isGone) return false;
    if (child.send(order)) return true;
    // It takes no orders any more, and would do what nobody wants for ever.
    void child.stop();
    return false;
  }

  #news(news: ReaderNews): void {
    if (news.type === 'counts') {
      for (const [camera, counts] of news.cameras) {
        const opening = this.#open.get(camera);
        if (opening) this.#options.guard(() => opening.listener.counts(counts));
      }
      return;
    }
    if (news.type === 'ended' && !this.#hasAllData(news)) {
      this.#early.push(news);
      return;
    }
    const opening = this.#open.get(news.camera);
    if (!opening) {
      if (news.type !== 'ended' || !this.#over(news.camera)) this.#strays++;
      return;
    }
    if (news.type === 'ended') {
      opening.isOver = true;
      this.#open.delete(news.camera);
    }
    if (news.type === 'ended' || news.type === 'live' || news.type === 'publisher') this.#settled(opening);
    this.#options.guard(() => tell(opening.listener, news));
  }

  /** Both ways are read when they are read: an end may come before the last pictures. */
  #hasAllData({ dataBytes }: Ended): boolean {
    return this.#dataBytes - this.#pastDataBytes >= dataBytes;
  }

  #endEarly(): void {
    if (this.#early.length === 0) return;
    const early = this.#early;
    this.#early = [];
    for (const news of early) this.#news(news);
  }

  #data(data: ReaderData): void {
    const opening = this.#open.get(data.camera);
    if (opening) this.#options.guard(() => opening.listener.data(data));
    else this.#strays++;
  }
}

type Ended = Extract<ReaderNews, { type: 'ended' }>;

function tell(listener: OpeningListener, news: Exclude<ReaderNews, { type: 'counts' }>): void {
  switch (news.type) {
    case 'publisher':
      return listener.publisher(news.isThere);
    case 'live':
      return listener.live(news.epoch, news.facts);
    case 'ended':
      return listener.ended(news.code, news.reason);
    case 'condition':
      return listener.condition(news.condition);
    case 'decoder':
      return listener.decoder(news.by, news.fault);
    case 'transcode_failed':
      return listener.transcodeFailed(news.reason);
    case 'annotate_failed':
      return listener.annotateFailed(news.reason);
    case 'still_failed':
      return listener.stillFailed(news.request, news.code, news.reason);
  }
}

interface OpeningLink {
  send(order: ReaderOrder): boolean;
  end(): void;
}

interface OpeningParts {
  readonly epoch: number;
  readonly input: CameraInput;
  readonly listener: OpeningListener;
}

/**
 * One connection to a camera, in the life of a process, which knows it by a number of its own: so nothing that is late can be taken for news of the next one. What is
 * wanted of it is kept until it is opened.
 */
export class Opening {
  readonly camera: number;
  readonly listener: OpeningListener;
  readonly #parts: OpeningParts;
  readonly #link: OpeningLink;
  #after: Opening | undefined;
  /** For `ReaderLink`: its process has let go of the camera. */
  isOver = false;
  #isBegun = false;
  #pictures: { readonly rateFps: number; readonly scale: PictureScale } | undefined;
  #isRawWanted = false;
  #isTranscodedWanted = false;
  #annotated: AnnotatedWish | null = null;
  #decoder: HardwareType | null = null;

  /** For `ReaderLink.open`. */
  constructor(camera: number, parts: OpeningParts, link: OpeningLink, after: Opening | undefined) {
    this.camera = camera;
    this.#after = after;
    this.listener = parts.listener;
    this.#parts = parts;
    this.#link = link;
  }

  /** For `ReaderLink`. */
  get mayBegin(): boolean {
    return this.#after?.isOver ?? true;
  }

  /** For `ReaderLink`: now it is its turn. */
  begin(): void {
    this.#isBegun = true;
    this.#after = undefined;
    const { camera } = this;
    const { epoch, input } = this.#parts;
    this.#link.send({ type: 'open', camera, epoch, input });
    if (this.#pictures) this.#link.send({ type: 'pictures', camera, ...this.#pictures });
    if (this.#isRawWanted) this.#link.send({ type: 'raw', camera, isWanted: true });
    if (this.#isTranscodedWanted) this.#link.send({ type: 'transcoded', camera, isWanted: true });
    if (this.#annotated) this.#link.send({ type: 'annotated', camera, wish: this.#annotated });
    if (this.#decoder !== null) this.#link.send({ type: 'decoder', camera, by: this.#decoder });
  }

  pictures(rateFps: number, scale: PictureScale): void {
    this.#pictures = { rateFps, scale };
    if (this.#isBegun) this.#link.send({ type: 'pictures', camera: this.camera, rateFps, scale });
  }

  raw(isWanted: boolean): void {
    this.#isRawWanted = isWanted;
    if (this.#isBegun) this.#link.send({ type: 'raw', camera: this.camera, isWanted });
  }

  transcoded(isWanted: boolean): void {
    this.#isTranscodedWanted = isWanted;
    if (this.#isBegun) this.#link.send({ type: 'transcoded', camera: this.camera, isWanted });
  }

  /** null: nobody wants it. */
  annotated(wish: AnnotatedWish | null): void {
    if (isDeepStrictEqual(wish, this.#annotated)) return;
    this.#annotated = wish;
    if (this.#isBegun) this.#link.send({ type: 'annotated', camera: this.camera, wish });
  }

  result(result: Omit<Extract<ReaderOrder, { type: 'result' }>, 'type' | 'camera'>): void {
    if (this.#isBegun) this.#link.send({ type: 'result', camera: this.camera, ...result });
  }

  /** What decodes it; null: the software. */
  decoder(by: HardwareType | null): void {
    if (by === this.#decoder) return;
    this.#decoder = by;
    if (this.#isBegun) this.#link.send({ type: 'decoder', camera: this.camera, by });
  }

  /** False: there is nobody to ask. */
  still(still: Omit<Extract<ReaderOrder, { type: 'still' }>, 'type' | 'camera'>): boolean {
    return this.#isBegun && this.#link.send({ type: 'still', camera: this.camera, ...still });
  }

  /** Its listener hears nothing more. Idempotent. */
  close(): void {
    this.#link.end();
  }
}
