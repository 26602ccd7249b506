import { expect, test } from 'vitest';
import { addressesOf, tlsLines } from './tls-notes.ts';

const FACTS = {
  host: '0.0.0.0',
  port: '8080',
  basePath: '',
  authority: '/data/authority/ca.crt',
  fingerprint: 'AB:CD',
  addresses: ['127.0.0.1', '::1', '2001:db8::7', '192.0.2.7'],
  names: ['rover', 'rover.local'],
};

test('addresses for other machines: IPv4, names, IPv6; of a server that listens on one, that one', () => {
  expect(addressesOf(FACTS)).toEqual([
    'https://192.0.2.7:8080',
    'https://rover:8080',
    'https://rover.local:8080',
    'https://[2001:db8::7]:8080',
  ]);
  expect(addressesOf({ ...FACTS, host: '192.0.2.9' })).toEqual(['https://192.0.2.9:8080']);
  expect(addressesOf({ ...FACTS, host: '::' })).toHaveLength(4);
  expect(addressesOf({ ...FACTS, host: '127.0.0.1' })).toEqual([]);
});

test('people are told where the authority lies, how to know it, and what a phone needs', () => {
  const text = tlsLines(FACTS).join('\n');
  for (const words of [
    '/data/authority/ca.crt',
    'SHA-256 AB:CD',
    'https://192.0.2.7:8080/ca.crt',
    'iPhone',
    'Android',
  ]) {
    expect(text).toContain(words);
  }
});

test('of a server that other machines cannot reach they are told so', () => {
  const text = tlsLines({ ...FACTS, host: 'localhost' }).join('\n');
  expect(text).toContain('--host 0.0.0.0');
  expect(text).not.toContain('iPhone');
});
