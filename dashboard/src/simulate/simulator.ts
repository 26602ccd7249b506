import type { WebSocketConstructor } from 'sightline/client';
import { linkText, LINKS, type LinkName } from './links.ts';
import { LoadSimulator, type LoadReport } from './load.ts';
import { slowWebSocket } from './slow-socket.ts';

const TEXT_INTERVAL_MS = 500;
/** A hidden page puts no load on the server. */
const HIDDEN_MAX_MS = 30_000;

const IDLE_TEXT =
  'Slows this page’s link down, or adds cameras that offer more than the server can process: frames and detail give way, not time.';

export interface SimulatorOptions {
  readonly section: HTMLElement;
  readonly text: HTMLElement;
  /** Another link is another connection. */
  readonly onLink: () => void;
}

/** Lets a visitor change the path and load the server, to see what gives way. */
export class Simulator {
  readonly #options: SimulatorOptions;
  #link: { readonly name: LinkName; readonly sinceMs: number; readonly WebSocket: WebSocketConstructor } | undefined;
  #load: LoadSimulator | undefined;
  #report: LoadReport | undefined;
  #problem: string | undefined;
  #hiddenTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: SimulatorOptions) {
    this.#options = options;
    const inputs = options.section.querySelectorAll<HTMLInputElement>('input[type=radio]');
    for (const input of inputs) {
      input.addEventListener('change', () => {
        if (input.name === 'link') this.#setLink(input.value);
        else this.#setLoad(Number(input.value));
      });
    }
    document.addEventListener('visibilitychange', () => this.#onVisibility());
    setInterval(() => this.#refreshText(), TEXT_INTERVAL_MS);
    this.#refreshText();
    options.section.hidden = false;
  }

  /** For the page's own sessions; undefined: the link as it is. */
  get WebSocket(): WebSocketConstructor | undefined {
    return this.#link?.WebSocket;
  }

  #setLink(value: string): void {
    const name = value in LINKS ? (value as LinkName) : undefined;
    this.#link = name && {
      name,
      sinceMs: performance.now(),
      WebSocket: slowWebSocket({
        profile: LINKS[name],
        Platform: globalThis.WebSocket as unknown as WebSocketConstructor,
        now: () => performance.now(),
        random: Math.random,
      }),
    };
    this.#refreshText();
    this.#options.onLink();
  }

  #setLoad(factor: number): void {
    this.#problem = undefined;
    if (factor > 0 && this.#load) this.#load.factor = factor;
    else if (factor > 0) void this.#startLoad(factor);
    else this.#stopLoad();
    this.#refreshText();
  }

  async #startLoad(factor: number): Promise<void> {
    const load = new LoadSimulator(factor, (report) => {
      if (load === this.#load) this.#report = report;
    });
    this.#load = load;
    try {
      await load.start();
    } catch (thrown) {
      load.stop();
      if (load !== this.#load) return;
      this.#switchOff();
      this.#problem = `The load did not start: ${thrown instanceof Error ? thrown.message : String(thrown)}.`;
      this.#refreshText();
    }
  }

  #stopLoad(): void {
    this.#load?.stop();
    this.#load = undefined;
    this.#report = undefined;
  }

  #switchOff(): void {
    this.#stopLoad();
    this.#options.section.querySelector<HTMLInputElement>('input[name=load][value="0"]')!.checked = true;
  }

  #onVisibility(): void {
    clearTimeout(this.#hiddenTimer);
    if (document.hidden) this.#hiddenTimer = setTimeout(() => this.#switchOff(), HIDDEN_MAX_MS);
  }

  #refreshText(): void {
    const parts = [
      this.#link && linkText(this.#link.name, performance.now() - this.#link.sinceMs),
      this.#load && loadText(this.#report),
      this.#problem,
    ].filter((part) => part !== undefined);
    const text = parts.join(' ') || IDLE_TEXT;
    if (this.#options.text.textContent !== text) this.#options.text.textContent = text;
  }
}

function loadText(report: LoadReport | undefined): string {
  if (!report) return 'The load: cameras are being connected.';
  const { sessions, offeredFps, sentFps, capacityFps } = report;
  if (sessions === 0) return 'The load: the server has ended all its sessions.';
  const able = capacityFps === undefined ? '' : ` The server can do ${count(capacityFps)}.`;
  return `The load: ${sessions} more cameras offer ${count(offeredFps)} frames/s, of which they may send ${count(sentFps)}.${able}`;
}

function count(value: number): string {
  return Math.round(value).toLocaleString('en');
}
