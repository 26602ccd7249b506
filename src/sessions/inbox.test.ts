import type { WebSocket } from 'ws';
import { expect, test } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { boundless } from '../fences/memory-ledger.ts';
import { Turns } from '../fences/turns.ts';
import { Inbox } from './inbox.ts';
import { PauseReason, SocketReading } from './socket-reading.ts';

/** A socket as far as it is paused and resumed. */
class FakeSocket {
  isPaused = false;
  pause(): void {
    this.isPaused = true;
  }
  resume(): void {
    this.isPaused = false;
  }
}

function setUp() {
  const clock = new ManualClock(0);
  const due: (() => void)[] = [];
  const turns = new Turns({ clock, schedule: (_waitMs, run) => void due.push(run) });
  const memory = boundless().open('test', 'one');
  const worked: string[] = [];
  let costMs = 0;
  let work: Promise<void> | undefined;
  const owner = {
    onMessage(data: Buffer): void | Promise<void> {
      worked.push(data.toString());
      clock.advance(costMs);
      return work;
    },
  };
  const inbox = new Inbox({ host: { clock, fences: { turns } }, memory, owner });
  const socket = new FakeSocket();
  inbox.open(socket as unknown as WebSocket, undefined);
  return {
    clock,
    inbox,
    memory,
    worked,
    socket,
    turns,
    reading: SocketReading.of(socket as unknown as WebSocket),
    setCost: (ms: number) => (costMs = ms),
    workElsewhere: (elsewhere: Promise<void> | undefined) => (work = elsewhere),
    receive: (...texts: string[]) => {
      for (const text of texts) inbox.receive(Buffer.from(text), false, clock.now());
    },
    /** Lets time pass, and what is scheduled run. */
    pass: (ms: number) => {
      clock.advance(ms);
      for (const run of due.splice(0)) run();
    },
  };
}

test('messages are worked on as they come, while the client takes little time', () => {
  const { receive, worked, socket } = setUp();
  receive('a', 'b', 'c');
  expect([worked, socket.isPaused]).toEqual([['a', 'b', 'c'], false]);
});

test('what comes beyond its share waits, in its order, and the socket is not read meanwhile', () => {
  const { receive, worked, socket, setCost, pass, memory } = setUp();
  setCost(3);
  receive('a', 'b', 'c');
  expect([worked, socket.isPaused]).toEqual([['a'], true]);
  expect(memory.bytes('incoming')).toBeGreaterThan(0);
  pass(6);
  expect(worked).toEqual(['a', 'b']);
  receive('d');
  pass(6);
  pass(6);
  expect([worked, socket.isPaused]).toEqual([['a', 'b', 'c', 'd'], false]);
  expect(memory.bytes('incoming')).toBe(0);
});

test('what has come already waits as well where the socket is not read for another reason', () => {
  const { receive, worked, socket, reading, pass } = setUp();
  reading.pause(PauseReason.deaf);
  receive('a', 'b');
  pass(10);
  expect([worked, socket.isPaused]).toEqual([[], true]);
  reading.resume(PauseReason.deaf);
  pass(0);
  expect([worked, socket.isPaused]).toEqual([['a', 'b'], false]);
});

test('a message that takes several turns holds up those behind it', async () => {
  const { receive, worked, socket, workElsewhere, pass } = setUp();
  const elsewhere = Promise.withResolvers<void>();
  workElsewhere(elsewhere.promise);
  receive('large');
  workElsewhere(undefined);
  receive('behind');
  pass(10);
  expect([worked, socket.isPaused]).toEqual([['large'], true]);
  elsewhere.resolve();
  await elsewhere.promise;
  pass(0);
  expect([worked, socket.isPaused]).toEqual([['large', 'behind'], false]);
});

test('the end comes after all that came before it', async () => {
  const { receive, worked, inbox, setCost, pass, workElsewhere } = setUp();
  const ends: string[] = [];
  inbox.whenEmpty(() => ends.push('at once'));
  setCost(5);
  const elsewhere = Promise.withResolvers<void>();
  workElsewhere(elsewhere.promise);
  receive('a', 'b');
  inbox.whenEmpty(() => ends.push('later'));
  expect(ends).toEqual(['at once']);
  workElsewhere(undefined);
  elsewhere.resolve();
  await elsewhere.promise;
  pass(20);
  expect([worked, ends]).toEqual([
    ['a', 'b'],
    ['at once', 'later'],
  ]);
});

test('a socket that is gone takes what waits along', () => {
  const { receive, worked, inbox, setCost, pass, memory, turns } = setUp();
  setCost(5);
  receive('a', 'b', 'c');
  inbox.close();
  pass(50);
  expect([worked, memory.bytes('incoming'), turns.waiting]).toEqual([['a'], 0, 0]);
});

test('bytes are paid for where no message is complete, and are not read when the turn is over', () => {
  const { inbox, clock, socket, pass } = setUp();
  const read = (costMs: number): void => {
    const mark = inbox.beginRead();
    clock.advance(costMs);
    inbox.endRead(mark);
  };
  read(1.5);
  expect([inbox.time.usedMs, socket.isPaused]).toEqual([1.5, false]);
  read(3);
  expect([inbox.time.usedMs, socket.isPaused]).toEqual([4.5, true]);
  pass(10);
  expect(socket.isPaused).toBe(false);
});

test('what a message has taken is not paid for twice', () => {
  const { inbox, clock, receive, setCost } = setUp();
  setCost(1);
  const mark = inbox.beginRead();
  clock.advance(0.25);
  receive('a');
  inbox.endRead(mark);
  expect(inbox.time.usedMs).toBe(1.25);
});
