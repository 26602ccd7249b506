import type { CliContext } from './context.ts';

/** What `serve` and `demo` share: flags, the line that says `ready`, and an orderly end. */

export interface ServerFlags {
  readonly port?: string;
  readonly host?: string;
  readonly model?: string;
}

/**
 * `makeCamera` makes the clip that the page plays as its demo camera. Resolves when the server has stopped, after the
 * context's signal. Errors: CONFIG_*, ADDRESS_*, MODEL_*.
 */
export async function runServer(
  context: CliContext,
  flags: ServerFlags,
  makeCamera?: () => Promise<string>,
): Promise<void> {
  const config = context.config({
    'server.port': flags.port,
    'server.host': flags.host,
    'detection.model': flags.model,
  });
  // ONNX Runtime and FFmpeg take their time to load: not before the command line is known to be right.
  const { openServer } = await import('../app.ts');
  await using app = await openServer({ config, say: (line) => context.err(line) });
  context.out(`ready ${app.url}`);
  if (makeCamera) context.err(`Open ${app.url} in a browser. Ctrl+C stops the server.`);
  if (makeCamera) app.startCamera(makeCamera);
  await untilAborted(context.signal);
  context.err('stopping');
}

function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
