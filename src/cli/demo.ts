import { resolve } from 'node:path';
import type { Command } from 'commander';
import { APP_OPTION } from './apps.ts';
import type { CliContext } from './context.ts';
import { mcapName } from './record.ts';
import { SightlineError } from '../base/errors.ts';
import { addTo, isUrl, RECORD_OPTION, runServer, tlsOption, type ServerFlags } from './run-server.ts';

/** `sightline demo`: the server with a camera that needs no hardware. */
export function registerDemo(program: Command, context: CliContext): void {
  program
    .command('demo')
    .description('start the server with a demo camera, a simulated rover and their pages')
    .option('--port <n>', 'port to listen on (default 8080, 0 for any free one)')
    .option('--host <address>', 'address to listen on (default 127.0.0.1)')
    .addOption(tlsOption())
    .option(...APP_OPTION)
    .option(...RECORD_OPTION, mcapName)
    .option('--model <id>', 'model for sessions that name none (default ssd-oidv4)')
    .option(
      '--camera <what>',
      'a video file of yours as the demo camera, or the address of a camera that the server reads (rtsp://…); may be repeated',
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
      const cacheDir = context.config().models.cache_dir;
      await runServer(context, { ...flags, cameras }, async (log) => {
        const [{ makeDemoCamera }, { fetchNpmFile }] = await Promise.all([
          import('../sources/demo.ts'),
          import('../inference/npm-file.ts'),
        ]);
        const { signal } = context;
        const fetchPhotograph = (photograph: Parameters<typeof fetchNpmFile>[0]) =>
          fetchNpmFile(photograph, { signal });
        return await makeDemoCamera({ cacheDir, clip, fetchPhotograph, log, signal });
      });
    });
}
