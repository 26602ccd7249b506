import { extname } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { Clock } from '../../base/clock.ts';
import { SightlineError } from '../../base/errors.ts';
import type { Log } from '../../log/log.ts';
import type { OpenPeer, PeerEvent, PeerNews, PeerRequest } from './messages.ts';
import type { LocalEnd } from './offer.ts';

/** The server's end of the thread for WebRTC, which is there while somebody watches or publishes. */

export interface PeerThreadOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly onEvent: (event: PeerEvent) => void;
  /** All connections have ended with the thread. */
  readonly onLost: () => void;
}

const OPEN_MS_MAX = 5_000;
/** Of V8's heap: some hundred kilobytes for a viewer or a publisher. */
const HEAP_MB_MAX = 256;
/** After it was lost there is none for so long, and after its last session it stays for so long. */
const RETRY_MS = 1_000;
const LINGER_MS = 60_000;
/** For all sessions to end, with the last words to each. */
const END_MS_MAX = 1_500;

export class PeerThread {
  readonly #options: PeerThreadOptions;
  readonly #asked = new Map<number, PromiseWithResolvers<LocalEnd>>();
  /** Sessions whose connections the thread may still have. */
  readonly #open = new Set<number>();
  #onAllEnded: (() => void) | undefined;
  #worker: Worker | undefined;
  #lostMs = -Infinity;
  /** When somebody last had a use for it. */
  #usedMs = -Infinity;
  #losses = 0;
  #faults = 0;

  constructor(options: PeerThreadOptions) {
    this.#options = options;
  }

  /** `losses`: times that it has ended by itself; `faults`: what went wrong in it and ended nothing. */
  get counts(): { readonly losses: number; readonly faults: number } {
    return { losses: this.#losses, faults: this.#faults };
  }

  /** Errors: WEBRTC_UNAVAILABLE. */
  async open(request: OpenPeer): Promise<LocalEnd> {
    const { clock } = this.#options;
    if (!this.#worker && clock.now() - this.#lostMs < RETRY_MS) throw unavailable('its thread was lost just now');
    this.#worker ??= this.#start();
    const answer = Promise.withResolvers<LocalEnd>();
    this.#asked.set(request.id, answer);
    this.#open.add(request.id);
    const timer = setTimeout(() => answer.reject(unavailable('it takes too long')), OPEN_MS_MAX);
    this.send(request);
    try {
      return await answer.promise;
    } catch (thrown) {
      // It may yet be made.
      this.send({ type: 'close', id: request.id, last: undefined });
      throw thrown;
    } finally {
      clearTimeout(timer);
      this.#asked.delete(request.id);
    }
  }

  send(request: PeerRequest): void {
    this.#usedMs = this.#options.clock.now();
    this.#worker?.postMessage(request);
  }

  /** Now and then, while there is no session. */
  rest(nowMs: number): void {
    if (this.#asked.size === 0 && nowMs - this.#usedMs >= LINGER_MS) void this.close();
  }

  /** All sessions that were told to end have said their last words, or had the time for it. */
  async allEnded(): Promise<void> {
    if (this.#open.size === 0) return;
    const all = Promise.withResolvers<void>();
    this.#onAllEnded = all.resolve;
    const timer = setTimeout(all.resolve, END_MS_MAX);
    await all.promise;
    clearTimeout(timer);
  }

  /** Idempotent. */
  async close(): Promise<void> {
    const worker = this.#worker;
    this.#worker = undefined;
    this.#forgetOpen();
    await worker?.terminate();
  }

  #start(): Worker {
    const worker = new Worker(new URL(`./worker${extname(import.meta.url)}`, import.meta.url), {
      name: 'webrtc',
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MB_MAX },
    });
    worker.on('message', (news: PeerNews) => this.#onNews(news));
    let reason = 'it has ended';
    worker.on('error', (error: Error) => (reason = error.message));
    worker.on('exit', () => {
      if (this.#worker === worker) this.#lost(reason);
    });
    // It keeps no process that has nothing else to do.
    worker.unref();
    return worker;
  }

  #lost(reason: string): void {
    const { clock, log, onLost } = this.#options;
    this.#worker = undefined;
    this.#lostMs = clock.now();
    this.#losses++;
    log.write('webrtc_lost', { reason });
    this.#forgetOpen();
    for (const { reject } of this.#asked.values()) reject(unavailable(`its thread was lost: ${reason}`));
    onLost();
  }

  #forgetOpen(): void {
    this.#open.clear();
    this.#onAllEnded?.();
  }

  #onNews(news: PeerNews): void {
    switch (news.type) {
      case 'opened':
        return this.#asked.get(news.id)?.resolve(news.local);
      case 'refused':
        return this.#asked.get(news.id)?.reject(unavailable(news.reason));
      case 'ended':
        this.#open.delete(news.id);
        if (this.#open.size === 0) this.#onAllEnded?.();
        return;
      case 'fault':
        this.#faults++;
        return this.#options.log.write('webrtc_fault', { reason: news.reason });
      default:
        this.#options.onEvent(news);
    }
  }
}

function unavailable(why: string): SightlineError {
  return new SightlineError('WEBRTC_UNAVAILABLE', `no connection by WebRTC can be made now: ${why}`);
}
