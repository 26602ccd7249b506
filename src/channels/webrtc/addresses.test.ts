import { networkInterfaces, type NetworkInterfaceInfo } from 'node:os';
import { expect, test } from 'vitest';
import { addressesFor } from './addresses.ts';

const info = (address: string, internal = false) =>
  ({ address, internal, family: address.includes(':') ? 'IPv6' : 'IPv4' }) as NetworkInterfaceInfo;
const INTERFACES = {
  lo: [info('127.0.0.1', true), info('::1', true)],
  eth0: [info('192.0.2.7'), info('2001:db8::7'), info('fe80::7')],
};

test.each([
  ['127.0.0.1', [], ['127.0.0.1'], { udp4: '127.0.0.1' }],
  ['localhost', [], ['127.0.0.1'], { udp4: '127.0.0.1' }],
  ['::1', [], ['::1'], { udp6: '::1' }],
  ['192.0.2.7', [], ['192.0.2.7'], { udp4: '192.0.2.7' }],
  ['0.0.0.0', [], ['192.0.2.7'], { udp4: '192.0.2.7' }],
  ['::', [], ['192.0.2.7', '2001:db8::7'], { udp4: '192.0.2.7', udp6: '2001:db8::7' }],
  ['127.0.0.1', ['203.0.113.9'], ['203.0.113.9'], {}],
  ['0.0.0.0', ['127.0.0.1', '192.0.2.7'], ['127.0.0.1', '192.0.2.7'], {}],
])('%s with %s', (host, told, addresses, listenAt) =>
  expect(addressesFor(host, told, INTERFACES)).toEqual({ addresses, listenAt }),
);

test('by default nothing but loopback is told or opened', () => {
  const { addresses, listenAt } = addressesFor('127.0.0.1', [], networkInterfaces());
  expect([addresses, listenAt]).toEqual([['127.0.0.1'], { udp4: '127.0.0.1' }]);
});
