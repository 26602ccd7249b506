import { systemClock, type Clock } from '../base/clock.ts';
import { ERRORS, SightlineError, type ErrorCode } from '../base/errors.ts';
import type { Config } from '../config/schema.ts';
import type { CliContext } from './context.ts';
import { readDocument, type MonitorDocument } from './monitor-document.ts';
import { ProcessTerminal, type Terminal } from './monitor-terminal.ts';
import { clean } from './monitor-text.ts';
import { monitorLine, monitorView, type MonitorState } from './monitor-view.ts';

export interface MonitorFlags {
  /** Of the two documents' common folder. */
  readonly url?: URL;
  /** Seconds. */
  readonly interval: number;
  readonly json?: boolean;
  readonly once?: boolean;
}

const ANSWER_TIMEOUT_MS = 5_000;
/** A thousand connections on a thousand topics take a few MiB. */
const ANSWER_BYTES_MAX = 64 * 2 ** 20;
/** What is printed once may be longer than a window, but not endless. */
const ONCE_ROWS = 200;

/** Ctrl+C is a key here: a terminal that hands on single keys sends no signal. */
const LEAVING_KEYS: ReadonlySet<string> = new Set(['q', 'Q', '\u0003', '\u0004']);
const PAUSING_KEYS: ReadonlySet<string> = new Set(['p', 'P', ' ']);

/** Where a server's documents are, and who asks. */
interface Address {
  /** Without credentials: it is shown. */
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
}

interface Reading {
  /** As the server sent them. */
  readonly health: unknown;
  readonly metrics: unknown;
  readonly document: MonitorDocument;
}

/** What the world gives to the monitor; tests give their own. */
export interface MonitorWorld {
  readonly clock: Clock;
  readonly terminal: Terminal;
}

/**
 * The command `sightline monitor`, once its words are understood. Resolves when somebody has left it. Errors: USAGE, CONFIG_*;
 * where no view is drawn over and over also CONNECTION_FAILED, CONNECTION_LOST and the server's refusals.
 */
export async function monitor(
  flags: MonitorFlags,
  context: CliContext,
  world: MonitorWorld = { clock: systemClock, terminal: new ProcessTerminal(context.env) },
): Promise<void> {
  const config = context.config();
  const address = addressOf(flags.url ?? ownUrl(config.server));
  const first: MonitorState = {
    url: address.url.href.replace(/\/$/, ''),
    budgetMs: config.performance.target_latency_ms,
    now: undefined,
    before: undefined,
    trouble: undefined,
    isPaused: false,
    hasKeys: false,
  };
  const pace = new Pace(flags.interval * 1000, world.clock);
  if (flags.json) await printJson(address, flags.once === true, pace, context);
  else if (flags.once) await printOnce(address, first, pace, context, world.terminal);
  else if (world.terminal.canRedraw) await watch(address, first, pace, context, world);
  else await printLines(address, pace, context);
}

async function printJson(address: Address, isOnce: boolean, pace: Pace, context: CliContext): Promise<void> {
  for await (const { health, metrics } of readings(address, pace, context.signal)) {
    context.out(jsonLine({ health, metrics }));
    if (isOnce) return;
  }
  if (isOnce) context.signal.throwIfAborted();
}

