import { describe, expect, test } from 'vitest';
import { authorizer, credentialsOf } from './credentials.ts';

const MUFASA = { user: 'Mufasa', password: 'Circle of Life' };

describe('an answer to a challenge', () => {
  test.each([
    // The example of RFC 7616, 3.9.1, by both of its hashes.
    [
      'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=MD5, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"',
      '8ca523f5e9506fed4657c9700eebdbec',
    ],
    [
      'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=SHA-256, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"',
      '753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1',
    ],
  ])('%s', (challenge, response) => {
    const cnonce = 'f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ';
    const answer = authorizer([challenge], MUFASA, () => cnonce)!({ method: 'GET', uri: '/dir/index.html' });
    expect(answer).toContain(`response="${response}"`);
    expect(answer).toContain('nc=00000001');
  });

  test('without qop is that of RFC 2069, as cameras want it over RTSP', () => {
    const answer = authorizer(['Digest realm="cam", nonce="1"'], { user: 'a', password: 'b' })!;
    const text = answer({ method: 'DESCRIBE', uri: 'rtsp://x/1' });
    expect(text).toMatch(/^Digest username="a", realm="cam", nonce="1", uri="rtsp:\/\/x\/1", response="[\da-f]{32}"$/);
  });

  test('counts the requests of one challenge', () => {
    const answer = authorizer(['Digest realm="r", nonce="n", qop=auth'], MUFASA)!;
    answer({ method: 'GET', uri: '/' });
    expect(answer({ method: 'GET', uri: '/' })).toContain('nc=00000002');
  });

  test('is Basic where there is nothing better, and none where nothing is known', () => {
    const basic = `Basic ${Buffer.from('Mufasa:Circle of Life').toString('base64')}`;
    expect(authorizer(['Basic realm="x"'], MUFASA)!({ method: 'GET', uri: '/' })).toBe(basic);
    const both = authorizer(['Basic realm="x"', 'Digest realm="r", nonce="n"'], MUFASA)!;
    expect(both({ method: 'GET', uri: '/' })).toMatch(/^Digest /);
    for (const challenges of [
      [],
      ['Negotiate'],
      ['Digest realm="r"'],
      ['Digest realm="r", nonce="n", qop="auth-int"'],
    ]) {
      expect(authorizer(challenges, MUFASA)).toBeUndefined();
    }
  });
});

test('user and password of an address are decoded, as far as they are encoded', () => {
  expect(credentialsOf(new URL('rtsp://me:p%40ss@cam/'))).toEqual({ user: 'me', password: 'p@ss' });
  expect(credentialsOf(new URL('rtsp://me:100%25%zz@cam/'))).toEqual({ user: 'me', password: '100%25%zz' });
  expect(credentialsOf(new URL('rtsp://cam/'))).toBeUndefined();
});
