import { resolve } from 'node:path';
import type { Command } from 'commander';
import { APP_OPTION } from './apps.ts';
import type { CliContext } from './context.ts';
import { mcapName } from './record.ts';
import { RECORD_OPTION, runServer, tlsOption, type ServerFlags } from './run-server.ts';

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
    .option('--camera <clip>', 'a video file of yours as the demo camera')
    .action(async (flags: ServerFlags & { camera?: string }) => {
      const clip = flags.camera === undefined ? undefined : resolve(context.cwd, flags.camera);
      const cacheDir = context.config().models.cache_dir;
      await runServer(context, flags, async (log) => {
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
