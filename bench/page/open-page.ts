import type { Browser, Page } from 'playwright-core';
import { launchBrowser } from '../../test/support/chromium.ts';
import { inTime } from '../support/in-time.ts';
import { LoadMeter, type Load } from './browser-load.ts';
import { frameFigures, framesScript, type FrameFigures } from './frames.ts';
import type { Tab } from './tab-api.ts';

/** The browser of the benchmark, and its pages. */

export const ANSWER_TIMEOUT_MS = 30_000;
const CLOSE_TIMEOUT_MS = 10_000;

export interface PageContext {
  readonly browser: Browser;
  readonly signal: AbortSignal;
}

/** What was seen of a page during a span. */
export interface Look extends FrameFigures, Load {}

export class OpenBrowser implements AsyncDisposable {
  readonly browser: Browser;
  readonly #signal: AbortSignal;
  readonly #onAbort = (): void => void this.browser.close().catch(() => {});

  private constructor(browser: Browser, signal: AbortSignal) {
    this.browser = browser;
    this.#signal = signal;
    signal.addEventListener('abort', this.#onAbort, { once: true });
  }

  static async launch(signal: AbortSignal): Promise<OpenBrowser> {
    signal.throwIfAborted();
    const browser = await launchBrowser([], { endsProcess: false });
    const open = new OpenBrowser(browser, signal);
    if (signal.aborted) open.#onAbort();
    return open;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#signal.removeEventListener('abort', this.#onAbort);
    await inTime(this.browser.close(), CLOSE_TIMEOUT_MS, 'the browser');
  }
}

/** A page in a tab of its own, on nobody's heap but its own; the browser is not waited for longer than it may take. */
export class OpenPage implements AsyncDisposable {
  readonly page: Page;
  readonly #load: LoadMeter;
  readonly #faults: string[];

  private constructor(page: Page, load: LoadMeter, faults: string[]) {
    this.page = page;
    this.#load = load;
    this.#faults = faults;
  }

  static async open({ browser, signal }: PageContext, url: string): Promise<OpenPage> {
    signal.throwIfAborted();
    const page = await inTime(browser.newPage({ viewport: { width: 1440, height: 900 } }), ANSWER_TIMEOUT_MS, 'a tab');
    try {
      const faults: string[] = [];
      page.on('pageerror', (error) => faults.push(error.message));
      await page.goto(url, { timeout: ANSWER_TIMEOUT_MS });
      const load = await inTime(LoadMeter.open(browser, page), ANSWER_TIMEOUT_MS, 'the profiler');
      return new OpenPage(page, load, faults);
    } catch (thrown) {
      await inTime(page.close(), CLOSE_TIMEOUT_MS, 'the tab').catch(() => {});
      throw thrown;
    }
  }

  async call<N extends keyof Tab>(name: N, ...words: Parameters<Tab[N]>): Promise<Awaited<ReturnType<Tab[N]>>> {
    const script = `tab.${name}(${words.map((word) => JSON.stringify(word)).join(', ')})`;
    const answer = await inTime(this.page.evaluate(script), ANSWER_TIMEOUT_MS, `tab.${name}`, this.#faults);
    if (this.#faults.length > 0) throw new Error(`the page failed: ${this.#faults.join('; ')}`);
    return answer as Awaited<ReturnType<Tab[N]>>;
  }

  /** What the page costs during some work. */
  load(work: () => Promise<void>): Promise<Load> {
    return this.#load.during(work);
  }

  /** `meanwhile`: what is begun with the span. */
  async look(spanMs: number, meanwhile: () => Promise<void> = async () => {}): Promise<Look> {
    let timesMs: readonly number[] = [];
    const load = await this.#load.during(async () => {
      const frames = this.page.evaluate<number[]>(framesScript(spanMs));
      await meanwhile();
      timesMs = await inTime(frames, spanMs + ANSWER_TIMEOUT_MS, 'the frames');
    });
    return { ...frameFigures(timesMs, spanMs), ...load };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#load[Symbol.asyncDispose]();
    await inTime(this.page.close(), CLOSE_TIMEOUT_MS, 'the tab').catch(() => {});
  }
}
