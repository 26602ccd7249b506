import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { Authenticator } from '../../src/auth/authenticator.ts';
import { parseGrant } from '../../src/auth/grants.ts';
import { changeKeys } from '../../src/auth/key-file.ts';
import { makeKey } from '../../src/auth/keys.ts';
import { Logins } from '../../src/auth/logins.ts';
import { Tickets } from '../../src/auth/tickets.ts';
import { systemClock } from '../../src/base/clock.ts';
import { Refusals } from '../../src/fences/refusals.ts';
import { Access } from '../../src/http/access.ts';
import { noLog } from '../../src/log/log.ts';
import { Outbound } from '../../src/net/outbound.ts';
import { atMost, type Bar, type BenchContext } from '../support/document.ts';
import { median } from '../support/statistics.ts';

/** What it costs to find out who comes in, and whether a holder may do something: the server's own code, on this thread alone. */

const KEYS = 1_000;
const GRANTS = ['publish:topics/rover/+/command', 'subscribe:topics/rover/#', 'read:metrics', 'publish:sessions/+'];
const TURNS = { full: 15, quick: 3 };
const ROUNDS = { full: 20_000, quick: 2_000 };
const ISSUER = 'https://id.example';

type Run = () => unknown;

export async function measureAccess({
  quick,
  say,
}: BenchContext): Promise<{ own: Record<string, number>; bars: Bar[] }> {
  const folder = await mkdtemp(join(tmpdir(), 'sightline-bench-access-'));
  const provider = await startProvider();
  try {
    const { access, authenticator, key, token } = await setUp(folder, provider);
    const principal = await authenticator.principalOf(key, undefined);
    const [turns, rounds] = [TURNS[quick ? 'quick' : 'full'], ROUNDS[quick ? 'quick' : 'full']];
    const request = requestBy(key);
    const byToken = requestBy(token);
    // The first one fetches the provider's keys and checks the signature.
    await access.require(byToken, [{ action: 'read', resource: 'metrics' }], {});
    const topics = Array.from({ length: 100_000 }, (_, i) => `topics/rover/${i}/pose`);
    const permissions = [{ action: 'subscribe', resource: 'topics/:topic' } as const];
    const runs: Record<string, Run> = {
      decision: () => principal.allows('subscribe', topics[i++ % topics.length]!),
      handshake_key: () => access.require(request, permissions, {}),
      handshake_token_cached: () => access.require(byToken, permissions, {}),
    };
    let i = 0;
    const own: Record<string, number> = {};
    for (const [name, run] of Object.entries(runs)) {
      say(`access: ${name}`);
      own[`${name}_us`] = median(Array.from({ length: turns }, () => timeUs(run, rounds)));
    }
    authenticator.close();
    return {
      own,
      bars: [
        atMost('decision_us', own['decision_us']!, 20),
        atMost('handshake_key_us', own['handshake_key_us']!, 300),
        atMost('handshake_token_cached_us', own['handshake_token_cached_us']!, 300),
      ],
    };
  } finally {
    provider.close();
    await rm(folder, { recursive: true });
  }
}

/** Processor time and waiting are the same here: nothing waits. */
function timeUs(run: Run, rounds: number): number {
  const startMs = performance.now();
  for (let round = 0; round < rounds; round++) run();
  return ((performance.now() - startMs) * 1_000) / rounds;
}

async function setUp(folder: string, provider: Provider) {
  const keysFile = join(folder, 'keys.json');
  const grants = GRANTS.map(parseGrant);
  const made = Array.from({ length: KEYS }, (_, i) => makeKey({ name: `key${i}`, grants, createdMs: Date.now() }));
  await changeKeys(keysFile, (ring) => ({ ...ring, keys: made.map(({ key }) => key) }));
  const jwt = {
    jwksUrl: provider.url,
    issuer: ISSUER,
    audience: 'sightline',
    algorithms: ['ES256'],
    permissionsClaim: 'permissions',
  };
  const authenticator = new Authenticator({
    clock: systemClock,
    log: noLog(systemClock),
    outbound: new Outbound(),
    settings: { keysFile, isLoopback: true, isOpenToLoopback: false, jwt, callback: undefined },
  });
  await authenticator.open();
  const access = new Access({
    authenticator,
    logins: new Logins(systemClock),
    tickets: new Tickets(systemClock),
    addressOf: ({ socket }) => socket.remoteAddress,
    refusals: new Refusals(),
    log: noLog(systemClock),
  });
  return { access, authenticator, key: made[KEYS >> 1]!.text, token: await provider.token() };
}

interface Provider {
  readonly url: string;
  token(): Promise<string>;
  close(): void;
}

async function startProvider(): Promise<Provider> {
  const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true });
  const jwks = JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid: 'k', alg: 'ES256' }] });
  const server = createServer((_request, response) => response.end(jwks)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    token: async () =>
      await new SignJWT({ permissions: GRANTS })
        .setProtectedHeader({ alg: 'ES256', kid: 'k' })
        .setIssuer(ISSUER)
        .setAudience('sightline')
        .setSubject('ada')
        .setExpirationTime('1h')
        .sign(privateKey),
    close: () => void server.close(),
  };
}

/** As much of a handshake as is looked at. */
function requestBy(credential: string): IncomingMessage {
  return {
    headers: { authorization: `Bearer ${credential}` },
    url: '/ws/telemetry',
    socket: { remoteAddress: '127.0.0.1' },
  } as unknown as IncomingMessage;
}
