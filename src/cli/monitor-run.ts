import { setTimeout } from 'node:timers/promises';
import { systemClock, type Clock } from '../base/clock.ts';
import { SightlineError } from '../base/errors.ts';
import type { CliContext } from './context.ts';
import { tokenOf } from './options.ts';
import { readDocument, type MonitorDocument } from './monitor-document.ts';
import { ProcessTerminal, type Terminal } from './monitor-terminal.ts';
import { monitorLine, monitorView, type MonitorState } from './monitor-view.ts';
import { entranceOf, ownUrl, readJson } from './server-documents.ts';

export interface MonitorFlags {
  /** Of the two documents' common folder. */
  readonly url?: URL;
  readonly token?: string;
  /** Seconds. */
  readonly interval: number;
  readonly json?: boolean;
  readonly once?: boolean;
}

/** The monitor's world; tests give their own. */
export interface MonitorWorld {
  readonly clock: Clock;
  readonly terminal: Terminal;
}

interface Reading {
  /** As the server sent them. */
  readonly health: unknown;
  readonly metrics: unknown;
  readonly document: MonitorDocument;
}

/** Errors: CONNECTION_FAILED, the server's refusals; the signal's reason. */
type Read = (signal: AbortSignal) => Promise<Reading>;

/** Output that is printed once may be longer than a window, but not endless. */
const ONCE_ROWS = 200;
/** Ctrl+C is a key here: a terminal that hands on single keys sends no signal. */
const LEAVING_KEYS: ReadonlySet<string> = new Set(['q', 'Q', '\u0003', '\u0004']);
const PAUSING_KEYS: ReadonlySet<string> = new Set(['p', 'P', ' ']);

/**
 * The command `sightline monitor`, with its words parsed. Resolves when the user has left it. Errors: USAGE, CONFIG_*;
 * without a live view also CONNECTION_FAILED, CONNECTION_LOST and the server's refusals.
 */
export async function monitor(
  { url, token, interval, json: isJson = false, once: isOnce = false }: MonitorFlags,
  context: CliContext,
  { clock, terminal }: MonitorWorld = { clock: systemClock, terminal: new ProcessTerminal(context.env) },
): Promise<void> {
  const config = context.config();
  const { address, read } = serverAt(
    url ?? ownUrl(config.server),
    tokenOf(token === undefined ? {} : { token }, context),
  );
  const pace = new Pace(interval * 1000, clock);
  const state: MonitorState = {
    url: address.replace(/\/$/, ''),
    budgetMs: config.performance.target_latency_ms,
    now: undefined,
    before: undefined,
    trouble: undefined,
    isPaused: false,
    hasKeys: false,
  };
  if (!isJson && !isOnce && terminal.canRedraw) return await watch(read, state, pace, context.signal, clock, terminal);
  let before: MonitorDocument | undefined;
  for await (const { health, metrics, document: now } of readings(read, pace, context.signal)) {
    if (isJson) context.out(jsonLine({ health, metrics }));
    else if (!isOnce) context.text(monitorLine(now, before));
    else if (before)
      monitorView({ ...state, now, before }, { ...sizeOf(terminal), rows: ONCE_ROWS }).forEach(context.out);
    if (isOnce && (isJson || before)) return;
    before = now;
  }
  if (isOnce) context.signal.throwIfAborted();
}

function sizeOf({ columns, colour }: Terminal): Pick<Terminal, 'columns' | 'colour'> {
  return { columns, colour };
}

