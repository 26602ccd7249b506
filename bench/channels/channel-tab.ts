import type { Browser, Page } from 'playwright-core';
import { serveHlsPage, type HlsPicture } from '../../test/support/hls-page.ts';
import { picturesOf, WHEP_SCRIPT, type SeenName } from '../../test/support/whep-page.ts';
import { ANSWER_TIMEOUT_MS } from '../page/open-page.ts';
import { inTime } from '../support/in-time.ts';

/** A camera in a tab of Chromium, by hls.js or by WHEP: which picture was shown when, under which name. */

export interface ShownPicture {
  /** In the picture. */
  readonly number: number | undefined;
  readonly frame: { readonly epoch: number; readonly seq: number };
  /** Unix ms. */
  readonly captureTimeMs: number;
  readonly shownTimeMs: number;
}

export interface Taken {
  readonly pictures: readonly ShownPicture[];
  /** Pictures that came without a name. */
  readonly unnamed: number;
}

/** A name comes by another way than its frame, and may be behind it. */
const NAMES_MAX = 1_000;

export abstract class ChannelTab implements AsyncDisposable {
  protected readonly page: Page;
  readonly #faults: string[] = [];

  protected constructor(page: Page) {
    this.page = page;
    page.on('pageerror', (error) => this.#faults.push(error.message));
  }

  /** What was shown since the last call. */
  abstract take(): Promise<Taken>;

  protected async ask<T>(expression: string): Promise<T> {
    const answer = await inTime(this.page.evaluate<T>(expression), ANSWER_TIMEOUT_MS, 'the page', this.#faults);
    if (this.#faults.length > 0) throw new Error(`the page failed: ${this.#faults.join('; ')}`);
    return answer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await inTime(this.page.close(), ANSWER_TIMEOUT_MS, 'a tab');
  }
}

export class HlsTab extends ChannelTab {
  static async open(browser: Browser, url: string, path: string): Promise<HlsTab> {
    const page = await inTime(browser.newPage(), ANSWER_TIMEOUT_MS, 'a tab');
    await page.context().grantPermissions(['local-network-access']);
    await serveHlsPage(page);
    await page.goto(`${url}/test/player.html?source=${encodeURIComponent(path)}`, { timeout: ANSWER_TIMEOUT_MS });
    return new HlsTab(page);
  }

  async take(): Promise<Taken> {
    const shown = await this.ask<HlsPicture[]>('window.page?.frames?.splice(0) ?? []');
    const pictures = shown.flatMap(({ number, name, shownTimeMs }) =>
      name ? [{ number, frame: name, captureTimeMs: name.capture_time, shownTimeMs }] : [],
    );
    return { pictures, unnamed: shown.length - pictures.length };
  }
}

export class WhepTab extends ChannelTab {
  readonly #names = new Map<number, SeenName>();

  static async open(browser: Browser, url: string, path: string): Promise<WhepTab> {
    const page = await inTime(browser.newPage(), ANSWER_TIMEOUT_MS, 'a tab');
    await page.context().grantPermissions(['local-network-access']);
    await page.goto(`${url}/health`, { timeout: ANSWER_TIMEOUT_MS });
    await page.evaluate(WHEP_SCRIPT);
    const { status, text } = await page.evaluate<{ status: number; text: string }>(`whep(${JSON.stringify(path)})`);
    if (status !== 201) throw new Error(`WHEP was refused: ${status} ${text}`);
    return new WhepTab(page);
  }

  async take(): Promise<Taken> {
    const frames = picturesOf(await this.ask('window.seen.frames.splice(0)'));
    for (const name of await this.ask<SeenName[]>('window.seen.names.splice(0)')) {
      this.#names.set(name.rtp_timestamp, name);
      if (this.#names.size > NAMES_MAX) this.#names.delete(this.#names.keys().next().value!);
    }
    const pictures = frames.flatMap(({ number, stamp, shownTimeMs }) => {
      const name = this.#names.get(stamp);
      return name ? [{ number, frame: name, captureTimeMs: name.capture_time, shownTimeMs }] : [];
    });
    return { pictures, unnamed: frames.length - pictures.length };
  }
}
