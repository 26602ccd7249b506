import { createServer, type AddressInfo } from 'node:net';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Child, type ChildExit } from '../../src/supervise/child.ts';

const COMMAND = fileURLToPath(new URL('../../bin/sightline.js', import.meta.url));
const READY_TIMEOUT_MS = 60_000;
const REQUEST_TIMEOUT_MS = 5_000;

export interface ServerOptions {
  readonly command: 'serve' | 'demo' | 'replay';
  /** Flags of the command, beside the port. */
  readonly words?: readonly string[];
  /** Also the working directory. */
  readonly cacheDir: string;
  /** By path, such as `streaming.max_fps`; on top of the defaults: nothing of the user's own settings counts. */
  readonly settings?: Readonly<Record<string, string | number>>;
  /** Node's own arguments. */
  readonly nodeArgs?: readonly string[];
  /** Resident memory over which it is ended by SIGKILL. */
  readonly memoryBytesMax?: number;
  /** File descriptors that it may have open. */
  readonly descriptorsMax?: number;
  /** Gets its standard error, besides the tail that is kept. */
  readonly onErrorOutput?: (text: string) => void;
  readonly signal: AbortSignal;
}

interface Metrics {
  readonly process: Readonly<
    Record<'rss_bytes' | 'heap_used_bytes' | 'heap_resident_bytes' | 'external_bytes', number>
  >;
  readonly sessions: readonly unknown[];
  readonly engine: EngineCounts;
}

/** What an engine has done since the start. */
export interface EngineCounts {
  readonly workers: number;
  readonly busyMs: number;
  readonly completed: number;
  /** By program and models. */
  readonly work: readonly { readonly program: string; readonly workerMs: number }[];
}

/** The real command, as a user starts it, in a process of its own. */
export class Server implements AsyncDisposable {
  readonly url: string;
  /** When the process was asked for, on `performance.now()`. */
  readonly startedMs: number;
  readonly #child: Child;
  readonly #signal: AbortSignal;
  readonly #ready: Promise<void>;

  private constructor(child: Child, url: string, startedMs: number, signal: AbortSignal) {
    this.#child = child;
    this.url = url;
    this.startedMs = startedMs;
    this.#signal = signal;
    this.#ready = untilReady(child, signal);
    // Whoever waits for it is told; that nobody does is no reason to end the benchmark.
    this.#ready.catch(() => {});
  }

  /** Returns at once: what happens before the server is ready is what is measured. */
  static async launch({
    command,
    words = [],
    cacheDir,
    settings = {},
    nodeArgs = [],
    memoryBytesMax,
    descriptorsMax,
    onErrorOutput,
    signal,
  }: ServerOptions): Promise<Server> {
    const port = await freePort();
    const own = Object.entries(process.env).filter(([name]) => !name.startsWith('SIGHTLINE_'));
    // Whatever keys and cameras this user has, they are not for it.
    const all = { 'models.cache_dir': cacheDir, 'auth.loopback': 'open', 'store.mode': 'memory', ...settings };
    const given = Object.entries(all).map(([path, value]) => [
      `SIGHTLINE_${path.replaceAll('.', '__').toUpperCase()}`,
      String(value),
    ]);
    const startedMs = performance.now();
    const argv = [process.execPath, ...nodeArgs, COMMAND, command, ...words, '--port', String(port)];
    // Both limits: Node raises the soft one to the hard one.
    const limited = ['/bin/sh', '-c', `ulimit -n ${descriptorsMax} && exec "$0" "$@"`, ...argv];
    const [program, ...args] = descriptorsMax === undefined ? argv : limited;
    const child = Child.spawn(program!, args, {
      stdout: 'pipe',
      ...(memoryBytesMax !== undefined && { limits: { memoryBytesMax } }),
      ...(onErrorOutput && { onErrorOutput }),
      channel: true,
      cwd: cacheDir,
      env: Object.fromEntries([...own, ...given]) as NodeJS.ProcessEnv,
    });
    return new Server(child, `http://127.0.0.1:${port}`, startedMs, signal);
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** Its process has ended. */
  get isGone(): boolean {
    return this.#child.isGone;
  }

  /** Ends it by SIGTERM, and by SIGKILL where that does not help in some seconds; tells how it ended, also if that was long before. */
  stop(): Promise<ChildExit> {
    return this.#child.stop();
  }

  /** Resolves when the server says that it is ready; rejects when it ends instead. */
  ready(): Promise<void> {
    return this.#ready;
  }

  async metrics(): Promise<Metrics> {
    return await this.json<Metrics>('/api/performance/metrics');
  }

  /** Rejects after `timeoutMs`. */
  async json<T>(path: string, timeoutMs = REQUEST_TIMEOUT_MS): Promise<T> {
    return (await (await this.#get(path, timeoutMs)).json()) as T;
  }

  /** Asks again and again until there is an answer at all, whatever it is; then it gives its status. */
  async firstAnswer(path: string, everyMs: number, timeoutMs: number): Promise<number> {
    const deadlineMs = performance.now() + timeoutMs;
    for (;;) {
      try {
        const response = await this.#get(path, timeoutMs);
        await response.body?.cancel();
        return response.status;
      } catch (thrown) {
        this.#signal.throwIfAborted();
        if (performance.now() > deadlineMs || this.#child.isGone) throw thrown;
        await sleep(everyMs, undefined, { signal: this.#signal });
      }
    }
  }

  /** How long a whole answer takes, ms, whatever its status; `timeoutMs` when it takes longer or does not come. */
  async answerMs(path: string, timeoutMs: number): Promise<number> {
    const startMs = performance.now();
    try {
      await (await this.#get(path, timeoutMs)).arrayBuffer();
      return Math.min(timeoutMs, performance.now() - startMs);
    } catch {
      this.#signal.throwIfAborted();
      return timeoutMs;
    }
  }

  async engine(): Promise<EngineCounts> {
    return (await this.metrics()).engine;
  }

  async rssBytes(): Promise<number> {
    return (await this.metrics()).process.rss_bytes;
  }

  /** Waits until every session is over, after `timeoutMs` at the latest. */
  async withoutSessions(timeoutMs: number): Promise<void> {
    const deadlineMs = performance.now() + timeoutMs;
    while ((await this.metrics()).sessions.length > 0 && performance.now() < deadlineMs) {
      await sleep(200, undefined, { signal: this.#signal });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child.stop();
  }

  #get(path: string, timeoutMs = REQUEST_TIMEOUT_MS): Promise<Response> {
    return fetch(this.url + path, { signal: AbortSignal.any([this.#signal, AbortSignal.timeout(timeoutMs)]) });
  }
}

async function untilReady(child: Child, signal: AbortSignal): Promise<void> {
  const timer = setTimeout(() => void child.stop(), READY_TIMEOUT_MS);
  const lines = createInterface({ input: child.stdout!, signal });
  try {
    for await (const line of lines) if (line.startsWith('ready ')) return;
    // Whoever was interrupted stops it, and does not wait for it.
    signal.throwIfAborted();
    const { errorTail } = await child.exited;
    signal.throwIfAborted();
    throw new Error(`the server ended before it was ready:\n${errorTail}`);
  } finally {
    clearTimeout(timer);
    child.stdout!.resume();
  }
}

/** A port that was free a moment ago: the server's own choice (port 0) is known only when it is ready. */
async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, 'close');
  return port;
}
