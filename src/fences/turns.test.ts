import { expect, test } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { seededRandom } from '../base/random.ts';
import { TimeAccount, Turns, type AddressTime, type WaitingClient } from './turns.ts';

const PROXY = '192.0.2.1';

/** A main thread on a simulated clock: what is scheduled runs in its order, turns of the event loop take no time of their own. */
class MainThread {
  readonly clock = new ManualClock(0);
  readonly turns: Turns;
  readonly #due: { atMs: number; run: () => void }[] = [];

  constructor() {
    this.turns = new Turns({
      clock: this.clock,
      schedule: (waitMs, run) => void this.#due.push({ atMs: this.clock.now() + waitMs, run }),
      isShared: (address) => address === PROXY,
    });
  }

  after(waitMs: number, run: () => void): void {
    this.#due.push({ atMs: this.clock.now() + waitMs, run });
  }

  runUntil(untilMs: number): void {
    for (;;) {
      this.#due.sort((a, b) => a.atMs - b.atMs);
      const next = this.#due[0];
      if (next === undefined || next.atMs > untilMs) break;
      this.#due.shift();
      this.clock.advance(Math.max(0, next.atMs - this.clock.now()));
      next.run();
    }
    this.clock.advance(Math.max(0, untilMs - this.clock.now()));
  }
}

/** A client whose messages each take `costMs`; tells how long each had to wait. */
class Client implements WaitingClient {
  readonly time: TimeAccount;
  readonly waitsMs: number[] = [];
  isReady = true;
  readonly #thread: MainThread;
  readonly #costMs: number;
  readonly #sentMs: number[] = [];

  constructor(thread: MainThread, costMs: number, address?: AddressTime) {
    this.time = new TimeAccount(address);
    this.#thread = thread;
    this.#costMs = costMs;
    if (address) thread.turns.connected(this.time);
  }

  get waiting(): number {
    return this.#sentMs.length;
  }

