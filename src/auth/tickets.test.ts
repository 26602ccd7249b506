import { beforeEach, expect, test } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { SightlineError } from '../base/errors.ts';
import { ALL_GRANTS } from './grants.ts';
import { Principal } from './principal.ts';
import { Tickets, TICKETS_MAX, TICKETS_OF_ONE_MAX } from './tickets.ts';

const SOCKET = { path: '/ws/video', method: 'GET', isSocket: true };
const IMAGE = { path: '/still.jpg', method: 'GET', isSocket: false };
const BAD = expect.objectContaining({ code: 'CREDENTIALS_BAD' });

let clock: ManualClock;
let tickets: Tickets;
let ada: Principal;
beforeEach(() => {
  clock = new ManualClock();
  tickets = new Tickets(clock);
  ada = holder('ada');
});

function holder(name: string): Principal {
  return new Principal({ id: `key:${name}`, name, grants: ALL_GRANTS });
}

test('opens one WebSocket', () => {
  const ticket = tickets.issue(ada, '/ws/video');
  expect(Tickets.isTicket(ticket)).toBe(true);
  expect(tickets.principalOf(ticket, SOCKET)).toBe(ada);
  expect(() => tickets.principalOf(ticket, SOCKET)).toThrow(BAD);
  expect([tickets.size, ada.dependants]).toEqual([0, 0]);
  expect(tickets.counts).toEqual({ issued: 1, used: 1, refused: 1, evicted: 0 });
});

test('reads an address for a minute', () => {
  const ticket = tickets.issue(ada, '/still.jpg');
  for (let i = 0; i < 3; i++) expect(tickets.principalOf(ticket, IMAGE)).toBe(ada);
  expect(tickets.principalOf(ticket, { ...IMAGE, method: 'HEAD' })).toBe(ada);
  clock.advance(59_999);
  expect(tickets.principalOf(ticket, IMAGE)).toBe(ada);
  clock.advance(1);
  expect(() => tickets.principalOf(ticket, IMAGE)).toThrow(BAD);
});

test.each([
  ['another address', { ...IMAGE, path: '/still.jpg/x' }],
  ['a change', { ...IMAGE, method: 'PUT' }],
  ['a question before a change', { ...IMAGE, method: 'OPTIONS' }],
])('is not for %s', (_what, use) => {
  const ticket = tickets.issue(ada, '/still.jpg');
  expect(() => tickets.principalOf(ticket, use)).toThrow(BAD);
  expect(tickets.principalOf(ticket, IMAGE)).toBe(ada);
});

test.each(['', 'sightline_ticket_', `sightline_ticket_${'A'.repeat(44)}`, 'x'.repeat(100_000)])(
  '%.30s is none',
  (text) => expect(Tickets.isTicket(text)).toBe(false),
);

test('ends with the credential', () => {
  const ticket = tickets.issue(ada, '/still.jpg');
  ada.end(new SightlineError('CREDENTIALS_BAD', 'revoked'));
  expect(() => tickets.principalOf(ticket, IMAGE)).toThrow(BAD);
  expect(tickets.size).toBe(0);
});

test('one holder has so many, whose oldest goes; others keep theirs', () => {
  const other = tickets.issue(holder('bob'), '/still.jpg');
  const own = Array.from({ length: TICKETS_OF_ONE_MAX + 1 }, () => tickets.issue(ada, '/still.jpg'));
  expect(() => tickets.principalOf(own[0]!, IMAGE)).toThrow(BAD);
  for (const ticket of [other, own[1]!, own.at(-1)!]) tickets.principalOf(ticket, IMAGE);
  expect([tickets.size, tickets.counts.evicted]).toEqual([TICKETS_OF_ONE_MAX + 1, 1]);
});

test('of all so many are kept, and what is over is forgotten', () => {
  const first = tickets.issue(ada, '/still.jpg');
  for (let i = 0; i < TICKETS_MAX; i++) tickets.issue(holder(`h${i}`), '/still.jpg');
  expect(() => tickets.principalOf(first, IMAGE)).toThrow(BAD);
  expect(tickets.size).toBe(TICKETS_MAX);
  clock.advance(60_000);
  tickets.issue(ada, '/still.jpg');
  expect([tickets.size, ada.dependants]).toEqual([1, 1]);
});