/** For a terminal too, which would obey a control character that JSON lets through. */
function jsonLine(value: unknown): string {
  return JSON.stringify(value).replaceAll(
    /[\u007F-\u009F]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** A reading at every interval until the signal says so. Errors: CONNECTION_FAILED, CONNECTION_LOST, the server's refusals. */
async function* readings(read: Read, pace: Pace, signal: AbortSignal): AsyncGenerator<Reading> {
  for (let isFirst = true; !signal.aborted; isFirst = false) {
    try {
      yield await read(signal);
    } catch (thrown) {
      if (signal.aborted) return;
      if (isFirst || !(thrown instanceof SightlineError) || thrown.code !== 'CONNECTION_FAILED') throw thrown;
      throw new SightlineError('CONNECTION_LOST', `the server has gone: ${thrown.message}`, { cause: thrown });
    }
    await pace.next(signal);
  }
}

/** The live view: resolves when a key or the signal ends it. It restores the terminal in any case. */
async function watch(
  read: Read,
  first: MonitorState,
  pace: Pace,
  outside: AbortSignal,
  clock: Clock,
  terminal: Terminal,
): Promise<void> {
  const left = new AbortController();
  const signal = AbortSignal.any([outside, left.signal]);
  const failed = Promise.withResolvers<never>();
  let state: MonitorState = { ...first, hasKeys: true };
  const change = (to: Partial<MonitorState> = {}): void => {
    state = { ...state, ...to };
    terminal.draw(monitorView(state, terminal));
  };
  /** An error in a callback ends the command as if it had come from the loop. */
  const guarded = (work: () => void): void => {
    try {
      work();
    } catch (thrown) {
      failed.reject(thrown);
    }
  };
  const pause = (): void => {
    change({ isPaused: !state.isPaused });
    if (!state.isPaused) pace.hurry();
  };
  const poll = async (): Promise<void> => {
    let silentSinceMs: number | undefined;
    for (change(); !signal.aborted; await pace.next(signal)) {
      if (state.isPaused) continue;
      const askedTimeMs = clock.now();
      try {
        const { document } = await read(signal);
        silentSinceMs = undefined;
        change({ before: state.now, now: document, trouble: undefined });
      } catch (thrown) {
        if (signal.aborted) return;
        if (!(thrown instanceof SightlineError)) throw thrown;
        silentSinceMs ??= askedTimeMs;
        change({ trouble: { message: thrown.message, lastsS: (clock.now() - silentSinceMs) / 1000 } });
      }
    }
  };
  try {
    terminal.open({
      onKey: (key) => {
        if (LEAVING_KEYS.has(key)) left.abort();
        if (PAUSING_KEYS.has(key)) guarded(pause);
      },
      onResize: () => guarded(change),
      onGone: () => left.abort(),
    });
    await Promise.race([poll(), failed.promise]);
  } finally {
    left.abort();
    terminal.close();
  }
}

/** Turns at one interval; a turn that took longer moves those after it. */
class Pace {
  readonly #intervalMs: number;
  readonly #clock: Clock;
  #dueTimeMs: number;
  #hurried = new AbortController();

  constructor(intervalMs: number, clock: Clock) {
    this.#intervalMs = intervalMs;
    this.#clock = clock;
    this.#dueTimeMs = clock.now();
  }

  /** Resolves, and never rejects, when the next turn is due, or at the signal. */
  async next(signal: AbortSignal): Promise<void> {
    const nowMs = this.#clock.now();
    this.#dueTimeMs = Math.max(this.#dueTimeMs + this.#intervalMs, nowMs);
    this.#hurried = new AbortController();
    const until = AbortSignal.any([signal, this.#hurried.signal]);
    await setTimeout(this.#dueTimeMs - nowMs, undefined, { signal: until }).catch(() => {});
  }

  /** The next turn is due now. */
  hurry(): void {
    this.#dueTimeMs = this.#clock.now();
    this.#hurried.abort();
  }
}

/** The function that asks a server, and the address to show: without credentials. */
function serverAt(given: URL, token: string | undefined): { readonly address: string; readonly read: Read } {
  const { url, headers } = entranceOf(given, token);
  const read: Read = async (signal) => {
    const paths = ['health', 'api/performance/metrics'];
    const [health, metrics] = await Promise.all(paths.map((path) => readJson(new URL(path, url), signal, headers)));
    const document = readDocument(health, metrics);
    if (document !== undefined) return { health, metrics, document };
    throw new SightlineError('CONNECTION_FAILED', `${url.href}: the answer is not from a Sightline server`);
  };
  return { address: url.href, read };
}
