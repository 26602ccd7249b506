import type { Command } from 'commander';
import { APP_OPTION } from './apps.ts';
import type { CliContext } from './context.ts';
import { mcapName } from './record.ts';
import { addTo, CAMERA_OPTION, RECORD_OPTION, runServer, tlsOption, type ServerFlags } from './run-server.ts';

/** `sightline serve`: the server alone. */
export function registerServe(program: Command, context: CliContext): void {
  program
    .command('serve')
    .description('start the server')
    .option('--port <n>', 'port to listen on (default 8080, 0 for any free one)')
    .option('--host <address>', 'address to listen on (default 127.0.0.1)')
    .addOption(tlsOption())
    .option(...APP_OPTION)
    .option(...RECORD_OPTION, mcapName)
    .option('--model <id>', 'model for sessions that name none (default ssd-oidv4)')
    .option(...CAMERA_OPTION, addTo)
    .action(({ camera, ...flags }: ServerFlags & { camera?: readonly string[] }) =>
      runServer(context, { ...flags, ...(camera && { cameras: camera }) }),
    );
}
