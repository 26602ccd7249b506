import { Child } from '../../src/supervise/child.ts';
import { openParent } from '../../src/supervise/parent.ts';

/** Processes of our own that a benchmark calls functions of. */

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
  readonly #child: Child<Call, Reply>;
  readonly #signal: AbortSignal;
  readonly #pending = new Map<number, { resolve: (value: never) => void; reject: (error: Error) => void }>();
  #nextId = 1;

  /** `script`: a module that calls `offer`; `execArgv`: Node's own arguments for it. */
  constructor(script: URL, signal: AbortSignal, execArgv: readonly string[] = []) {
    this.#signal = signal;
    this.#child = Child.fork<Call, Reply>(script, {
      execArgv: [...process.execArgv, ...execArgv],
      onErrorOutput: (text) => process.stderr.write(text),
      onMessage: ({ id, value, error }) => {
        const call = this.#pending.get(id);
        this.#pending.delete(id);
        if (error === undefined) call?.resolve(value as never);
        else call?.reject(new Error(error));
      },
    });
    void this.#watch(script.pathname.split('/').at(-1)!);
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
        if (!this.#child.send({ id, name, argument }))
          reject(new Error(`${name} was not sent: too much waits, or it ended`));
      });
    } finally {
      clearTimeout(timer);
      this.#pending.delete(id);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child.stop();
  }

  async #watch(name: string): Promise<void> {
    const { text } = await this.#child.exited;
    this.#end(new Error(`${name} ${text}`));
  }

  #end(reason: Error): void {
    for (const { reject } of this.#pending.values()) reject(reason);
    this.#pending.clear();
  }
}

/** The other side of `Helper`. Ends with the process that asked for it. */
export function offer(api: Api): void {
  const answer = async ({ id, name, argument }: Call): Promise<Reply> => {
    try {
      return { id, value: await api[name]!(argument as never) };
    } catch (thrown) {
      return { id, error: thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown) };
    }
  };
  const parent = openParent<Call, Reply>({
    onMessage: async (call) => {
      parent.send(await answer(call));
    },
  });
}
