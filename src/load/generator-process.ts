import { systemClock } from '../base/clock.ts';
import type { ErrorCode } from '../base/errors.ts';
import { failureOf, Generator, type GeneratorOptions, type Progress } from './generator.ts';
import type { GeneratorResult } from './results.ts';

/**
 * The process with all connections of a load test: its own, so that its work is told apart from the server's and from that of the
 * command that watches it.
 */

export type GeneratorReply =
  | { readonly type: 'progress'; readonly progress: Progress }
  | { readonly type: 'done'; readonly result: GeneratorResult }
  | { readonly type: 'failed'; readonly code: ErrorCode; readonly message: string };

const stopper = new AbortController();

// A terminal's Ctrl+C comes to everybody; the parent decides, and ends this process by its pid.
process.on('SIGINT', () => undefined);
process.on('SIGTERM', () => process.exit());
process.on('disconnect', () => process.exit());
process.on('message', (message: GeneratorOptions | 'stop') => {
  if (message === 'stop') stopper.abort();
  else void run(message);
});

async function run(options: GeneratorOptions): Promise<void> {
  const generator = new Generator(options, {
    clock: systemClock,
    signal: stopper.signal,
    onProgress: (progress) => reply({ type: 'progress', progress }),
  });
  try {
    reply({ type: 'done', result: await generator.run() });
  } catch (thrown) {
    reply({ type: 'failed', ...failureOf(thrown) });
  }
}

function reply(message: GeneratorReply): void {
  process.send?.(message);
}
