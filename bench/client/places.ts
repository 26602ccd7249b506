import type { Browser, CDPSession, Page } from 'playwright-core';
import { launchBrowser } from '../../test/support/chromium.ts';
import { Helper } from '../support/children.ts';
import { inTime } from '../support/in-time.ts';
import { readProcessors } from '../support/processors.ts';
import type { PageApi } from './page.ts';
import { PEERS, type Job, type PeerName, type Ran } from './peers.ts';
import type { SessionApi } from './session-process.ts';

/** Where a session runs: each peer in a process, or a page, of its own, so that none pays for what another one left behind. */

/** Processor time so far, seconds. */
export type ProcessorTimes = Readonly<Record<string, number>>;

export interface Place {
  readonly name: string;
  open(peer: PeerName): Promise<void>;
  run(peer: PeerName, job: Job): Promise<Ran>;
  close(peer: PeerName): Promise<void>;
  processor(peer: PeerName): Promise<ProcessorTimes>;
}

export interface PlaceOptions {
  /** Of the server. */
  readonly url: string;
  readonly pictures: readonly Uint8Array<ArrayBuffer>[];
  readonly signal: AbortSignal;
}

const CALL_TIMEOUT_MS = 60_000;

// ── Node ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────

export class NodePlace implements Place, AsyncDisposable {
  readonly name = 'node';
  readonly #url: string;
  readonly #helpers: ReadonlyMap<PeerName, Helper<SessionApi>>;

  private constructor(url: string, helpers: ReadonlyMap<PeerName, Helper<SessionApi>>) {
    this.#url = url;
    this.#helpers = helpers;
  }

  static async open({ url, pictures, signal }: PlaceOptions): Promise<NodePlace> {
    const script = new URL('session-process.ts', import.meta.url);
    const place = new NodePlace(url, new Map(PEERS.map((peer) => [peer, new Helper<SessionApi>(script, signal)])));
    try {
      for (const helper of place.#helpers.values()) await helper.call('prepare', pictures);
      return place;
    } catch (thrown) {
      await place[Symbol.asyncDispose]();
      throw thrown;
    }
  }

  async open(peer: PeerName): Promise<void> {
    await this.#of(peer).call('open', { peer, url: this.#url });
  }

  run(peer: PeerName, job: Job): Promise<Ran> {
    return this.#of(peer).call('run', job, CALL_TIMEOUT_MS);
  }

  async close(peer: PeerName): Promise<void> {
    await this.#of(peer).call('close', undefined);
  }

  async processor(peer: PeerName): Promise<ProcessorTimes> {
    const { pid } = this.#of(peer);
    const { mainS, othersS } = readProcessors([pid]).processes.get(pid)!;
    return await Promise.resolve({ all: mainS + othersS, main: mainS });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#helpers.values()].map((helper) => helper[Symbol.asyncDispose]()));
  }

  #of(peer: PeerName): Helper<SessionApi> {
    return this.#helpers.get(peer)!;
  }
}

// ── A page ───────────────────────────────────────────────────────────────────────────────────────────────────────────────

interface Tab {
  readonly page: Page;
  readonly devtools: CDPSession;
  /** What went wrong in it. */
  readonly faults: string[];
}

export class PagePlace implements Place, AsyncDisposable {
  readonly name = 'page';
  readonly #url: string;
  readonly #browser: Browser;
  readonly #signal: AbortSignal;
  readonly #tabs = new Map<PeerName, Tab>();
  readonly #onAbort = (): void => void this.#browser.close();

  private constructor(url: string, browser: Browser, signal: AbortSignal) {
    this.#url = url;
    this.#browser = browser;
    this.#signal = signal;
    signal.addEventListener('abort', this.#onAbort, { once: true });
  }

  /** `pageUrl`: where the page is, and the pictures. */
  static async open(pageUrl: string, { url, pictures, signal }: PlaceOptions): Promise<PagePlace> {
    signal.throwIfAborted();
    const place = new PagePlace(url, await launchBrowser([], { endsProcess: false }), signal);
    try {
      signal.throwIfAborted();
      for (const peer of PEERS) await place.#openTab(peer, pageUrl, pictures.length);
      return place;
    } catch (thrown) {
      await place[Symbol.asyncDispose]();
      signal.throwIfAborted();
      throw thrown;
    }
  }

  get version(): string {
    return this.#browser.version();
  }

  async open(peer: PeerName): Promise<void> {
    await this.#call(peer, 'open', { peer, url: this.#url });
  }

  run(peer: PeerName, job: Job): Promise<Ran> {
    return this.#call(peer, 'run', job);
  }

  async close(peer: PeerName): Promise<void> {
    await this.#call(peer, 'close', undefined);
  }

  async processor(peer: PeerName): Promise<ProcessorTimes> {
    const { metrics } = await this.#within(peer, this.#tabs.get(peer)!.devtools.send('Performance.getMetrics'));
    const of = (name: string): number => metrics.find((one) => one.name === name)!.value;
    return { all: of('TaskDuration'), script: of('ScriptDuration') };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#signal.removeEventListener('abort', this.#onAbort);
    await this.#browser.close();
  }

  /** A browser context of its own, and with it a process of its own. */
  async #openTab(peer: PeerName, pageUrl: string, pictures: number): Promise<void> {
    const context = await this.#browser.newContext();
    const page = await context.newPage();
    const tab: Tab = { page, devtools: await context.newCDPSession(page), faults: [] };
    this.#tabs.set(peer, tab);
    page.on('pageerror', (error) => tab.faults.push(error.message));
    await page.goto(pageUrl);
    await this.#call(peer, 'prepare', pictures);
    // Processor time of the main thread, not the time that passes: another thread may have the core meanwhile.
    await tab.devtools.send('Performance.enable', { timeDomain: 'threadTicks' });
  }

  #call<N extends keyof PageApi>(
    peer: PeerName,
    name: N,
    argument: Parameters<PageApi[N]>[0],
  ): Promise<Awaited<ReturnType<PageApi[N]>>> {
    const call = `${name}(${argument === undefined ? '' : JSON.stringify(argument)})`;
    return this.#within(peer, this.#tabs.get(peer)!.page.evaluate<Awaited<ReturnType<PageApi[N]>>>(call));
  }

  async #within<T>(peer: PeerName, what: Promise<T>): Promise<T> {
    try {
      return await inTime(what, CALL_TIMEOUT_MS, 'the page', this.#tabs.get(peer)!.faults);
    } catch (thrown) {
      this.#signal.throwIfAborted();
      throw thrown;
    }
  }
}
