import type { CliContext } from './context.ts';

/** What `serve` and `demo` share: flags, the line that says `ready`, and an orderly end. */

export interface ServerFlags {
  readonly port?: string;
  readonly host?: string;
  readonly model?: string;
}

export interface RunServerOptions {
  readonly version: string;
  /** Makes the clip that the page plays as its demo camera; resolves to a path. */
  readonly makeCamera?: () => Promise<string>;
}

/** Resolves when the server has stopped, after the context's signal. Errors: CONFIG_*, ADDRESS_*, MODEL_UNKNOWN. */
export async function runServer(context: CliContext, flags: ServerFlags, options: RunServerOptions): Promise<void> {
  const config = context.config({
    'server.port': flags.port,
    'server.host': flags.host,
    'detection.model': flags.model,
  });
  // ONNX Runtime and FFmpeg take their time to load: not before the command line is known to be right.
  const { createSightline } = await import('../app.ts');
  await using app = await createSightline({ config, version: options.version, say: (line) => context.err(line) });
  context.out(`ready ${app.url}`);
  if (options.makeCamera) app.startCamera(options.makeCamera);
  await untilAborted(context.signal);
  context.err('stopping');
}

function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}
