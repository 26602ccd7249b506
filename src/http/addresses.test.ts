import { expect, test } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { AddressBook, nameOfAddress } from './addresses.ts';

const SETTINGS = { connectionsMax: 3, ratePerS: 10, unbounded: ['127.0.0.0/8', '::1/128'] };

function opened(settings: Partial<typeof SETTINGS> = {}) {
  const clock = new ManualClock();
  const book = new AddressBook(clock, { ...SETTINGS, ...settings });
  const over = (address: string) => book.enter(address).over;
  return { clock, book, over };
}

test('one address may have so many connections, whatever others have', () => {
  const { book, over } = opened();
  const first = book.enter('192.0.2.1').entry;
  expect([over('192.0.2.1'), over('192.0.2.1'), over('192.0.2.1')]).toEqual([undefined, undefined, 'connections']);
  expect(over('192.0.2.2')).toBe(undefined);
  expect(book.present).toBe(2);
  book.leave(first);
  book.leave(first);
  expect(over('192.0.2.1')).toBe(undefined);
});

test('and open so many a second, twice as many at once; who comes slowly enough is served again', () => {
  const { clock, book } = opened({ connectionsMax: 1_000 });
  const come = () => {
    const { entry, over } = book.enter('192.0.2.1');
    book.leave(entry);
    return over;
  };
  const all = Array.from({ length: 30 }, come);
  expect(all).toEqual([...Array.from({ length: 20 }, () => undefined), ...Array.from({ length: 10 }, () => 'rate')]);
  clock.advance(100);
  expect([come(), come()]).toEqual([undefined, 'rate']);
  clock.advance(1_000);
  expect(Array.from({ length: 11 }, come).filter((over) => over === 'rate')).toHaveLength(1);
  // A clock that is set back gives nothing for nothing.
  clock.advance(-5_000);
  expect(come()).toBe('rate');
});

test('an address that is banned has two a second, to hear so', () => {
  const clock = new ManualClock();
  const banned = new Set<string>();
  const book = new AddressBook(clock, { ...SETTINGS, connectionsMax: 1_000 }, (address) => banned.has(address));
  const come = () => book.enter('192.0.2.1').over;
  expect(come()).toBe(undefined);
  banned.add('192.0.2.1');
  expect(Array.from({ length: 5 }, come)).toEqual([undefined, undefined, undefined, undefined, 'rate']);
  clock.advance(1_000);
  expect(Array.from({ length: 3 }, come)).toEqual([undefined, undefined, 'rate']);
});

test('who is over a bound is told so 64 times, then 16 times a second; one that is not is never dropped', () => {
  const { clock, book } = opened();
  const { entry } = book.enter('192.0.2.1');
  for (let i = 0; i < 64; i++) {
    expect(book.canTell(entry)).toBe(true);
    book.told(entry);
  }
  expect([book.canTell(entry), book.untold('192.0.2.1')]).toEqual([false, undefined]);
  for (let i = 0; i < 3; i++) book.enter('192.0.2.1');
  expect(book.untold('192.0.2.1')).toBe('connections');
  expect(book.untold('192.0.2.2')).toBe(undefined);
  clock.advance(63);
  expect(book.untold('192.0.2.1')).toBe(undefined);
});

test('loopback and trusted networks have neither bound, in whatever form their addresses come', () => {
  const { over } = opened({ unbounded: ['127.0.0.0/8', '::1/128', '10.0.0.0/8', '2001:db8::/32'] });
  for (const address of ['127.0.0.1', '127.9.9.9', '::1', '::ffff:127.0.0.1', '10.1.2.3', '2001:db8:5::7']) {
    expect(Array.from({ length: 50 }, () => over(address)).every((bound) => bound === undefined)).toBe(true);
  }
  expect(Array.from({ length: 50 }, () => over('11.0.0.1')).at(-1)).toBe('rate');
});

test.each([
  ['192.0.2.33', '192.0.2.33'],
  ['::ffff:192.0.2.33', '192.0.2.33'],
  ['2001:db8::33', '2001:db8:0:0::/64'],
  ['127.1.2.3', undefined],
  ['::1', undefined],
  ['::ffff:127.0.0.1', undefined],
  ['10.1.2.3', undefined],
])('%s goes by the name %s where networks are without bounds', (address, name) => {
  expect(nameOfAddress(['127.0.0.0/8', '::1/128', '10.0.0.0/8'])(address)).toBe(name);
});

test('all addresses of an IPv6 network share its bounds', () => {
  const { over } = opened();
  expect(['2001:db8::1', '2001:db8::2', '2001:db8::3', '2001:db8::4'].map(over).at(-1)).toBe('connections');
});

test('it remembers a bounded number of addresses, and forgets those that no longer matter', () => {
  const { clock, book } = opened();
  const visit = (address: string) => book.leave(book.enter(address).entry);
  for (let i = 0; i < 30_000; i++) visit(`10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`);
  expect(book.size).toBeLessThanOrEqual(10_001);
  expect(book.present).toBe(0);
  clock.advance(10_000);
  for (let i = 0; i < 4_000; i++) visit(`11.0.${i >> 8}.${i & 255}`);
  expect(book.size).toBeLessThanOrEqual(4_001);
});

test('an address with a connection is never forgotten', () => {
  const { clock, book, over } = opened();
  const { entry } = book.enter('192.0.2.1');
  over('192.0.2.1');
  clock.advance(10_000);
  for (let i = 0; i < 20_000; i++) book.leave(book.enter(`10.0.${i >> 8}.${i & 255}`).entry);
  expect(entry.open).toBe(2);
  expect([over('192.0.2.1'), over('192.0.2.1')]).toEqual([undefined, 'connections']);
});