  send(): void {
    const { turns, clock } = this.#thread;
    this.#sentMs.push(clock.now());
    if (this.#sentMs.length === 1 && turns.admits(this.time, clock.now())) this.work();
    else turns.wait(this);
  }

  work(): boolean {
    const sentMs = this.#sentMs.shift();
    if (sentMs === undefined) return false;
    const { turns, clock } = this.#thread;
    this.waitsMs.push(clock.now() - sentMs);
    clock.advance(this.#costMs);
    turns.spent(this.time, this.#costMs, clock.now());
    return this.#sentMs.length > 0;
  }
}

/** Sends a message at each interval; a client that floods keeps some waiting always. */
function send(thread: MainThread, client: Client, everyMs: number, waitingMax = 1_000): void {
  const next = (): void => {
    if (client.waiting < waitingMax) client.send();
    thread.after(everyMs, next);
  };
  thread.after(everyMs, next);
}

test('a client alone takes half of the time, and its messages in their order', () => {
  const thread = new MainThread();
  const flood = new Client(thread, 0.05);
  send(thread, flood, 0.04, 200);
  thread.runUntil(4_000);
  expect(flood.time.usedMs / 4_000).toBeGreaterThan(0.45);
  expect(flood.time.usedMs / 4_000).toBeLessThan(0.55);
});

test.each([
  [1, 8],
  [5, 8],
  // All of them together are light for the first second: their messages are worked on as they come.
  [50, 25],
])('beside %i clients that flood, one that sends now and then waits for less than %i ms', (floods, waitMsMax) => {
  const thread = new MainThread();
  const random = seededRandom(floods);
  const heavy = Array.from({ length: floods }, () => new Client(thread, 0.02 + random() * 2));
  for (const client of heavy) send(thread, client, 0.5, 100);
  const light = new Client(thread, 0.3);
  thread.after(3.3, () => send(thread, light, 33));
  thread.runUntil(5_000);
  expect(light.waitsMs.length).toBeGreaterThan(140);
  expect(Math.max(...light.waitsMs)).toBeLessThan(waitMsMax);
  const usedMs = heavy.reduce((sum, { time }) => sum + time.usedMs, 0);
  expect(usedMs / 5_000).toBeLessThan(0.7);
});

test('clients that flood alike get alike', () => {
  const thread = new MainThread();
  const clients = [0.02, 0.2, 2].map((costMs) => new Client(thread, costMs));
  for (const client of clients) send(thread, client, 0.02, 100);
  thread.runUntil(10_000);
  const used = clients.map(({ time }) => time.usedMs);
  expect(Math.max(...used) / Math.min(...used)).toBeLessThan(1.5);
});

test('a dear message is paid for before the next one', () => {
  const thread = new MainThread();
  const dear = new Client(thread, 100);
  send(thread, dear, 1, 10);
  thread.runUntil(10_000);
  expect(dear.time.usedMs / 10_000).toBeLessThan(0.56);
});

test('who cannot work on holds up nobody, and goes on when it can', () => {
  const thread = new MainThread();
  const held = new Client(thread, 1);
  held.isReady = false;
  for (let i = 0; i < 5; i++) thread.turns.wait(held);
  const other = new Client(thread, 1);
  send(thread, other, 0.5, 10);
  thread.runUntil(100);
  expect([held.time.usedMs, other.time.usedMs > 40]).toEqual([0, true]);
});

test('work that goes on has its turns as messages have', async () => {
  const thread = new MainThread();
  const time = new TimeAccount();
  thread.turns.spent(time, 10, thread.clock.now());
  let isThere = false;
  const turn = thread.turns.next(time).then(() => (isThere = true));
  thread.runUntil(5);
  await Promise.resolve();
  expect(isThere).toBe(false);
  thread.runUntil(30);
  await turn;
  expect(isThere).toBe(true);
});

test('an address counts what waits of a client once for each, and nothing when nothing waits', async () => {
  const thread = new MainThread();
  const { turns } = thread;
  const client = new Client(thread, 1);
  turns.spent(client.time, 10, 0);
  const turn = turns.next(client.time);
  client.send();
  expect(client.time.address.waiting).toBe(2);
  thread.runUntil(100);
  await turn;
  expect([client.time.address.waiting, turns.waiting]).toEqual([0, 0]);
});

const usedBy = (clients: readonly Client[]) => clients.reduce((sum, { time }) => sum + time.usedMs, 0);

test('an address takes a quarter of the time while clients of others are there, and what it wants when they have gone', () => {
  const thread = new MainThread();
  const crowd = thread.turns.addressTime('192.0.2.7');
  const floods = Array.from({ length: 20 }, () => new Client(thread, 0.3, crowd));
  for (const flood of floods) send(thread, flood, 0.5, 50);
  const other = new TimeAccount(thread.turns.addressTime('192.0.2.8'));
  thread.turns.connected(other);
  thread.runUntil(4_000);
  expect(usedBy(floods) / 4_000).toBeGreaterThan(0.22);
  expect(usedBy(floods) / 4_000).toBeLessThan(0.27);
  thread.turns.disconnected(other);
  thread.runUntil(8_000);
  expect(usedBy(floods) / 4_000).toBeGreaterThan(0.22 + 0.6);
});

test('an address that others come from, too, such as that of a proxy, has no bound of its own', () => {
  const thread = new MainThread();
  const proxy = thread.turns.addressTime(PROXY);
  const floods = Array.from({ length: 20 }, () => new Client(thread, 0.3, proxy));
  for (const flood of floods) send(thread, flood, 0.5, 50);
  thread.turns.connected(new TimeAccount(thread.turns.addressTime('192.0.2.8')));
  thread.runUntil(4_000);
  expect(usedBy(floods) / 4_000).toBeGreaterThan(0.6);
});

test('many clients of one address get together what one of another gets, and one that sends now and then hardly waits', () => {
  const thread = new MainThread();
  const crowd = thread.turns.addressTime('192.0.2.7');
  const many = Array.from({ length: 50 }, () => new Client(thread, 0.3, crowd));
  for (const client of many) send(thread, client, 0.5, 20);
  const single = new Client(thread, 0.3, thread.turns.addressTime('192.0.2.8'));
  send(thread, single, 0.2, 20);
  const light = new Client(thread, 0.3, thread.turns.addressTime('192.0.2.9'));
  send(thread, light, 33);
  thread.runUntil(1_500);
  expect(single.time.usedMs / usedBy(many)).toBeGreaterThan(0.9);
  expect(single.time.usedMs / usedBy(many)).toBeLessThan(1.1);
  expect(Math.max(...light.waitsMs)).toBeLessThan(12);
  const used = many.map(({ time }) => time.usedMs);
  expect(Math.max(...used) / Math.min(...used)).toBeLessThan(1.5);
});

test('a client that cannot work on for long has no claim to all that it has missed', () => {
  const thread = new MainThread();
  const held = new Client(thread, 1, thread.turns.addressTime('192.0.2.7'));
  held.isReady = false;
  held.send();
  held.send();
  const others = ['192.0.2.8', '192.0.2.9'].map((address) => new Client(thread, 1, thread.turns.addressTime(address)));
  for (const other of others) send(thread, other, 0.5, 20);
  thread.runUntil(5_000);
  held.isReady = true;
  send(thread, held, 0.5, 20);
  const before = usedBy(others);
  thread.runUntil(5_500);
  // A quarter of the time for each of them, whatever the one had left unused.
  expect(usedBy(others) - before).toBeGreaterThan(500 * 0.35);
});

test('delivering to a client counts in its order, and for whether it is light', () => {
  const thread = new MainThread();
  const { turns, clock } = thread;
  const reader = new TimeAccount();
  expect(turns.isLight(reader, clock.now())).toBe(true);
  turns.charge(reader, 30, clock.now());
  expect([turns.isLight(reader, clock.now()), turns.admits(reader, clock.now())]).toEqual([false, true]);
  clock.advance(1_000);
  expect(turns.isLight(reader, clock.now())).toBe(true);
  expect(reader.usedMs).toBe(30);
});

test('a message whose handling throws does not keep others from their turns', () => {
  const thread = new MainThread();
  const served: string[] = [];
  const faulty = new TimeAccount();
  let faults = 0;
  thread.turns.wait({
    time: faulty,
    isReady: true,
    work: () => {
      if (++faults === 1) throw new Error('a bug');
      served.push('faulty');
      return false;
    },
  });
  thread.turns.wait({ time: new TimeAccount(), isReady: true, work: () => (served.push('other'), false) });
  expect(() => thread.runUntil(10)).toThrow('a bug');
  thread.runUntil(20);
  expect(served.toSorted()).toEqual(['faulty', 'other']);
});

test('what has drained is kept no longer, and what has not counts on', () => {
  const time = new TimeAccount();
  const [burst, use] = [time.burst, time.use];
  burst.add(2, 0, Infinity);
  use.add(2, 0, Infinity);
  // At half a millisecond in each one, and a tenth.
  time.rest(4);
  expect([time.burst === burst, time.use === use, time.use.level(4)]).toEqual([false, true, 1.6]);
  time.rest(20);
  expect([time.use === use, time.use.level(20)]).toEqual([false, 0]);
});
