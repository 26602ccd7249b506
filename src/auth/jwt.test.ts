import { createHmac } from 'node:crypto';
import { createServer, type RequestListener, type Server } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { exportJWK, exportSPKI, generateKeyPair, SignJWT, type CryptoKey, type JWK } from 'jose';
import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { ManualClock, wallTimeMs } from '../base/clock.ts';
import { grantText } from './grants.ts';
import { Outbound, type OutboundRequest } from '../net/outbound.ts';
import { JwtVerifier } from './jwt.ts';

const ISSUER = 'https://id.example';
const AUDIENCE = 'sightline';

interface Pair {
  readonly kid: string;
  readonly privateKey: CryptoKey;
  readonly publicKey: CryptoKey;
  readonly jwk: JWK;
}

async function makePair(kid: string): Promise<Pair> {
  const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true });
  return { kid, privateKey, publicKey, jwk: { ...(await exportJWK(publicKey)), kid, alg: 'ES256', use: 'sig' } };
}

let pairs: readonly Pair[];
beforeAll(async () => {
  pairs = await Promise.all(['one', 'two', 'foreign'].map(makePair));
});

let clock: ManualClock;
let provider: Server;
let answer: RequestListener;
let asked: number;
let published: JWK[];
let verifier: JwtVerifier;
let settings: ConstructorParameters<typeof JwtVerifier>[0]['settings'];
beforeEach(async () => {
  clock = new ManualClock();
  asked = 0;
  published = [pairs[0]!.jwk];
  answer = (_request, response) => void response.end(JSON.stringify({ keys: published }));
  provider = createServer((request, response) => {
    asked++;
    answer(request, response);
  }).listen(0, '127.0.0.1');
  await once(provider, 'listening');
  settings = {
    jwksUrl: `http://127.0.0.1:${(provider.address() as AddressInfo).port}/jwks`,
    issuer: ISSUER,
    audience: AUDIENCE,
    algorithms: ['ES256'],
    permissionsClaim: 'permissions',
  };
  verifier = new JwtVerifier({ clock, outbound: new Outbound(), settings });
});
afterEach(() => {
  provider.closeAllConnections();
  provider.close();
});

interface Terms {
  readonly claims?: Record<string, unknown>;
  readonly pair?: Pair;
  readonly lifeS?: number;
  readonly issuer?: string;
  readonly audience?: string;
  readonly without?: 'sub' | 'exp';
}

async function token({ claims, pair = pairs[0]!, lifeS = 600, without, ...more }: Terms = {}): Promise<string> {
  const nowS = Math.floor(wallTimeMs(clock) / 1000);
  const jwt = new SignJWT({ permissions: ['subscribe:topics/a/#', 'read:metrics'], jti: 'token-1', ...claims })
    .setProtectedHeader({ alg: 'ES256', kid: pair.kid })
    .setIssuer(more.issuer ?? ISSUER)
    .setAudience(more.audience ?? AUDIENCE);
  if (without !== 'sub') jwt.setSubject('ada');
  if (without !== 'exp') jwt.setExpirationTime(nowS + lifeS);
  return await jwt.sign(pair.privateKey);
}

const base64 = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
const codeOf = async (credential: string) =>
  await verifier.verify(credential).then(
    () => 'let in',
    (thrown: { code: string }) => thrown.code,
  );

test('a token says who its holder is, what it may, and until when', async () => {
  const { grants, ...verified } = await verifier.verify(await token());
  expect(verified).toEqual({
    id: `jwt:${ISSUER} ada`,
    name: 'ada',
    tokenId: 'token-1',
    expiresAtMs: Math.floor(wallTimeMs(clock) / 1000) * 1000 + 600_000,
  });
  expect(grants.map(grantText)).toEqual(['subscribe:topics/a/#', 'read:metrics']);
});

test('permissions may be one text, and what is meant for other programs is left out', async () => {
  const { grants } = await verifier.verify(await token({ claims: { permissions: 'openid read:metrics profile' } }));
  expect(grants.map(grantText)).toEqual(['read:metrics']);
});

test('keys are fetched once, and again when a token names another one', async () => {
  for (let i = 0; i < 5; i++) await verifier.verify(await token());
  expect(asked).toBe(1);
});

test('a new key of the provider is fetched when a token names it, but not again and again', async () => {
  published = [pairs[1]!.jwk];
  await verifier.verify(await token({ pair: pairs[1]! }));
  published = [pairs[0]!.jwk, pairs[1]!.jwk];
  // So that nobody makes the server ask and ask by names of keys that there are not.
  expect([await codeOf(await token()), asked]).toEqual(['CREDENTIALS_BAD', 1]);
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 31_000 });
  try {
    expect([await codeOf(await token()), asked]).toEqual(['let in', 2]);
    expect(await codeOf(await token({ pair: pairs[1]! }))).toBe('let in');
  } finally {
    vi.useRealTimers();
  }
});