/** For a terminal too, which would obey a control character that JSON lets through. */
function jsonLine(value: unknown): string {
  return JSON.stringify(value).replaceAll(
    /[\u007F-\u009F]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

async function printLines(address: Address, pace: Pace, context: CliContext): Promise<void> {
  let before: MonitorDocument | undefined;
  for await (const { document } of readings(address, pace, context.signal)) {
    context.text(monitorLine(document, before));
    before = document;
  }
}

async function printOnce(
  address: Address,
  state: MonitorState,
  pace: Pace,
  context: CliContext,
  { columns, colour }: Terminal,
): Promise<void> {
  let before: MonitorDocument | undefined;
  for await (const { document: now } of readings(address, pace, context.signal)) {
    if (before !== undefined) {
      for (const line of monitorView({ ...state, now, before }, { columns, rows: ONCE_ROWS, colour }))
        context.out(line);
      return;
    }
    before = now;
  }
  context.signal.throwIfAborted();
}

/** A reading at every interval until the signal says so. Errors: CONNECTION_FAILED, CONNECTION_LOST, the server's refusals. */
async function* readings(address: Address, pace: Pace, signal: AbortSignal): AsyncGenerator<Reading> {
  let isFirst = true;
  while (!signal.aborted) {
    let reading: Reading;
    try {
      reading = await read(address, signal);
    } catch (thrown) {
      if (signal.aborted) return;
      if (isFirst || !(thrown instanceof SightlineError) || thrown.code !== 'CONNECTION_FAILED') throw thrown;
      throw new SightlineError('CONNECTION_LOST', `the server has gone: ${thrown.message}`, { cause: thrown });
    }
    isFirst = false;
    yield reading;
    await pace.next(signal);
  }
}

/** The live view: resolves when a key or the signal ends it. The terminal is given back however that is. */
async function watch(
  address: Address,
  first: MonitorState,
  pace: Pace,
  context: CliContext,
  { clock, terminal }: MonitorWorld,
): Promise<void> {
  const left = new AbortController();
  const signal = AbortSignal.any([context.signal, left.signal]);
  const failed = Promise.withResolvers<never>();
  let state: MonitorState = { ...first, hasKeys: true };
  let silentSinceMs: number | undefined;

  const change = (to: Partial<MonitorState>): void => {
    state = { ...state, ...to };
    terminal.draw(monitorView(state, terminal));
  };
  /** What fails in a callback ends the command as if it had failed in the loop. */
  const guarded =
    <A extends readonly unknown[]>(work: (...args: A) => void) =>
    (...args: A): void => {
      try {
        work(...args);
      } catch (thrown) {
        failed.reject(thrown);
      }
    };
  const onKey = (key: string): void => {
    if (LEAVING_KEYS.has(key)) left.abort();
    if (!PAUSING_KEYS.has(key)) return;
    change({ isPaused: !state.isPaused });
    if (!state.isPaused) pace.hurry();
  };
  const poll = async (): Promise<void> => {
    change({});
    while (!signal.aborted) {
      if (!state.isPaused) {
        const askedTimeMs = clock.now();
        try {
          const { document } = await read(address, signal);
          silentSinceMs = undefined;
          change({ before: state.now, now: document, trouble: undefined });
        } catch (thrown) {
          if (signal.aborted) return;
          if (!(thrown instanceof SightlineError)) throw thrown;
          silentSinceMs ??= askedTimeMs;
          change({ trouble: { message: thrown.message, lastsS: (clock.now() - silentSinceMs) / 1000 } });
        }
      }
      await pace.next(signal);
    }
  };

  try {
    terminal.open({
      onKey: guarded(onKey),
      onResize: guarded(() => change({})),
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
  #end: (() => void) | undefined;

  constructor(intervalMs: number, clock: Clock) {
    this.#intervalMs = intervalMs;
    this.#clock = clock;
    this.#dueTimeMs = clock.now();
  }

  /** Resolves, and never rejects, when the next turn is due, or at the signal. */
  async next(signal: AbortSignal): Promise<void> {
    const nowMs = this.#clock.now();
    this.#dueTimeMs = Math.max(this.#dueTimeMs + this.#intervalMs, nowMs);
    if (signal.aborted) return;
    await new Promise<void>((done) => {
      const timer = setTimeout(() => this.#end?.(), this.#dueTimeMs - nowMs);
      this.#end = () => {
        clearTimeout(timer);
        signal.removeEventListener('abort', this.#end!);
        this.#end = undefined;
        done();
      };
      signal.addEventListener('abort', this.#end, { once: true });
    });
  }

  /** The next turn is due now. */
  hurry(): void {
    if (this.#end === undefined) return;
    this.#dueTimeMs = this.#clock.now();
    this.#end();
  }
}

/** Errors: CONNECTION_FAILED, the server's refusals; the signal's reason. */
async function read(address: Address, signal: AbortSignal): Promise<Reading> {
  const [health, metrics] = await Promise.all(
    ['health', 'api/performance/metrics'].map((path) => readJson(new URL(path, address.url), address.headers, signal)),
  );
  const document = readDocument(health, metrics);
  if (document === undefined) {
    throw new SightlineError('CONNECTION_FAILED', `${address.url.href}: what answers there is no Sightline server`);
  }
  return { health, metrics, document };
}

async function readJson(url: URL, headers: Address['headers'], signal: AbortSignal): Promise<unknown> {
  try {
    const timeout = AbortSignal.timeout(ANSWER_TIMEOUT_MS);
    const response = await fetch(url, { headers, signal: AbortSignal.any([signal, timeout]) });
    const text = await boundedText(response);
    if (!response.ok) throw refusal(url, response.status, text);
    return JSON.parse(text);
  } catch (thrown) {
    signal.throwIfAborted();
    if (thrown instanceof SightlineError) throw thrown;
    throw new SightlineError('CONNECTION_FAILED', `${url.href}: ${clean(reasonOf(thrown))}`, { cause: thrown });
  }
}

async function boundedText(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length;
    if (bytes > ANSWER_BYTES_MAX) throw new Error(`the answer is larger than ${ANSWER_BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

/** What the server says of its refusal, where it is one of ours. */
function refusal(url: URL, status: number, text: string): SightlineError {
  const { code, message } = errorOf(text);
  if (typeof code === 'string' && Object.hasOwn(ERRORS, code) && typeof message === 'string') {
    return new SightlineError(code as ErrorCode, `${url.href}: ${clean(message)}`);
  }
  return new SightlineError('CONNECTION_FAILED', `${url.href}: it answers with HTTP status ${status}`);
}

function errorOf(text: string): { readonly code?: unknown; readonly message?: unknown } {
  try {
    return (JSON.parse(text) as { error?: object } | null)?.error ?? {};
  } catch {
    return {};
  }
}

/** `fetch` says only that it failed; why is in its cause, and where a name has several addresses in the causes of that. */
function reasonOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown);
  if (thrown.name === 'TimeoutError') return `no answer within ${ANSWER_TIMEOUT_MS / 1000} s`;
  if (thrown instanceof SyntaxError) return 'the answer is not JSON';
  if (thrown instanceof AggregateError && thrown.errors.length > 0) return reasonOf(thrown.errors[0]);
  return thrown.cause === undefined ? thrown.message : reasonOf(thrown.cause);
}

function addressOf(given: URL): Address {
  const url = new URL(given);
  const { username, password } = url;
  if (username === '' && password === '') return { url, headers: {} };
  // `fetch` takes no address with credentials in it.
  [url.username, url.password] = ['', ''];
  const credentials = Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`);
  return { url, headers: { authorization: `Basic ${credentials.toString('base64')}` } };
}

/** Where the server of this configuration listens, seen from the same machine. Errors: USAGE. */
function ownUrl({ host, port }: Config['server']): URL {
  if (port === 0)
    throw new SightlineError('USAGE', 'server.port is 0, any free one: say with --url where the server is');
  const near = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  return new URL(`http://${near.includes(':') ? `[${near}]` : near}:${port}/`);
}
