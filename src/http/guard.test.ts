import { describe, expect, test } from 'vitest';
import type { SightlineError } from '../base/errors.ts';
import { checkAddress, checkSingle, type AddressRules } from './guard.ts';

const rules = { hosts: ['127.0.0.1', 'cam.example'], origins: ['https://viewer.example'] };

function verdict(host: string | undefined, origin?: string, more: Partial<AddressRules> = {}): string {
  try {
    checkAddress({ host, origin }, { ...rules, ...more });
    return 'ok';
  } catch (error) {
    return (error as SightlineError).code;
  }
}

describe('checkAddress', () => {
  test.each([
    ['127.0.0.1:8080', undefined],
    ['localhost:8080', 'http://localhost:8080'],
    ['[::1]:8080', 'http://[::1]:8080'],
    ['cam.example', 'http://cam.example'],
    ['cam.example', 'https://cam.example'],
    ['127.0.0.1:8080', 'https://viewer.example'],
  ])('host %s with origin %s may pass', (host, origin) => {
    expect(verdict(host, origin)).toBe('ok');
  });

  test.each([
    ['192.0.2.7:8080', 'ok'],
    ['[2001:db8::7]:8080', 'ok'],
    ['192.0.2.7.evil.example', 'HOST_FORBIDDEN'],
    ['evil.example', 'HOST_FORBIDDEN'],
  ])('host %s, where other machines can reach the server: %s', (host, answer) => {
    expect(verdict(host, undefined, { takesAddresses: true })).toBe(answer);
    expect(verdict(host)).toBe('HOST_FORBIDDEN');
  });

  test('a request without a host is no request', () => expect(verdict(undefined)).toBe('REQUEST_BAD'));

  test.each([
    '',
    'evil.example',
    'evil.example:8080',
    'localhost.evil.example',
    'user@127.0.0.1',
    '127.0.0.1/x',
    'a b',
  ])('host %s is refused', (host) => {
    expect(verdict(host)).toBe('HOST_FORBIDDEN');
  });

  test.each([
    'null',
    'http://evil.example',
    'http://127.0.0.1:9999',
    'http://localhost:8080',
    'https://viewer.example.evil',
    'file://',
    'x',
  ])('origin %s is refused', (origin) => {
    expect(verdict('127.0.0.1:8080', origin)).toBe('ORIGIN_FORBIDDEN');
  });
});

describe('checkSingle', () => {
  test.each([
    [['Host', 'a', 'Cookie', 'x', 'cookie', 'y', 'Origin', 'o'], true],
    [['Host', 'a', 'X-Forwarded-For', 'x', 'X-Forwarded-For', 'y', 'Authorization', 'b'], true],
    [['Host', 'a', 'host', 'a'], false],
    [['Authorization', 'a', 'AUTHORIZATION', 'b'], false],
    [['Origin', 'a', 'x', 'y', 'Origin', 'a'], false],
    [['x', 'host', 'y', 'host'], true],
  ])('%j: %s', (headers, isFine) => {
    const check = (): void => checkSingle(headers);
    if (isFine) expect(check).not.toThrow();
    else expect(check).toThrow(expect.objectContaining({ code: 'REQUEST_BAD' }));
  });
});
