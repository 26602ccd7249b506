import { spawn, type ChildProcess } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import type { Duplex, Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { systemClock, type Clock } from '../base/clock.ts';
import { CHANNEL_FD, DATA_FD, WAITING_MAX, type Envelope } from './envelope.ts';
import { MessageOutbox } from './outbox.ts';

/**
 * How a child ended: by itself, well (`ended`) or not (`failed`); by a foreign signal (`signal`); on request
 * (`stopped`); over one of its limits (`hung`, `timeout`, `memory`, `output`); or it never began (`unstartable`).
 */
export const EXIT_CAUSES = [
  'ended',
  'failed',
  'signal',
  'stopped',
  'hung',
  'timeout',
  'memory',
  'output',
  'unstartable',
] as const;
export type ExitCause = (typeof EXIT_CAUSES)[number];

export interface ChildExit {
  readonly cause: ExitCause;
  /** What happened, as the end of a sentence: `was ended by SIGSEGV`. */
  readonly text: string;
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** The last part of its standard error. */
  readonly errorTail: string;
  readonly lifeMs: number;
}

/** A child over one of these is ended by SIGKILL at once. Not given: without limit. */
export interface ChildLimits {
  /** From the start on, milliseconds. */
  readonly wallMs?: number;
  /** Resident memory, bytes. Watched on Linux only: elsewhere the operating system's own limit holds. */
  readonly memoryBytesMax?: number;
  /** How often that is looked at; default 50 ms. Each look reads a file of the kernel's. */
  readonly memoryIntervalMs?: number;
  /** Of standard output, where it is read, and standard error together, since the start, bytes. */
  readonly outputBytesMax?: number;
  /** A child that leaves a heartbeat unanswered for this long, after its first one, hangs. It has to call `openParent`. */
  readonly silenceMs?: number;
  /** Time for that first one; default 30 s. */
  readonly startMs?: number;
}

export interface ChildOptions<From> {
  readonly limits?: ChildLimits;
  /** Between SIGTERM and SIGKILL, when it is stopped; default 8 s. */
  readonly graceMs?: number;
  /** Messages that may wait for the child; one more is refused. Default 256. */
  readonly waitingMax?: number;
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** On top of this process's own, where no `env` is given: what a library of the child's reads there. */
  readonly envMore?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** `pipe`: the caller reads `stdout`. Default: it is ignored. */
  readonly stdout?: 'ignore' | 'pipe';
  /** Gets all its standard error, besides the tail that is kept. */
  readonly onErrorOutput?: (text: string) => void;
  readonly onMessage?: (message: From) => void;
  readonly clock?: Clock;
}

export interface ForkOptions<From> extends ChildOptions<From> {
  readonly args?: readonly string[];
  /** Arguments of Node itself. */
  readonly execArgv?: readonly string[];
  /** A pipe for data in both directions, beside the channel: the child has its end by `openData`, the caller by `data`. Default: none. */
  readonly hasData?: boolean;
}

export interface ChildCounts {
  readonly sent: number;
  /** Messages that were not sent, because too many waited or the child was gone. */
  readonly refused: number;
  readonly waiting: number;
  readonly received: number;
  readonly outputBytes: number;
}

const GRACE_MS = 8_000;
const START_MS = 30_000;
const TAIL_CHARS_MAX = 8_192;
const MEMORY_INTERVAL_MS = 50;
/** Interval of heartbeats, as a share of the silence that is allowed. */
const PINGS_PER_SILENCE = 4;
/** Time for output that is still in the pipes of a process that is gone: one of its own children may hold them open. */
const PIPES_TIMEOUT_MS = 500;

/** A process that ends without stopping its children first must not leave them behind. */
const running = new Set<ChildProcess>();
let isWatchingExit = false;

function remember(child: ChildProcess): void {
  running.add(child);
  child.once('exit', () => running.delete(child));
  child.once('error', () => running.delete(child));
  if (isWatchingExit) return;
  isWatchingExit = true;
  process.on('exit', () => {
    for (const left of running) left.kill('SIGKILL');
  });
}

/**
 * A supervised child process, for one life: messages in both directions, limits, an end by its own pid, and the reason of its end.
 * When this process ends, however it does, the child goes with it: a child that called `openParent` ends when its channel closes.
 */
export class Child<To = never, From = never> implements AsyncDisposable {
  /** Resolves when it is gone; never rejects. */
  readonly exited: Promise<ChildExit>;
  readonly #child: ChildProcess;
  readonly #limits: ChildLimits;
  readonly #graceMs: number;
  readonly #clock: Clock;
  readonly #startedMs: number;
  readonly #outbox: MessageOutbox<Envelope<To>>;
  readonly #timers: NodeJS.Timeout[] = [];
  #errorTail = '';
  #outputBytes = 0;
  #received = 0;
  #cause: 'stopped' | 'hung' | 'timeout' | 'memory' | 'output' | undefined;
  /** Time of its last heartbeat; before the first one, the time until when it may go without. */
  #heardMs: number;
  #isGone = false;

  /** A module of Node's, which calls `openParent`. */
  static fork<To, From>(script: URL, options: ForkOptions<From> = {}): Child<To, From> {
    const { execArgv = [], args = [] } = options;
    return new Child<To, From>(process.execPath, [...execArgv, fileURLToPath(script), ...args], options, {
      hasChannel: true,
      hasData: options.hasData === true,
    });
  }

  /** Any program. With a `channel`, Node's IPC channel tells it when this process has gone. */
  static spawn(
    command: string,
    args: readonly string[],
    options: ChildOptions<never> & { readonly channel?: boolean } = {},
  ): Child {
    return new Child(command, args, options, { hasChannel: options.channel === true, hasData: false });
  }

  private constructor(
    command: string,
    args: readonly string[],
    options: ChildOptions<From>,
    { hasChannel, hasData }: { readonly hasChannel: boolean; readonly hasData: boolean },
  ) {
    const {
      limits = {},
      graceMs = GRACE_MS,
      waitingMax = WAITING_MAX,
      clock = systemClock,
      stdout = 'ignore',
    } = options;
    this.#limits = limits;
    this.#graceMs = graceMs;
    this.#clock = clock;
    this.#startedMs = clock.now();
    this.#heardMs = this.#startedMs + (limits.startMs ?? START_MS);
    const stdio: ('ignore' | 'pipe' | 'ipc')[] = ['ignore', stdout, 'pipe'];
    if (hasChannel) stdio[CHANNEL_FD] = 'ipc';
    if (hasData) stdio[DATA_FD] = 'pipe';
    this.#child = spawn(command, args, {
      stdio,
      serialization: 'advanced',
      ...envOf(options),
      ...(options.cwd !== undefined && { cwd: options.cwd }),
    });
    remember(this.#child);
    this.#outbox = new MessageOutbox(waitingMax, (envelope, done) => {
      // An error means that the child has gone, which is reported elsewhere.
      this.#child.send(envelope, undefined, {}, done);
    });
    this.#child.stderr!.on('data', (chunk: Buffer) => {
      const text = chunk.toString();
      this.#errorTail = (this.#errorTail + text).slice(-TAIL_CHARS_MAX);
      options.onErrorOutput?.(text);
      this.#count(chunk);
    });
    this.#child.stdout?.on('data', (chunk: Buffer) => this.#count(chunk));
    // It flows when the caller reads it.
    this.#child.stdout?.pause();
    // An error means that the child has gone, which is reported elsewhere.
    this.data?.on('error', () => undefined);
    this.#child.on('message', (envelope: Envelope<From>) => {
      this.#heardMs = this.#clock.now();
      if (envelope.kind !== 'message') return;
      this.#received++;
      options.onMessage?.(envelope.body);
    });
    this.exited = this.#untilExited(hasChannel);
    this.#watch();
  }

  /** Undefined: it could not be started. */
  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Where the caller asked for it. */
  get stdout(): Readable | null {
    return this.#child.stdout;
  }

  /** The pipe that it was forked with. It flows when the caller reads it; unread, it holds up the child's writing. */
  get data(): Duplex | null {
    return (this.#child.stdio[DATA_FD] as Duplex | undefined) ?? null;
  }

  get errorTail(): string {
    return this.#errorTail.trim();
  }

  /** Its process has ended, though its output may still be in transit. */
  get isGone(): boolean {
    return this.#isGone;
  }

  get counts(): ChildCounts {
    return { ...this.#outbox.counts, received: this.#received, outputBytes: this.#outputBytes };
  }

  /** False: too many messages wait, or the child is gone; the message is not sent, which is counted. */
  send(message: To): boolean {
    if (!this.#child.connected) return this.#outbox.refuse();
    return this.#outbox.send({ kind: 'message', body: message });
  }

  /** SIGTERM, and SIGKILL after the grace time. Idempotent. */
  async stop(): Promise<ChildExit> {
    if (!this.#isGone && this.#cause === undefined) {
      this.#cause = 'stopped';
      this.#child.kill('SIGTERM');
      this.#timers.push(setTimeout(() => this.#child.kill('SIGKILL'), this.#graceMs));
    }
    return await this.exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  #watch(): void {
    const { wallMs, memoryBytesMax, memoryIntervalMs = MEMORY_INTERVAL_MS, silenceMs } = this.#limits;
    if (wallMs !== undefined) this.#timers.push(setTimeout(() => this.#end('timeout'), wallMs));
    if (silenceMs !== undefined) this.#listen(silenceMs);
    if (memoryBytesMax === undefined) return;
    const check = async (): Promise<void> => {
      if ((await residentBytes(this.#child.pid)) > memoryBytesMax) this.#end('memory');
    };
    this.#timers.push(setInterval(() => void check(), memoryIntervalMs));
  }

  /** Asks for heartbeats. A parent that was held up itself could not listen: then the silence begins anew. */
  #listen(silenceMs: number): void {
    const intervalMs = silenceMs / PINGS_PER_SILENCE;
    let lastMs = this.#clock.now();
    const timer = setInterval(() => {
      const nowMs = this.#clock.now();
      const wasHeldUp = nowMs - lastMs > 2 * intervalMs;
      lastMs = nowMs;
      if (wasHeldUp) this.#heardMs = Math.max(this.#heardMs, nowMs);
      else if (nowMs - this.#heardMs > silenceMs) this.#end('hung');
      if (this.#child.connected) this.#child.send({ kind: 'ping' } satisfies Envelope<To>, () => {});
    }, intervalMs);
    this.#timers.push(timer);
  }

  #count({ length }: Buffer): void {
    this.#outputBytes += length;
    if (this.#outputBytes > (this.#limits.outputBytesMax ?? Infinity)) this.#end('output');
  }

  #end(cause: 'hung' | 'timeout' | 'memory' | 'output'): void {
    if (this.#isGone || this.#cause !== undefined) return;
    this.#cause = cause;
    this.#child.kill('SIGKILL');
  }

  async #untilExited(hasChannel: boolean): Promise<ChildExit> {
    const child = this.#child;
    const disconnected = hasChannel
      ? new Promise<void>((resolve) => child.once('disconnect', () => resolve()))
      : undefined;
    const closed = new Promise<void>((resolve) => child.stderr!.once('close', () => resolve()));
    const failure = await new Promise<Error | undefined>((resolve) => {
      child.once('exit', () => resolve(undefined));
      child.on('error', (error) => {
        // Others are of messages that could not be sent.
        if (child.pid === undefined) resolve(error);
      });
    });
    this.#isGone = true;
    for (const timer of this.#timers) clearTimeout(timer);
    if (failure === undefined) {
      // Its last output may come after its end.
      const timeout = Promise.withResolvers<void>();
      const timer = setTimeout(() => timeout.resolve(), PIPES_TIMEOUT_MS);
      await Promise.race([Promise.all([disconnected, closed]), timeout.promise]);
      clearTimeout(timer);
    }
    const { exitCode: code, signalCode: signal } = child;
    const cause = failure ? 'unstartable' : (this.#cause ?? (signal ? 'signal' : code === 0 ? 'ended' : 'failed'));
    return {
      cause,
      text: failure ? `cannot be started: ${failure.message}` : this.#inWords(cause),
      code,
      signal,
      errorTail: this.errorTail,
      lifeMs: this.#clock.now() - this.#startedMs,
    };
  }

  #inWords(cause: ExitCause): string {
    const { wallMs, memoryBytesMax, outputBytesMax, silenceMs } = this.#limits;
    const { exitCode, signalCode } = this.#child;
    if (cause === 'timeout') return `did not end within ${wallMs} ms`;
    if (cause === 'memory') return `took more than ${memoryBytesMax} bytes of memory`;
    if (cause === 'output') return `wrote more than ${outputBytesMax} bytes`;
    if (cause === 'hung') return `gave no sign of life for ${silenceMs} ms`;
    return signalCode ? `was ended by ${signalCode}` : `left with exit code ${exitCode}`;
  }
}

function envOf({ env, envMore }: ChildOptions<never>): { env?: NodeJS.ProcessEnv } {
  if (env) return { env: env as NodeJS.ProcessEnv };
  return envMore ? { env: { ...process.env, ...envMore } } : {};
}

/** Resident memory of a process by Linux' proc(5), `VmRSS` of `status`; 0 where it is unknown. */
async function residentBytes(pid: number | undefined): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'latin1').catch(() => '');
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024;
}
