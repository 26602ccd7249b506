import { resolve } from 'node:path';
import { InvalidArgumentError, type Command } from 'commander';
import { ACTIONS, GRANTS_MAX, grantText, parseGrant, type Grant } from '../auth/grants.ts';
import { changeKeys, loadKeys } from '../auth/key-file.ts';
import { KEY_NAME, KEYS_MAX, makeKey, TOKEN_ID_CHARS_MAX, type ApiKey } from '../auth/keys.ts';
import { SightlineError, toSightlineError } from '../base/errors.ts';
import type { CliContext } from './context.ts';
import { inColumns } from './text.ts';

const HELP = `
A permission is an action, ${ACTIONS.join(', ')}, and behind a colon the resources for which it holds; without them it holds for all.
admin takes in the others. + stands for one part of a resource, # at the end for all that follow.

  publish:topics/rover/#     publish messages on these topics
  subscribe:topics/#         get the messages of all topics
  publish:sessions/gate-4    send frames as the camera gate-4
  publish:priority/critical  claim class critical, which goes before all others
  subscribe:sessions/#       get the results of all cameras
  read:metrics               figures, health in detail; read:config and read:sessions likewise
  admin                      everything

A running server takes up a change of the keys within a second: who came in by a key that was revoked is sent away.

Examples:
  sightline keys add operator --allow admin
  sightline keys add rover7 --allow publish:topics/rover7/# --allow subscribe:topics/rover7/# --expires 90d
  sightline keys list
  sightline keys revoke rover7
`;

const DAY_MS = 86_400_000;
const UNITS: Readonly<Record<string, number>> = { h: 3_600_000, d: DAY_MS, w: 7 * DAY_MS };
const LIFE_MS_MAX = 100 * 366 * DAY_MS;

interface AddFlags {
  readonly allow: readonly Grant[];
  readonly expires?: number;
  readonly json?: boolean;
}

/** `sightline keys`: who may come in to a server, and what they may do. */
export function registerKeys(program: Command, context: CliContext): void {
  const keys = program
    .command('keys')
    .description('make, list and revoke the keys by which clients come in')
    .addHelpText('after', HELP);

  keys
    .command('add')
    .argument('<name>', 'whose key it is, such as rover7', keyName)
    .description('make a key, and print it: it is shown this once')
    .requiredOption('--allow <permission>', 'what it allows, such as subscribe:topics/#; may be repeated', addGrant)
    .option('--expires <time>', 'after this time it counts no more: 12h, 90d, 8w (default: never)', life)
    .option('--json', 'print JSON')
    .action(async (name: string, { allow, expires, json }: AddFlags) => {
      const nowMs = Date.now();
      const made = makeKey({
        name,
        grants: allow,
        createdMs: nowMs,
        expiresAtMs: expires === undefined ? undefined : nowMs + expires,
      });
      const path = fileOf(context);
      await changeKeys(path, (ring) => ({ ...ring, keys: withKey(ring.keys, made.key) }));
      if (json) return context.out(JSON.stringify({ ...shown(made.key), key: made.text }));
      context.err(`${name} (${made.key.id}) may ${allow.map(grantText).join(', ')}; kept in ${path}, by its hash.`);
      context.err('This is the key. It is not shown again:');
      context.out(made.text);
    });

  keys
    .command('list')
    .description('list the keys, and what they allow')
    .option('--json', 'print JSON')
    .action(async ({ json }: { json?: boolean }) => {
      const path = fileOf(context);
      const { keys: all } = await loadKeys(path);
      if (json) return context.out(JSON.stringify(all.map(shown)));
      if (all.length === 0) return context.err(`there is no key in ${path}`);
      const rows = all.map((key) => {
        const { id, name, allow, expires_at } = shown(key);
        return [
          id,
          name,
          expires_at === null ? 'never' : `${expires_at}${isOver(key) ? ' (over)' : ''}`,
          allow.join(' '),
        ];
      });
      for (const line of inColumns([['id', 'name', 'expires', 'may'], ...rows])) context.text(line);
    });

  keys
    .command('revoke')
    .argument('<key>', 'its name or its id')
    .description('make a key count no more')
    .action(async (wanted: string) => {
      const path = fileOf(context);
      await changeKeys(path, (ring) => {
        const left = ring.keys.filter(({ id, name }) => id !== wanted && name !== wanted);
        if (left.length < ring.keys.length) return { ...ring, keys: left };
        throw new SightlineError('USAGE', `there is no key "${wanted.slice(0, 80)}" in ${path}`);
      });
      context.err(`${wanted} is revoked`);
    });

  keys
    .command('revoke-token')
    .argument('<jti>', 'the id of the token, its claim jti', tokenId)
    .description('make a token of the identity provider count no more (auth.jwt)')
    .action(async (jti: string) => {
      await changeKeys(fileOf(context), ({ keys: all, revokedTokens }) => ({
        keys: all,
        revokedTokens: [...revokedTokens.filter((one) => one !== jti), jti],
      }));
      context.err(`the token ${jti} is revoked`);
    });
}

function fileOf(context: CliContext): string {
  return resolve(context.cwd, context.config().auth.keys_file);
}

function withKey(before: readonly ApiKey[], key: ApiKey): readonly ApiKey[] {
  if (before.some(({ name }) => name === key.name)) {
    throw new SightlineError('USAGE', `there is a key "${key.name}" already: revoke it, or take another name`);
  }
  if (before.length >= KEYS_MAX) throw new SightlineError('USAGE', `there are ${KEYS_MAX} keys already`);
  return [...before, key];
}

function shown({ id, name, grants, createdMs, expiresAtMs }: ApiKey) {
  return {
    id,
    name,
    allow: grants.map(grantText),
    created_at: new Date(createdMs).toISOString(),
    expires_at: expiresAtMs === undefined ? null : new Date(expiresAtMs).toISOString(),
  };
}

function isOver({ expiresAtMs }: ApiKey): boolean {
  return expiresAtMs !== undefined && expiresAtMs <= Date.now();
}

function tokenId(text: string): string {
  if (text !== '' && text.length <= TOKEN_ID_CHARS_MAX) return text;
  throw new InvalidArgumentError(`It has 1 to ${TOKEN_ID_CHARS_MAX} characters.`);
}

function keyName(text: string): string {
  if (KEY_NAME.test(text)) return text;
  throw new InvalidArgumentError('It has letters, digits, and . _ @ - between them, 64 at most.');
}

function addGrant(text: string, before: readonly Grant[] = []): readonly Grant[] {
  try {
    if (before.length >= GRANTS_MAX) throw new SightlineError('USAGE', `A key has at most ${GRANTS_MAX} permissions`);
    return [...before, parseGrant(text)];
  } catch (thrown) {
    throw new InvalidArgumentError(`${toSightlineError(thrown).message}.`);
  }
}

/** Milliseconds. */
function life(text: string): number {
  const [, number, unit = ''] = /^(\d+)([hdw])$/.exec(text) ?? [];
  const ms = Number(number) * (UNITS[unit] ?? Number.NaN);
  if (ms > 0 && ms <= LIFE_MS_MAX) return ms;
  throw new InvalidArgumentError(
    'It is a number of hours, days or weeks, such as 12h, 90d or 8w, a hundred years at most.',
  );
}
