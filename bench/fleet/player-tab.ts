import type { Page } from 'playwright-core';
import { playerPage, type PagePicture } from '../../test/support/player-page.ts';
import { inTime } from '../support/in-time.ts';
import { ANSWER_TIMEOUT_MS, OpenBrowser } from '../page/open-page.ts';

/** A page of Chromium with players of the SDK, which reads the number in each picture that it shows. */

interface PlayerState {
  readonly jumps: number;
  readonly waits: number;
  readonly failures: number;
  readonly unnamed: number;
}

export class PlayerTab implements AsyncDisposable {
  readonly version: string;
  readonly #page: Page;
  readonly #faults: string[];
  readonly #stack: AsyncDisposableStack;

  private constructor(parts: { page: Page; faults: string[]; version: string }, stack: AsyncDisposableStack) {
    this.#page = parts.page;
    this.#faults = parts.faults;
    this.version = parts.version;
    this.#stack = stack;
  }

  /** `url`: of the server, to which the page seems to belong. */
  static async open(url: string, cameras: readonly string[], signal: AbortSignal): Promise<PlayerTab> {
    const files = await playerPage();
    await using stack = new AsyncDisposableStack();
    const { browser } = stack.use(await OpenBrowser.launch(signal));
    const page = await inTime(browser.newPage(), ANSWER_TIMEOUT_MS, 'a tab');
    // The page is not of the network, so the browser asks before it lets it go there.
    await page.context().grantPermissions(['local-network-access']);
    const faults: string[] = [];
    page.on('pageerror', (error) => faults.push(error.message));
    await page.route(
      ({ origin, pathname }) => origin === new URL(url).origin && files.has(pathname),
      (route) => {
        const { pathname } = new URL(route.request().url());
        const contentType = pathname.endsWith('.js') ? 'text/javascript' : 'text/html';
        return route.fulfill({ contentType, body: files.get(pathname)! });
      },
    );
    const query = new URLSearchParams(cameras.map((camera): [string, string] => ['camera', camera]));
    await page.goto(`${url}/?${query.toString()}`, { timeout: ANSWER_TIMEOUT_MS });
    return new PlayerTab({ page, faults, version: browser.version() }, stack.move());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync();
  }

  async ask<T>(expression: string): Promise<T> {
    const answer = await inTime(this.#page.evaluate<T>(expression), ANSWER_TIMEOUT_MS, 'the page', this.#faults);
    if (this.#faults.length > 0) throw new Error(`the page failed: ${this.#faults.join('; ')}`);
    return answer;
  }

  /** Frames that were shown since the last call. */
  take(): Promise<PagePicture[]> {
    return this.ask('window.page?.frames?.splice(0) ?? []');
  }

  /** Frames of which it cannot be said which one they were: the element had gone on. */
  moved(): Promise<number> {
    return this.ask('window.page.moved');
  }

  /** Of all its players together. */
  state(): Promise<PlayerState> {
    return this.ask(`window.page.players.map(({ player }) => player.metrics()).reduce((sum, one) => ({
      jumps: sum.jumps + one.jumps,
      waits: sum.waits + one.waits,
      failures: sum.failures + one.failures,
      unnamed: sum.unnamed + one.unnamed,
    }), { jumps: 0, waits: 0, failures: 0, unnamed: 0 })`);
  }
}
