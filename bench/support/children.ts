import { fork, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/** Child processes of a benchmark: each is ended by its own pid, however the benchmark ends. */

const STOP_TIMEOUT_MS = 8_000;
const ERR_CHARS_MAX = 8_192;

const running = new Set<ChildProcess>();
// The last resort, such as a second Ctrl+C: no time to ask politely.
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

function keep(child: ChildProcess): ChildProcess {
  running.add(child);
  child.once('exit', () => running.delete(child));
  child.once('error', () => running.delete(child));
  return child;
}

export function start(command: string, args: readonly string[], options: { env: NodeJS.ProcessEnv; cwd: string }) {
  const child = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
  keep(child);
  return child;
}

/** Resolves when it is gone; idempotent. */
export async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const gone = once(child, 'exit');
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
  await gone;
  clearTimeout(timer);
}

/** The end of what a process wrote, for an error's message. */
export function tailOf(stream: NodeJS.ReadableStream): () => string {
  let tail = '';
  stream.on('data', (chunk: Buffer) => (tail = (tail + chunk.toString()).slice(-ERR_CHARS_MAX)));
  return () => tail.trim();
}

/** Functions that a helper process offers; arguments and results are what the structured clone takes. */
export type Api = Readonly<Record<string, (argument: never) => unknown>>;

interface Call {
  readonly id: number;
  readonly name: string;
  readonly argument: unknown;
}

type Reply = { readonly id: number; readonly value?: unknown; readonly error?: string };

/** A process of our own that does what it is told, one call at a time or several. */
export class Helper<A extends Api> implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #signal: AbortSignal;
  readonly #pending = new Map<number, { resolve: (value: never) => void; reject: (error: Error) => void }>();
  #nextId = 1;

  /** `script`: a module that calls `offer`; `execArgv`: Node's own arguments for it. */
  constructor(script: URL, signal: AbortSignal, execArgv: readonly string[] = []) {
    this.#signal = signal;
    this.#child = keep(
      fork(fileURLToPath(script), {
        serialization: 'advanced',
        stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
        execArgv: [...process.execArgv, ...execArgv],
      }),
    );
    this.#child.on('message', ({ id, value, error }: Reply) => {
      const call = this.#pending.get(id);
      this.#pending.delete(id);
      if (error === undefined) call?.resolve(value as never);
      else call?.reject(new Error(error));
    });
    this.#child.on('exit', () => this.#end(new Error(`${script.pathname.split('/').at(-1)} ended`)));
    signal.addEventListener('abort', () => this.#end(signal.reason as Error), { once: true });
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** Rejects when the function throws, the process ends, the benchmark is aborted, or after `timeoutMs`. */
  async call<N extends keyof A & string>(
    name: N,
    argument: Parameters<A[N]>[0],
    timeoutMs = 60_000,
  ): Promise<Awaited<ReturnType<A[N]>>> {
    this.#signal.throwIfAborted();
    const id = this.#nextId++;
    let timer: NodeJS.Timeout | undefined;
    try {
      return await new Promise((resolve, reject) => {
        this.#pending.set(id, { resolve, reject });
        timer = setTimeout(() => reject(new Error(`${name} took longer than ${timeoutMs} ms`)), timeoutMs);
        this.#child.send({ id, name, argument } satisfies Call);
      });
    } finally {
      clearTimeout(timer);
      this.#pending.delete(id);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await stop(this.#child);
  }

  #end(reason: Error): void {
    for (const { reject } of this.#pending.values()) reject(reason);
    this.#pending.clear();
  }
}

/** The other side of `Helper`. Ends with the process that asked for it. */
export function offer(api: Api): void {
  process.on('disconnect', () => process.exit());
  process.on('message', async ({ id, name, argument }: Call) => {
    let reply: Reply;
    try {
      reply = { id, value: await api[name]!(argument as never) };
    } catch (thrown) {
      reply = { id, error: thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown) };
    }
    process.send!(reply);
  });
}
