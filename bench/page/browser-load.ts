import { readdirSync, readFileSync } from 'node:fs';
import type { Browser, CDPSession, Page } from 'playwright-core';
import { inTime } from '../support/in-time.ts';

/** What a page costs, as Chromium and the kernel say. */

interface Reading {
  readonly timeS: number;
  readonly taskS: number;
  readonly threadS: number;
  readonly workerS: number;
  readonly browserS: number;
}

/** Percent of one core. */
export interface Load {
  /** How long it was looked at. */
  readonly seconds: number;
  /** Time within tasks of the page's main thread, from outside: also when another program has the core meanwhile. */
  readonly mainPercent: number;
  /** Processor time of that thread. */
  readonly mainCpuPercent: number;
  /** Processor time of the decoding worker's thread; 0 where there is none, NaN where there is no `/proc`. */
  readonly workerCpuPercent: number;
  /** Processor time of all processes of the browser. */
  readonly browserCpuPercent: number;
}

const ANSWER_TIMEOUT_MS = 30_000;
/** The kernel's name of a worker's thread: the first 15 letters of Chromium's. */
const WORKER_THREAD = 'DedicatedWorker';

export class LoadMeter {
  readonly #page: CDPSession;
  readonly #browser: CDPSession;

  private constructor(page: CDPSession, browser: CDPSession) {
    this.#page = page;
    this.#browser = browser;
  }

  /** Goes with the page. */
  static async open(browser: Browser, page: Page): Promise<LoadMeter> {
    const session = await page.context().newCDPSession(page);
    await session.send('Performance.enable');
    return new LoadMeter(session, await browser.newBrowserCDPSession());
  }

  async during(work: () => Promise<void>): Promise<Load> {
    const from = await this.#read();
    await work();
    const to = await this.#read();
    const percent = (figure: (reading: Reading) => number): number =>
      ((figure(to) - figure(from)) * 100) / (to.timeS - from.timeS);
    return {
      seconds: to.timeS - from.timeS,
      mainPercent: percent(({ taskS }) => taskS),
      mainCpuPercent: percent(({ threadS }) => threadS),
      workerCpuPercent: percent(({ workerS }) => workerS),
      browserCpuPercent: percent(({ browserS }) => browserS),
    };
  }

  async #read(): Promise<Reading> {
    const asked = Promise.all([
      this.#browser.send('SystemInfo.getProcessInfo'),
      this.#page.send('Performance.getMetrics'),
    ]);
    const [{ processInfo }, { metrics }] = await inTime(asked, ANSWER_TIMEOUT_MS, 'the browser');
    const metric = (name: string): number => metrics.find((one) => one.name === name)?.value ?? Number.NaN;
    const renderers = processInfo.filter(({ type }) => type === 'renderer');
    return {
      timeS: metric('Timestamp'),
      taskS: metric('TaskDuration'),
      threadS: metric('ThreadTime'),
      workerS: renderers.reduce((sum, { id }) => sum + workerSeconds(id), 0),
      browserS: processInfo.reduce((sum, { cpuTime }) => sum + cpuTime, 0),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await inTime(this.#browser.detach(), ANSWER_TIMEOUT_MS, 'the browser').catch(() => {});
  }
}

/** Of all workers of a process. */
function workerSeconds(pid: number): number {
  let seconds = 0;
  try {
    for (const thread of readdirSync(`/proc/${pid}/task`)) {
      const folder = `/proc/${pid}/task/${thread}`;
      if (readFileSync(`${folder}/comm`, 'utf8').trim() !== WORKER_THREAD) continue;
      seconds += Number(readFileSync(`${folder}/schedstat`, 'utf8').split(' ')[0]) / 1e9;
    }
    return seconds;
  } catch {
    return Number.NaN;
  }
}
