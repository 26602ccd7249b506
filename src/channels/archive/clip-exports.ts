import { extname } from 'node:path';
import { SightlineError, type ErrorCode } from '../../base/errors.ts';
import type { Log } from '../../log/log.ts';
import { isSameList } from '../../sources/camera/camera-settings.ts';
import type { CameraFeeds } from '../../sources/camera/feed.ts';
import { Child } from '../../supervise/child.ts';
import type { FoundFile } from './archive.ts';
import type { DrawingCounts, DrawingOptions } from './clip-drawing.ts';
import type { Clip, ClipRange } from './clip.ts';

/** Clips with what was found drawn on them: each is made in a process of its own, while its client reads it. */

export interface ExportSettings {
  /** At once. */
  readonly max: number;
  readonly sideMax: number;
  readonly pixelsMax: number;
}

/** To the process. `resultFiles`: in which what was found may lie. */
export interface ExportOrder extends Pick<DrawingOptions, 'masks' | 'sideMax' | 'pixelsMax'> {
  readonly range: ClipRange;
  readonly files: readonly FoundFile[];
  readonly resultFiles: readonly FoundFile[];
}

/** From it. After `ended`, and `bytes` in its pipe, or `failed` it has nothing more to say. */
export type ExportNews =
  /** The first bytes of the clip come, whose first frame was captured then. */
  | { readonly type: 'begun'; readonly fromMs: number }
  | ({ readonly type: 'ended'; readonly bytes: number } & DrawingCounts)
  | ({ readonly type: 'failed'; readonly code: ErrorCode; readonly message: string } & DrawingCounts);

/**
 * `refused`: there were too many, or there is no such clip. `failed`: it could not be made, or not to its end. `cut`: its client has gone or may not have it any more, or the server
 * ended.
 */
export const EXPORT_OUTCOMES = ['whole', 'refused', 'failed', 'cut'] as const;
export type ExportOutcome = (typeof EXPORT_OUTCOMES)[number];

/** The script lies beside this file and has its ending: `.ts` in the clone, `.js` in the package. */
const SCRIPT = new URL(`./clip-process${extname(import.meta.url)}`, import.meta.url);
/** Of the program with its libraries, a decoder of 4K pictures and a few of them, and what was found within some minutes. */
const PROCESS_BYTES_MAX = 1024 * 1024 * 1024;
const LIMITS = {
  memoryBytesMax: PROCESS_BYTES_MAX,
  memoryIntervalMs: 500,
  outputBytesMax: 2 ** 20,
  // What was found is read in one go.
  silenceMs: 20_000,
} as const;
const GRACE_MS = 1_000;
/** An export takes no longer than so many times what was asked for, and so much more: whoever reads it as slowly as that keeps others from theirs. */
const TIMES_MAX = 4;
const MORE_MS = 600_000;
/** That say that there is no such clip. */
const REFUSALS: ReadonlySet<ErrorCode> = new Set(['RECORDING_MISSING', 'CLIP_BROKEN']);

export class ClipExports {
  readonly #feeds: CameraFeeds;
  readonly #log: Log;
  readonly #script: URL;
  #settings: ExportSettings;
  readonly #running = new Set<ClipExport>();
  readonly #outcomes = Object.fromEntries(EXPORT_OUTCOMES.map((outcome) => [outcome, 0])) as Record<
    ExportOutcome,
    number
  >;
  #asked = 0;
  #frames: DrawingCounts = { drawn: 0, leftOut: 0 };
  #isEnding = false;

  constructor(parts: {
    readonly feeds: CameraFeeds;
    readonly log: Log;
    readonly settings: ExportSettings;
    /** Default: the one that draws. */
    readonly script?: URL;
  }) {
    this.#feeds = parts.feeds;
    this.#log = parts.log;
    this.#settings = parts.settings;
    this.#script = parts.script ?? SCRIPT;
  }

  configure(settings: ExportSettings): void {
    this.#settings = settings;
  }

