import { expect, test } from 'vitest';
import { readAddress, readNetwork } from './networks.ts';

test.each([
  ['192.0.2.7', '192.0.2.7/32'],
  [' 10.0.0.0/8 ', '10.0.0.0/8'],
  ['0.0.0.0/0', '0.0.0.0/0'],
  ['::1', '::1/128'],
  ['2001:DB8::/32', '2001:db8::/32'],
  ['::ffff:10.0.0.1', '::ffff:10.0.0.1/128'],
])('%s is %s', (text, value) => expect(readNetwork(text)).toEqual({ value }));

test.each([
  ['localhost', 'not an address'],
  ['10.0.0', 'not an address'],
  ['10.0.0.256', 'not an address'],
  ['fe80::1%eth0', 'not an address'],
  ['', 'not an address'],
  ['[::1]', 'not an address'],
  ['10.0.0.0/33', '/0 to /32'],
  ['10.0.0.0/', '/0 to /32'],
  ['10.0.0.0/-1', '/0 to /32'],
  ['10.0.0.0/8/8', '/0 to /32'],
  ['::/129', '/0 to /128'],
])('%s is refused', (text, fault) => expect(readNetwork(text).fault).toContain(fault));

test.each([
  ['192.0.2.7', '192.0.2.7'],
  [' 2001:DB8::1 ', '2001:db8::1'],
])('%s is the address %s', (text, value) => expect(readAddress(text)).toEqual({ value }));

test.each(['localhost', '10.0.0.0/8', 'fe80::1%eth0', '', '[::1]', '10.0.0.256'])('%s is no address', (text) =>
  expect(readAddress(text).fault).toContain('not an address'),
);
