import { beforeEach, expect, test } from 'vitest';
import { ManualClock, wallTimeMs } from '../base/clock.ts';
import { SightlineError } from '../base/errors.ts';
import { parseGrant } from './grants.ts';
import type { Principal } from './principal.ts';
import type { Verified } from './verified.ts';
import { CHECKS_MAX, TOKENS_MAX, VerifiedTokens, type Verify } from './verified-tokens.ts';

let clock: ManualClock;
let tokens: VerifiedTokens;
let asked: string[];
let lifeMs: number;
let grants: string;
let fault: SightlineError | undefined;
const revoked = new Set<string>();
const isRevoked = (id: string) => revoked.has(id);
beforeEach(() => {
  clock = new ManualClock();
  tokens = new VerifiedTokens(clock);
  asked = [];
  lifeMs = 60_000;
  grants = 'read';
  fault = undefined;
  revoked.clear();
});

const verify: Verify = async (credential): Promise<Verified> => {
  asked.push(credential);
  if (fault) throw fault;
  const name = `holder of ${credential}`;
  return { id: name, name, grants: [parseGrant(grants)], expiresAtMs: wallTimeMs(clock) + lifeMs, tokenId: credential };
};
const take = async (credential: string, renews = false): Promise<Principal> =>
  await tokens.principalOf(credential, undefined, { verify, renews, isRevoked });
/** What a promise that is done sets off. */
const settle = () => new Promise<void>((done) => setImmediate(done));
const unchecked = () => new SightlineError('CREDENTIALS_UNCHECKED', 'nobody answers');

test('a credential is checked once for as long as the answer counts, also where it comes many times at once', async () => {
  const all = await Promise.all([take('a'), take('a'), take('a')]);
  expect(new Set(all).size).toBe(1);
  expect(await take('a')).toBe(all[0]);
  clock.advance(lifeMs);
  expect(await take('a')).toBe(all[0]);
  expect(asked).toEqual(['a', 'a']);
});

test('a check that fails is nobody’s answer but that of who asked', async () => {
  fault = unchecked();
  await expect(take('a')).rejects.toThrow('nobody answers');
  fault = undefined;
  expect((await take('a')).name).toBe('holder of a');
});

test('so many are checked at once', async () => {
  const release = Promise.withResolvers<void>();
  const slow: Verify = async (credential, address) => {
    await release.promise;
    return await verify(credential, address);
  };
  const checks = Array.from({ length: CHECKS_MAX }, (_, i) =>
    tokens.principalOf(`${i}`, undefined, { verify: slow, renews: false, isRevoked }),
  );
  await expect(take('more')).rejects.toMatchObject({ code: 'CREDENTIALS_UNCHECKED' });
  release.resolve();
  await Promise.all(checks);
  expect((await take('more')).name).toBe('holder of more');
});

test('a token ends with its time, where that is its own', async () => {
  const principal = await take('a');
  const ended: string[] = [];
  principal.onEnd(({ code }) => ended.push(code));
  clock.advance(lifeMs - 1);
  tokens.sweep(isRevoked);
  expect(ended).toEqual([]);
  clock.advance(1);
  tokens.sweep(isRevoked);
  expect([ended, tokens.size]).toEqual([['CREDENTIALS_EXPIRED'], 0]);
});

test('a token that is revoked ends, and does not come in again', async () => {
  const principal = await take('a');
  revoked.add('a');
  tokens.sweep(isRevoked);
  expect(principal.isEnded).toBe(true);
  await expect(take('a')).rejects.toMatchObject({ code: 'CREDENTIALS_BAD' });
});

test('what may be asked about again goes on, without a break', async () => {
  const principal = await take('a', true);
  principal.onEnd(() => undefined);
  for (let i = 0; i < 3; i++) {
    clock.advance(lifeMs);
    tokens.sweep(isRevoked);
    tokens.sweep(isRevoked);
    await settle();
  }
  expect([asked.length, principal.isEnded]).toEqual([4, false]);
  expect(await take('a', true)).toBe(principal);
});

test('other permissions end it, and the next one has them', async () => {
  const principal = await take('a', true);
  principal.onEnd(() => undefined);
  grants = 'read:metrics';
  clock.advance(lifeMs);
  tokens.sweep(isRevoked);
  await settle();
  expect(principal.isEnded).toBe(true);
  expect((await take('a', true)).allows('read', 'config')).toBe(false);
});

test('a refusal ends it at once, silence after half a minute', async () => {
  const [refused, left] = [await take('refused', true), await take('left', true)];
  for (const one of [refused, left]) one.onEnd(() => undefined);
  clock.advance(lifeMs);
  fault = new SightlineError('CREDENTIALS_BAD', 'no more');
  tokens.sweep((id) => id === 'nothing');
  await settle();
  expect([refused.isEnded, left.isEnded]).toEqual([true, true]);
  fault = undefined;
  const silent = await take('silent', true);
  silent.onEnd(() => undefined);
  fault = unchecked();
  clock.advance(lifeMs);
  for (let second = 0; second < 29; second++) {
    tokens.sweep(isRevoked);
    await settle();
    clock.advance(1_000);
  }
  expect(silent.isEnded).toBe(false);
  clock.advance(1_000);
  tokens.sweep(isRevoked);
  await settle();
  expect(silent.isEnded).toBe(true);
});

test('what nobody lives by is not asked about again, and goes when there are too many', async () => {
  const used = await take('used', true);
  used.onEnd(() => undefined);
  for (let i = 0; i < TOKENS_MAX + 5; i++) await take(`t${i}`, true);
  expect(tokens.size).toBe(TOKENS_MAX);
  expect(await take('used', true)).toBe(used);
  asked.length = 0;
  clock.advance(lifeMs);
  tokens.sweep(isRevoked);
  await settle();
  expect([asked, tokens.size]).toEqual([['used'], 1]);
});

test('who comes by a credential that is just being asked about again takes nobody’s end away', async () => {
  const principal = await take('a', true);
  principal.onEnd(() => undefined);
  clock.advance(lifeMs);
  // Before the next sweep.
  expect(await take('a', true)).toBe(principal);
  revoked.add('a');
  tokens.sweep(isRevoked);
  expect(principal.isEnded).toBe(true);
  revoked.clear();
  const next = await take('a', true);
  clock.advance(lifeMs);
  grants = 'read:metrics';
  expect(await take('a', true)).not.toBe(next);
  expect(next.isEnded).toBe(true);
});