  /**
   * When its first bytes are there. `signal`: nobody wants it any more. Errors: CAMERA_UNKNOWN, EXPORT_LIMIT_REACHED, SHUTTING_DOWN, RECORDING_MISSING, CLIP_BROKEN, EXPORT_FAILED;
   * what it gives ends by these, too, and by CAMERA_MASKED, where the camera gets other masks.
   */
  async open(
    order: Pick<ExportOrder, 'range' | 'files' | 'resultFiles'>,
    signal: AbortSignal,
  ): Promise<Pick<Clip, 'fromMs' | 'chunks'>> {
    const { max, sideMax, pixelsMax } = this.#settings;
    const { camera } = order.range;
    const { masks } = this.#feeds.get(camera);
    this.#asked++;
    if (this.#isEnding) return this.#refuse(new SightlineError('SHUTTING_DOWN', 'the server is ending'));
    if (this.#running.size >= max) {
      const message = `${max} clips are drawn on at once, and as many are under way`;
      return this.#refuse(new SightlineError('EXPORT_LIMIT_REACHED', message));
    }
    const one: ClipExport = new ClipExport({
      order: { ...order, masks, sideMax, pixelsMax },
      script: this.#script,
      masks: () => this.#feeds.get(camera).masks,
      onOver: (over) => this.#over(one, camera, over),
    });
    this.#running.add(one);
    signal.addEventListener('abort', () => one.cut());
    if (signal.aborted) one.cut();
    return { fromMs: await one.begun(), chunks: () => one.chunks() };
  }

  /** At every moment: asked = those of all outcomes + running. Frames: of those that have ended. */
  accounts() {
    return { asked: this.#asked, running: this.#running.size, outcomes: this.#outcomes, frames: this.#frames };
  }

  /** Nobody begins one any more. */
  drain(): void {
    this.#isEnding = true;
  }

  /** All end, whole or not. Idempotent. */
  async close(): Promise<void> {
    this.drain();
    const running = [...this.#running];
    for (const one of running) one.cut();
    await Promise.all(running.map((one) => one.exited));
  }

  #refuse(error: SightlineError): never {
    this.#outcomes.refused++;
    throw error;
  }

  #over(one: ClipExport, camera: string, { outcome, error, frames }: Over): void {
    this.#running.delete(one);
    this.#outcomes[outcome]++;
    const { drawn, leftOut } = this.#frames;
    this.#frames = { drawn: drawn + frames.drawn, leftOut: leftOut + frames.leftOut };
    if (outcome !== 'failed' || !error) return;
    this.#log.write('export_failed', { camera, code: error.code, reason: error.message });
  }
}

interface Over {
  readonly outcome: ExportOutcome;
  readonly error: SightlineError | undefined;
  readonly frames: DrawingCounts;
}

/** One of them. */
class ClipExport {
  readonly exited: Promise<unknown>;
  readonly #child: Child<ExportOrder, ExportNews>;
  readonly #camera: string;
  /** With which it is made; those that the camera has now. */
  readonly #masks: readonly string[];
  readonly #masksNow: () => readonly string[];
  readonly #onOver: (over: Over) => void;
  readonly #begun = Promise.withResolvers<number>();
  #hasBegun = false;
  #last: Exclude<ExportNews, { type: 'begun' }> | undefined;
  /** Why no more of it comes. */
  #fault: SightlineError | undefined;
  #isOver = false;

  constructor(parts: {
    readonly order: ExportOrder;
    readonly script: URL;
    readonly masks: () => readonly string[];
    readonly onOver: (over: Over) => void;
  }) {
    this.#camera = parts.order.range.camera;
    this.#masks = parts.order.masks;
    this.#masksNow = parts.masks;
    this.#onOver = parts.onOver;
    const { fromMs, toMs } = parts.order.range;
    this.#child = Child.fork<ExportOrder, ExportNews>(parts.script, {
      hasData: true,
      limits: { ...LIMITS, wallMs: TIMES_MAX * (toMs - fromMs) + MORE_MS },
      graceMs: GRACE_MS,
      onMessage: (news) => this.#take(news),
    });
    // Nobody may wait for it yet, or any more.
    this.#begun.promise.catch(() => undefined);
    this.exited = this.#untilExited();
    this.#child.send(parts.order);
  }

  /** Capture of its first frame. Errors: as `ClipExports.open` has them. */
  begun(): Promise<number> {
    return this.#begun.promise;
  }

  /** Once. What comes before its end is whole only if that comes. Errors: as above. */
  async *chunks(): AsyncGenerator<Uint8Array> {
    let bytes = 0;
    try {
      for await (const chunk of this.#child.data! as AsyncIterable<Buffer>) {
        bytes += chunk.length;
        this.#requireSameMasks();
        yield chunk;
      }
      await this.exited;
      if (this.#last?.type !== 'ended' || this.#last.bytes !== bytes) throw this.#whyBroken();
      this.#end('whole');
    } catch (thrown) {
      if (thrown instanceof SightlineError) throw thrown;
      // Its pipe has broken.
      await this.exited;
      throw this.#whyBroken();
    } finally {
      this.cut();
    }
  }

  /** Nobody wants more of it. Idempotent. */
  cut(): void {
    this.#end('cut', new SightlineError('SHUTTING_DOWN', 'the export was ended'));
    void this.#child.stop();
  }

  #take(news: ExportNews): void {
    if (news.type !== 'begun') {
      this.#last = news;
      return;
    }
    this.#hasBegun = true;
    this.#begun.resolve(news.fromMs);
  }

  async #untilExited(): Promise<void> {
    const { text, errorTail } = await this.#child.exited;
    const last = this.#last;
    // Its clip is read to its end by whoever has it.
    if (last?.type === 'ended') return;
    const said = errorTail === '' ? '' : ` (${errorTail.slice(-300)})`;
    const error =
      last === undefined
        ? new SightlineError('EXPORT_FAILED', `the process that drew on it ${text}${said}`)
        : new SightlineError(last.code, last.message);
    this.#end(!this.#hasBegun && REFUSALS.has(error.code) ? 'refused' : 'failed', error);
    this.#begun.reject(this.#fault);
  }

  #whyBroken(): SightlineError {
    const error = this.#fault ?? new SightlineError('EXPORT_FAILED', 'a part of it is missing');
    this.#end('failed', error);
    return error;
  }

  /** What was drawn with others is for nobody any more. Throws CAMERA_UNKNOWN, CAMERA_MASKED. */
  #requireSameMasks(): void {
    if (isSameList(this.#masks, this.#masksNow())) return;
    throw new SightlineError('CAMERA_MASKED', `camera ${this.#camera} has other masks now: export it again`);
  }

  #end(outcome: ExportOutcome, error?: SightlineError): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#fault = error;
    const { drawn, leftOut } = this.#last ?? { drawn: 0, leftOut: 0 };
    this.#onOver({ outcome, error, frames: { drawn, leftOut } });
  }
}
