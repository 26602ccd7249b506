import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const command = fileURLToPath(new URL('../../bin/sightline.js', import.meta.url));

/** So many files may a process have open; of a POSIX system only. */
export function withDescriptors(max: number): string[] {
  return ['sh', '-c', `ulimit -n ${max}; exec "$@"`, 'sh'];
}

/** Its engine as a user has it, for tests of that: the others make do with one worker (`vitest.config.ts`). */
export const ALL_WORKERS = { SIGHTLINE_INFERENCE__WORKERS: '0' };

/** The real command in a process of its own, as a user starts it. */
export class ServerProcess implements AsyncDisposable {
  readonly child: ChildProcess;
  readonly url: string;
  /** What it had written to standard error by the time that it was ready. */
  readonly errAtStart: string;
  #err = '';

  private constructor(child: ChildProcess, url: string, errAtStart: string) {
    this.child = child;
    this.url = url;
    this.errAtStart = errAtStart;
    child.stderr!.on('data', (chunk: Buffer) => (this.#err += chunk.toString()));
  }

  /**
   * `sightline <words>`, on a free port unless told otherwise; resolves when it says that it is ready. `within`: what stands before it on the
   * command line, and ends by becoming it.
   */
  static async start(
    words: readonly string[] = ['serve'],
    env: Record<string, string> = {},
    { within = [], port = '0' }: { readonly within?: readonly string[]; readonly port?: string } = {},
  ): Promise<ServerProcess> {
    const [program = '', ...rest] = [...within, process.execPath, command, ...words, '--port', port];
    const child = spawn(program, rest, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
    let err = '';
    const keep = (chunk: Buffer): void => void (err += chunk.toString());
    child.stderr.on('data', keep);
    for await (const line of createInterface({ input: child.stdout })) {
      const url = /^ready (https?:\/\/\S+)$/.exec(line)?.[1];
      if (!url) continue;
      child.stderr.off('data', keep);
      child.stdout.resume();
      return new ServerProcess(child, url, err);
    }
    throw new Error(`the server ended before it was ready:\n${err}`);
  }

  /** What it has written to standard error since then. */
  get err(): string {
    return this.#err;
  }

  ws(path: string): string {
    return this.url.replace('http', 'ws') + path;
  }

  async json<T>(path: string): Promise<T> {
    const response = await fetch(this.url + path);
    return (await response.json()) as T;
  }

  /** Ends it by a signal; resolves to its exit code (null when the signal ended it). */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return this.child.exitCode;
    this.child.kill(signal);
    const [code] = (await once(this.child, 'exit')) as [number | null];
    return code;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop('SIGKILL');
  }
}
