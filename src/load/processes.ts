import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { SightlineError } from '../base/errors.ts';
import { Child } from '../supervise/child.ts';
import { trustedAuthorities } from '../tls/trust.ts';
import type { GeneratorOptions, Progress } from './generator.ts';
import type { GeneratorReply, GeneratorRequest } from './generator-process.ts';
import type { GeneratorResult } from './results.ts';

/** The load tester's child processes, each ended by its own pid however the command ends. */

const READY_TIMEOUT_MS = 60_000;
/** Time to report the measurements so far after a stop. */
const PARTIAL_TIMEOUT_MS = 2_000;
/** Its one thread is busy, but not for this long at a stretch. */
const SILENCE_MS = 30_000;
/** `.ts` in the clone, `.js` in the package: as this file. */
const ENDING = import.meta.url.slice(import.meta.url.lastIndexOf('.'));
const GENERATOR = new URL(`generator-process${ENDING}`, import.meta.url);
const COMMAND = fileURLToPath(new URL('../../bin/sightline.js', import.meta.url));

/**
 * One load test in a process of its own; stopped by the signal it returns the measurements so far (`partial`). Errors: those that
 * the generator met, INTERNAL when it died; the signal's reason, when nothing was measured.
 */
export async function runGenerator(
  options: GeneratorOptions,
  signal: AbortSignal,
  onProgress: (progress: Progress) => void,
): Promise<GeneratorResult> {
  signal.throwIfAborted();
  const ended = Promise.withResolvers<GeneratorResult>();
  await using child = Child.fork<GeneratorRequest, GeneratorReply>(GENERATOR, {
    limits: { silenceMs: SILENCE_MS },
    onMessage: (reply) => {
      if (reply.type === 'progress') onProgress(reply.progress);
      else if (reply.type === 'done') ended.resolve(reply.result);
      else if (signal.aborted) ended.reject(signal.reason as Error);
      else ended.reject(new SightlineError(reply.code, reply.message));
    },
  });
  let timer: NodeJS.Timeout | undefined;
  const onAbort = (): void => {
    child.send('stop');
    timer = setTimeout(() => ended.reject(signal.reason as Error), PARTIAL_TIMEOUT_MS);
  };
  signal.addEventListener('abort', onAbort, { once: true });
  child.send({ ...options, authorities: trustedAuthorities() });
  try {
    return await Promise.race([ended.promise, diedOf(child)]);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
  }
}

/** Rejects when it ends; a caller that has its answer by then ignores it. */
async function diedOf(child: Child<GeneratorRequest, GeneratorReply>): Promise<never> {
  const { text, errorTail } = await child.exited;
  throw new SightlineError('INTERNAL', `the load generator ${text}: ${errorTail}`);
}

/** `sightline serve` on a free port, with the caller's settings. */
export class PrivateServer implements AsyncDisposable {
  readonly url: string;
  readonly #child: Child;

  private constructor(child: Child, url: string) {
    this.#child = child;
    this.url = url;
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** `words` go in front of the command, such as `--set telemetry.compression=none`. Errors: INTERNAL, with its output. */
  static async start(
    words: readonly string[],
    env: Readonly<Record<string, string | undefined>>,
    signal: AbortSignal,
  ): Promise<PrivateServer> {
    signal.throwIfAborted();
    // Whatever keys and cameras this user has, they are not for it.
    const own = ['auth.loopback=open', 'store.mode=memory'].flatMap((setting) => ['--set', setting]);
    const command = [COMMAND, ...words, ...own, 'serve', '--port', '0'];
    const child = Child.spawn(process.execPath, command, { env, stdout: 'pipe', channel: true });
    const stop = (): void => void child.stop();
    const timer = setTimeout(stop, READY_TIMEOUT_MS);
    signal.addEventListener('abort', stop, { once: true });
    try {
      for await (const line of createInterface({ input: child.stdout! })) {
        const url = /^ready (http:\/\/\S+)$/.exec(line)?.[1];
        if (url === undefined) continue;
        child.stdout!.resume();
        return new PrivateServer(child, url);
      }
      const { errorTail } = await child.exited;
      signal.throwIfAborted();
      throw new SightlineError('INTERNAL', `the private server ended before it was ready: ${errorTail}`);
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', stop);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child.stop();
  }
}
