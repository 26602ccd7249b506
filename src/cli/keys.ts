import { resolve } from 'node:path';
import { InvalidArgumentError, type Command } from 'commander';
import { ACTIONS, GRANTS_MAX, grantText, parseGrant, requireResource, type Grant } from '../auth/grants.ts';
import { changeKeys, loadKeys } from '../auth/key-file.ts';
import { KEY_NAME, KEYS_MAX, makeKey, makePerson, TOKEN_ID_CHARS_MAX, type ApiKey } from '../auth/keys.ts';
import { hashPassword } from '../auth/passwords.ts';
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
  sightline keys add ada --allow admin --password
  sightline keys list
  sightline keys revoke rover7
`;

const DAY_MS = 86_400_000;
const UNITS: Readonly<Record<string, number>> = { h: 3_600_000, d: DAY_MS, w: 7 * DAY_MS };
const LIFE_MS_MAX = 100 * 366 * DAY_MS;

interface AddFlags {
  readonly allow: readonly Grant[];
  readonly expires?: number;
  readonly password?: boolean;
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
    .option(
      '--password',
      'no key, but a password, by which a person signs in on the page; asked for, or read from standard input',
    )
    .option('--json', 'print JSON')
    .action(async (name: string, { allow, expires, password, json }: AddFlags) => {
      const path = fileOf(context);
      // Before anybody has thought of a password in vain.
      requireFree((await loadKeys(path)).keys, name);
      const hash = password ? await newPassword(context) : undefined;
      const nowMs = Date.now();
      const parts = {
        name,
        grants: allow,
        createdMs: nowMs,
        expiresAtMs: expires === undefined ? undefined : nowMs + expires,
      };
      if (hash !== undefined) {
        const person = makePerson({ ...parts, password: hash });
        await changeKeys(path, (ring) => ({ ...ring, keys: withKey(ring.keys, person) }));
        if (json) return context.out(JSON.stringify(shown(person)));
        context.err(`${name} may ${allow.map(grantText).join(', ')}, and signs in on the page by name and password.`);
        return;
      }
      const made = makeKey(parts);
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
        const { id, name, comes_by: by, allow, expires_at } = shown(key);
        return [
          id,
          name,
          by.join(', '),
          expires_at === null ? 'never' : `${expires_at}${isOver(key) ? ' (over)' : ''}`,
          allow.join(' '),
        ];
      });
      for (const line of inColumns([['id', 'name', 'by', 'expires', 'may'], ...rows])) context.text(line);
    });

  keys
    .command('password')
    .argument('<key>', 'whose: the name or the id')
    .description(
      'give a person, or the holder of a key, another password for the page; where one is signed in, that ends',
    )
    .action(async (wanted: string) => {
      const path = fileOf(context);
      const isMeant = ({ id, name }: ApiKey) => id === wanted || name === wanted;
      const require = (all: readonly ApiKey[]) => {
        if (!all.some(isMeant)) throw unknown(wanted, path);
      };
      require((await loadKeys(path)).keys);
      const password = await newPassword(context);
      await changeKeys(path, (ring) => {
        require(ring.keys);
        return { ...ring, keys: ring.keys.map((key) => (isMeant(key) ? { ...key, password } : key)) };
      });
      context.err(`${wanted} has another password`);
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
        throw unknown(wanted, path);
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

/** Its hash. Errors: USAGE. */
async function newPassword(context: CliContext): Promise<string> {
  return await hashPassword(await context.newPassword());
}

/** Throws USAGE. */
function requireFree(keys: readonly ApiKey[], name: string): void {
  if (!keys.some((key) => key.name === name)) return;
  throw new SightlineError('USAGE', `there is a key "${name}" already: revoke it, or take another name`);
}

function unknown(wanted: string, path: string): SightlineError {
  return new SightlineError('USAGE', `there is no key "${wanted.slice(0, 80)}" in ${path}`);
}

function withKey(before: readonly ApiKey[], key: ApiKey): readonly ApiKey[] {
  requireFree(before, key.name);
  if (before.length >= KEYS_MAX) throw new SightlineError('USAGE', `there are ${KEYS_MAX} keys already`);
  return [...before, key];
}

function shown({ id, name, hash, password, grants, createdMs, expiresAtMs }: ApiKey) {
  return {
    id,
    name,
    comes_by: [...(hash === undefined ? [] : ['key']), ...(password === undefined ? [] : ['password'])],
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
    const grant = parseGrant(text);
    requireResource(grant);
    return [...before, grant];
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
