import { InvalidArgumentError, type Command } from 'commander';
import type { CliContext } from './context.ts';
import type { MonitorFlags } from './monitor-run.ts';
import { TOKEN_OPTION } from './options.ts';

const INTERVAL_MIN_S = 0.1;
const INTERVAL_MAX_S = 3_600;

const HELP = `
On a terminal the command draws a view at every interval, as large as the window. p pauses it, q or Ctrl+C leaves. It waits for a
server that is away. Piped, it prints one line of text at every interval, with --json one line of JSON, and ends with
exit code 69 when the server goes away.

Latencies are those of the last one to two minutes; their bars compare them with performance.target_latency_ms. Rates are measured
between two readings, so that --once takes one interval before it prints, and the first line of a pipe has none.

Examples:
  sightline monitor
  sightline monitor --url http://rover.local:8080 --interval 5
  sightline monitor --once
  sightline monitor --json | jq .metrics.process.cpu_percent
`;

/** `sightline monitor`: the state of a running server in a terminal. */
export function registerMonitor(program: Command, context: CliContext): void {
  program
    .command('monitor')
    .description('watch a running server: latency, sessions, engine, telemetry')
    .option('--url <url>', "the server (default: the configuration's host and port)", serverUrl)
    .option(...TOKEN_OPTION)
    .option('--interval <s>', 'time between two readings, seconds', seconds, 1)
    .option('--json', 'print both documents (/health, /api/performance/metrics) as one line of JSON at every interval')
    .option('--once', 'print one view, or with --json one line, and end')
    .addHelpText('after', HELP)
    .action(async (flags: MonitorFlags) => {
      const { monitor } = await import('./monitor-run.ts');
      await monitor(flags, context);
    });
}

/** The folder under which a server's documents are, also from the address of a page or a socket of it; one behind a proxy may have a path. */
export function serverUrl(text: string): URL {
  const url = URL.parse(text);
  if (url === null) throw new InvalidArgumentError('It is not the address of a server, such as http://127.0.0.1:8080.');
  if (url.protocol === 'http:' || url.protocol === 'https:') {
    // What has no ending is a folder, with or without its slash.
    return new URL(/\/[^/.]+$/.test(url.pathname) ? `${url.pathname}/` : '.', url);
  }
  if (url.protocol !== 'ws:' && url.protocol !== 'wss:') {
    throw new InvalidArgumentError('It begins with neither http:, https:, ws: nor wss:.');
  }
  url.protocol = url.protocol.replace('ws', 'http');
  return new URL(`${url.pathname.replace(/\/(ws\/[^/]*|stream\/detection)?$/, '')}/`, url);
}

function seconds(text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && value >= INTERVAL_MIN_S && value <= INTERVAL_MAX_S) return value;
  throw new InvalidArgumentError(`It must be a number of seconds from ${INTERVAL_MIN_S} to ${INTERVAL_MAX_S}.`);
}
