import { fork, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { SightlineError } from '../base/errors.ts';
import type { GeneratorOptions, Progress } from './generator.ts';
import type { GeneratorReply } from './generator-process.ts';
import type { GeneratorResult } from './results.ts';

/** The load tester's child processes, each ended by its own pid however the command ends. */

const STOP_TIMEOUT_MS = 8_000;
const READY_TIMEOUT_MS = 60_000;
/** For what was measured until a stop. */
const PARTIAL_TIMEOUT_MS = 2_000;
const ERR_CHARS_MAX = 4_096;
/** `.ts` in the clone, `.js` in the package: as this file. */
const ENDING = import.meta.url.slice(import.meta.url.lastIndexOf('.'));
const GENERATOR = fileURLToPath(new URL(`generator-process${ENDING}`, import.meta.url));
const COMMAND = fileURLToPath(new URL('../../bin/sightline.js', import.meta.url));

/**
 * One load test in a process of its own; stopped by the signal it gives what was measured until then (`partial`). Errors: what the
 * generator met, INTERNAL when it died; the signal's reason, when nothing was measured.
 */
export async function runGenerator(
  options: GeneratorOptions,
  signal: AbortSignal,
  onProgress: (progress: Progress) => void,
): Promise<GeneratorResult> {
  signal.throwIfAborted();
  const child = fork(GENERATOR, { serialization: 'advanced', stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
  const errors = tailOf(child.stderr!);
  const ended = Promise.withResolvers<GeneratorResult>();
  child.on('message', (reply: GeneratorReply) => {
    if (reply.type === 'progress') onProgress(reply.progress);
    else if (reply.type === 'done') ended.resolve(reply.result);
    else if (signal.aborted) ended.reject(signal.reason as Error);
    else ended.reject(new SightlineError(reply.code, reply.message));
  });
  child.on('exit', (code) =>
    ended.reject(new SightlineError('INTERNAL', `the load generator ended with ${code}: ${errors()}`)),
  );
  let timer: NodeJS.Timeout | undefined;
  const onAbort = (): void => {
    if (child.connected) child.send('stop');
    timer = setTimeout(() => ended.reject(signal.reason as Error), PARTIAL_TIMEOUT_MS);
  };
  signal.addEventListener('abort', onAbort, { once: true });
  child.send(options);
  try {
    return await ended.promise;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
    await stop(child);
  }
}

/** `sightline serve` on a free port, with the settings of whoever asks for it. */
export class PrivateServer implements AsyncDisposable {
  readonly url: string;
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess, url: string) {
    this.#child = child;
    this.url = url;
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** `words` go in front of the command, such as `--set telemetry.compression=none`. Errors: INTERNAL, with what it said. */
  static async start(
    words: readonly string[],
    env: Readonly<Record<string, string | undefined>>,
    signal: AbortSignal,
  ): Promise<PrivateServer> {
    signal.throwIfAborted();
    const child = spawn(process.execPath, [COMMAND, ...words, 'serve', '--port', '0'], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: env as NodeJS.ProcessEnv,
    });
    const errors = tailOf(child.stderr);
    const timer = setTimeout(() => child.kill('SIGKILL'), READY_TIMEOUT_MS);
    const onAbort = (): void => void child.kill('SIGTERM');
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      for await (const line of createInterface({ input: child.stdout })) {
        const url = /^ready (http:\/\/\S+)$/.exec(line)?.[1];
        if (url === undefined) continue;
        child.stdout.resume();
        return new PrivateServer(child, url);
      }
      signal.throwIfAborted();
      throw new SightlineError('INTERNAL', `the private server ended before it was ready: ${errors()}`);
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await stop(this.#child);
  }
}

/** Resolves when it is gone; idempotent. */
async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const gone = once(child, 'exit');
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
  await gone;
  clearTimeout(timer);
}

/** The end of what a process wrote, for an error's message. */
function tailOf(stream: NodeJS.ReadableStream): () => string {
  let tail = '';
  stream.on('data', (chunk: Buffer) => (tail = (tail + chunk.toString()).slice(-ERR_CHARS_MAX)));
  return () => tail.trim();
}