describe('not let in', () => {
  test.each<[string, Terms, string]>([
    ['expired', { lifeS: -10 }, 'CREDENTIALS_EXPIRED'],
    ['for another audience', { audience: 'other' }, 'CREDENTIALS_BAD'],
    ['of another issuer', { issuer: 'https://evil.example' }, 'CREDENTIALS_BAD'],
    ['not valid yet', { claims: { nbf: 9_999_999_999 } }, 'CREDENTIALS_BAD'],
    ['without an end', { without: 'exp' }, 'CREDENTIALS_BAD'],
    ['without a subject', { without: 'sub' }, 'CREDENTIALS_BAD'],
    ['without a permission', { claims: { permissions: undefined } }, 'CREDENTIALS_BAD'],
    ['with permissions for others alone', { claims: { permissions: 'openid' } }, 'CREDENTIALS_BAD'],
    ['with permissions of another form', { claims: { permissions: { read: true } } }, 'CREDENTIALS_BAD'],
    ['with a jti too long to be revoked by', { claims: { jti: 'x'.repeat(300) } }, 'CREDENTIALS_BAD'],
  ])('%s', async (_what, terms, code) => expect(await codeOf(await token(terms))).toBe(code));

  test('signed by a key that the provider does not publish', async () => {
    expect(await codeOf(await token({ pair: { ...pairs[2]!, kid: 'one' } }))).toBe('CREDENTIALS_BAD');
    expect(await codeOf(await token({ pair: pairs[2]! }))).toBe('CREDENTIALS_BAD');
  });

  test('unsigned, or signed by the public key as if that were a secret', async () => {
    const claims = { iss: ISSUER, aud: AUDIENCE, sub: 'ada', exp: 9_999_999_999, permissions: ['admin'] };
    expect(await codeOf(`${base64({ alg: 'none' })}.${base64(claims)}.`)).toBe('CREDENTIALS_BAD');
    const head = `${base64({ alg: 'HS256', kid: 'one' })}.${base64(claims)}`;
    const secret = await exportSPKI(pairs[0]!.publicKey);
    const signature = createHmac('sha256', secret).update(head).digest('base64url');
    expect(await codeOf(`${head}.${signature}`)).toBe('CREDENTIALS_BAD');
  });

  test('altered, cut or no token at all', async () => {
    const good = await token();
    const [head, , signature] = good.split('.');
    const other = base64({ iss: ISSUER, aud: AUDIENCE, sub: 'eve', exp: 9_999_999_999, permissions: ['admin'] });
    for (const bad of [`${head}.${other}.${signature}`, good.slice(0, -4), `${head}..${signature}`, 'a.b.c']) {
      expect(await codeOf(bad)).toBe('CREDENTIALS_BAD');
    }
  });
});

describe('a provider that', () => {
  test.each<[string, RequestListener]>([
    ['answers garbage', (_request, response) => void response.end('<html>')],
    ['answers something else', (_request, response) => void response.end('{"keys":7}')],
    ['fails', (_request, response) => void response.writeHead(500).end()],
    ['leads elsewhere', (_request, response) => void response.writeHead(302, { Location: '/other' }).end()],
    [
      'answers without an end',
      (_request, response) => {
        const more = (): void =>
          void (response.write('x'.repeat(65_536)) ? setImmediate(more) : response.once('drain', more));
        more();
      },
    ],
    ['hangs up', (request) => void request.socket.destroy()],
  ])('%s lets nobody in, and nobody is told that the token is bad', async (_what, listener) => {
    answer = listener;
    expect(await codeOf(await token())).toBe('CREDENTIALS_UNCHECKED');
    answer = (_request, response) => void response.end(JSON.stringify({ keys: published }));
    expect(await codeOf(await token())).toBe('let in');
  });

  test('hangs has its time, and lets nobody in meanwhile', async () => {
    const times: number[] = [];
    class Hasty extends Outbound {
      override fetch(url: string | URL, request: OutboundRequest): Promise<Response> {
        times.push(request.timeoutMs);
        return super.fetch(url, { ...request, timeoutMs: 50 });
      }
    }
    verifier = new JwtVerifier({ clock, outbound: new Hasty(), settings });
    answer = () => {};
    expect(await codeOf(await token())).toBe('CREDENTIALS_UNCHECKED');
    expect(times).toEqual([5_000]);
  });
});
