import { systemClock } from '../base/clock.ts';
import type { ErrorCode } from '../base/errors.ts';
import { openParent } from '../supervise/parent.ts';
import { trustAuthority } from '../tls/trust.ts';
import { failureOf, Generator, type GeneratorOptions, type Progress } from './generator.ts';
import type { GeneratorResult } from './results.ts';

/**
 * The process with all connections of a load test: its own, so that its load is separate from the server's and from that of the
 * command that watches it.
 */

export type GeneratorReply =
  | { readonly type: 'progress'; readonly progress: Progress }
  | { readonly type: 'done'; readonly result: GeneratorResult }
  | { readonly type: 'failed'; readonly code: ErrorCode; readonly message: string };

export type GeneratorRequest = GeneratorOptions | 'stop';

const stopper = new AbortController();

const parent = openParent<GeneratorRequest, GeneratorReply>({
  onMessage: (message) => {
    if (message === 'stop') stopper.abort();
    else void run(message);
  },
});

async function run(options: GeneratorOptions): Promise<void> {
  options.authorities?.forEach(trustAuthority);
  const generator = new Generator(options, {
    clock: systemClock,
    signal: stopper.signal,
    onProgress: (progress) => parent.send({ type: 'progress', progress }),
  });
  try {
    parent.send({ type: 'done', result: await generator.run() });
  } catch (thrown) {
    parent.send({ type: 'failed', ...failureOf(thrown) });
  }
}
