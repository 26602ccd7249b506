import type { Command } from 'commander';
import { SightlineError } from '../base/errors.ts';
import type { CliContext } from './context.ts';
import { serverUrl } from './monitor.ts';
import { TOKEN_OPTION, tokenOf } from './options.ts';
import { entranceOf, ownUrl, readJson } from './server-documents.ts';
import { clean, plural, spanText } from './text.ts';

const HELP = `
The exit code says it to scripts: 0 the server is well, 1 it is degraded, 75 it is starting, 69 it does not answer. Who may not read its figures
(read:metrics) is told its status alone.

Examples:
  sightline status
  sightline status --url http://rover.local:8080 --token "$KEY"
  sightline status --json | jq .issues
`;

const EXIT_CODES: Readonly<Record<string, number>> = { ok: 0, degraded: 1, starting: 75 };
const UNKNOWN = 69;

interface StatusFlags {
  readonly url?: URL;
  readonly token?: string;
  readonly json?: boolean;
}

/** The health of a server, as far as it is told: it may be older or newer than this command. */
interface SeenHealth {
  readonly status?: unknown;
  readonly version?: unknown;
  readonly uptime_s?: unknown;
  readonly connections?: { readonly open?: unknown; readonly max?: unknown };
  readonly sessions?: unknown;
  readonly cameras?: { readonly live?: unknown; readonly wanted?: unknown };
  readonly issues?: unknown;
}

/** `sightline status`: is a server well, in a line and an exit code. */
export function registerStatus(program: Command, context: CliContext): void {
  program
    .command('status')
    .description('say whether a running server is well')
    .option('--url <url>', "the server (default: the configuration's host and port)", serverUrl)
    .option(...TOKEN_OPTION)
    .option('--json', 'print its /health as one line of JSON')
    .addHelpText('after', HELP)
    .action(async (flags: StatusFlags) => {
      const token = tokenOf(flags, context);
      const { url, headers } = entranceOf(flags.url ?? ownUrl(context.config().server), token);
      const health = (await readJson(new URL('health', url), context.signal, headers)) as SeenHealth | null;
      if (typeof health?.status !== 'string') {
        throw new SightlineError('CONNECTION_FAILED', `${url.href}: the answer is not from a Sightline server`);
      }
      const { status } = health;
      if (token !== undefined && health.version === undefined) {
        context.err('The server tells its status alone: the key does not count there, or may not read:metrics.');
      }
      if (flags.json) context.out(JSON.stringify(health));
      else for (const line of statusLines(health, url)) context.text(line);
      context.exitWith(Object.hasOwn(EXIT_CODES, status) ? EXIT_CODES[status]! : UNKNOWN);
    });
}

export function statusLines(
  { status, version, uptime_s, connections, sessions, cameras, issues }: SeenHealth,
  url: URL,
): string[] {
  const facts = [
    clean(String(status)),
    `${url.origin}`,
    ...(typeof version === 'string' ? [clean(version)] : []),
    ...(typeof uptime_s === 'number' ? [`up ${spanText(uptime_s)}`] : []),
    ...(typeof sessions === 'number' ? [plural(sessions, 'session')] : []),
    // Most servers have none.
    ...(typeof cameras?.live === 'number' && typeof cameras.wanted === 'number' && cameras.wanted > 0
      ? [`${cameras.live} of ${plural(cameras.wanted, 'camera')} live`]
      : []),
    ...(typeof connections?.open === 'number' && typeof connections.max === 'number'
      ? [`${connections.open} of ${connections.max} connections`]
      : []),
  ];
  const told = Array.isArray(issues) ? (issues as readonly { code?: unknown; message?: unknown }[]) : [];
  return [facts.join(' · '), ...told.map(({ code, message }) => `  ${clean(String(code))}: ${clean(String(message))}`)];
}
