import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Proxies } from './proxies.ts';

const proxies = new Proxies(['10.0.0.0/8', '::1/128']);
const from = (remoteAddress: string | undefined, headers: Record<string, string> = {}) => ({
  headers,
  socket: { remoteAddress },
});

test.each<[string, string | undefined, Record<string, string>, string | undefined]>([
  ['no proxy', '192.0.2.7', {}, '192.0.2.7'],
  ['a client that claims another address', '192.0.2.7', { 'x-forwarded-for': '198.51.100.1' }, '192.0.2.7'],
  ['the same by the other header', '192.0.2.7', { forwarded: 'for=198.51.100.1' }, '192.0.2.7'],
  ['a connection that is gone', undefined, { 'x-forwarded-for': '198.51.100.1' }, undefined],
  ['a proxy', '10.0.0.1', { 'x-forwarded-for': '192.0.2.7' }, '192.0.2.7'],
  ['a proxy by its mapped address', '::ffff:10.0.0.1', { 'x-forwarded-for': '192.0.2.7' }, '192.0.2.7'],
  ['a proxy that says nothing', '10.0.0.1', {}, '10.0.0.1'],
  ['two proxies', '10.0.0.1', { 'x-forwarded-for': '192.0.2.7, 10.0.0.2' }, '192.0.2.7'],
  ['what the client has put in front', '10.0.0.1', { 'x-forwarded-for': '198.51.100.1, 192.0.2.7' }, '192.0.2.7'],
  ['trusted ones alone', '10.0.0.1', { 'x-forwarded-for': '10.0.0.3, 10.0.0.2' }, '10.0.0.3'],
  ['a port', '10.0.0.1', { 'x-forwarded-for': '192.0.2.7:4711' }, '192.0.2.7'],
  ['IPv6', '::1', { 'x-forwarded-for': '2001:db8::7' }, '2001:db8::7'],
  ['RFC 7239', '10.0.0.1', { forwarded: 'for=192.0.2.7;proto=https;by=10.0.0.1' }, '192.0.2.7'],
  ['RFC 7239 with IPv6', '10.0.0.1', { forwarded: 'For="[2001:db8::7]:4711"' }, '2001:db8::7'],
  [
    'what a proxy does not know and passes on',
    '10.0.0.1',
    { forwarded: 'for=198.51.100.1', 'x-forwarded-for': '192.0.2.7' },
    '192.0.2.7',
  ],
  ['a client that is not known', '10.0.0.1', { forwarded: 'for=unknown' }, '10.0.0.1'],
  ['a name of the proxy’s own', '10.0.0.1', { forwarded: 'for=192.0.2.7, for=_hidden' }, '10.0.0.1'],
  ['rubbish', '10.0.0.1', { 'x-forwarded-for': '192.0.2.7, <script>' }, '10.0.0.1'],
  ['too many', '10.0.0.1', { 'x-forwarded-for': Array.from({ length: 40 }, () => '192.0.2.7').join(',') }, '10.0.0.1'],
  ['too long', '10.0.0.1', { 'x-forwarded-for': '192.0.2.7'.padStart(5_000) }, '10.0.0.1'],
])('%s', (_what, remoteAddress, headers, address) =>
  expect(proxies.addressOf(from(remoteAddress, headers))).toBe(address),
);

test.each<[string, Record<string, string>, boolean]>([
  ['10.0.0.1', { 'x-forwarded-proto': 'https' }, true],
  ['10.0.0.1', { 'x-forwarded-proto': 'HTTPS ' }, true],
  ['10.0.0.1', { 'x-forwarded-proto': 'http' }, false],
  ['10.0.0.1', { forwarded: 'for=192.0.2.7;proto=https' }, true],
  ['10.0.0.1', { forwarded: 'proto=https', 'x-forwarded-proto': 'http' }, false],
  ['10.0.0.1', {}, false],
  ['192.0.2.7', { 'x-forwarded-proto': 'https' }, false],
])('from %s with %o: secure %s', (remoteAddress, headers, secure) =>
  expect(proxies.isSecure(from(remoteAddress, headers))).toBe(secure),
);

test('without a proxy that is trusted no header counts', () => {
  const none = new Proxies([]);
  fc.assert(
    fc.property(fc.ipV4(), fc.string(), fc.string(), (address, one, other) => {
      const request = from(address, { forwarded: one, 'x-forwarded-for': other });
      return none.addressOf(request) === address && !none.isSecure(request);
    }),
  );
});

test('whatever the headers are, an address comes out', () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), (one, other) => {
      const address = proxies.addressOf(from('10.0.0.1', { forwarded: one, 'x-forwarded-for': other }));
      return /^[\d.]+$|^[\da-f:.]+$/i.test(address!);
    }),
  );
});
