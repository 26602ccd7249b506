import type { WebSocketConstructor, WebSocketLike } from 'sightline/client';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { slowWebSocket } from './slow-socket.ts';

/** The socket below: what it was given, with the time, and a way to let it speak. */
class Below implements WebSocketLike {
  static last: Below;
  binaryType = 'blob';
  bufferedAmount = 0;
  readonly url: string;
  readonly sent: { readonly atMs: number; readonly data: unknown }[] = [];
  readonly closed: { readonly atMs: number; readonly code: number | undefined }[] = [];
  readonly #listeners = new Map<string, (event: never) => void>();

  constructor(url: string) {
    this.url = url;
    Below.last = this;
  }

  addEventListener(type: string, listener: (event: never) => void): void {
    this.#listeners.set(type, listener);
  }

  send(data: string | Uint8Array<ArrayBuffer>): void {
    this.sent.push({ atMs: Date.now(), data });
  }

  close(code?: number): void {
    this.closed.push({ atMs: Date.now(), code });
    this.say('close', { code: 1000 });
  }

  say(type: string, event: object): void {
    this.#listeners.get(type)?.(event as never);
  }
}

/** 1 Mbit/s: 125 bytes a millisecond. */
const PROFILE = { phases: [{ forMs: Infinity, bitsPerS: 1e6 }], delayMs: 10, jitterMs: 0 };

beforeEach(() => void vi.useFakeTimers({ now: 0 }));
afterEach(() => void vi.useRealTimers());

function open() {
  const Slow = slowWebSocket({
    profile: PROFILE,
    Platform: Below as unknown as WebSocketConstructor,
    now: () => Date.now(),
    random: () => 0,
  });
  const socket = new Slow('ws://server/ws/video');
  const events: { readonly atMs: number; readonly event: unknown }[] = [];
  socket.addEventListener('message', ({ data }) => events.push({ atMs: Date.now(), event: data }));
  socket.addEventListener('close', ({ code }) => events.push({ atMs: Date.now(), event: code }));
  return { socket, below: Below.last, events };
}

test('what is sent arrives after the time of the link, and counts as buffered until it has left', () => {
  const { socket, below } = open();
  const bytes = new Uint8Array(12_500).fill(7);
  socket.send(bytes);
  // The caller's own again.
  bytes.fill(0);
  socket.send('x'.repeat(1_250));
  below.bufferedAmount = 5;
  expect(socket.bufferedAmount).toBe(13_755);
  vi.advanceTimersByTime(100);
  expect(socket.bufferedAmount).toBe(1_255);
  expect(below.sent).toEqual([]);
  vi.advanceTimersByTime(1_000);
  expect(below.sent.map(({ atMs }) => atMs)).toEqual([110, 120]);
  expect(below.sent[0]!.data).toEqual(new Uint8Array(12_500).fill(7));
  expect(socket.bufferedAmount).toBe(5);
});

test('what comes takes its time as well, in order, and the end comes last', () => {
  const { socket, below, events } = open();
  socket.binaryType = 'arraybuffer';
  expect(below.binaryType).toBe('arraybuffer');
  below.say('message', { data: 'y'.repeat(2_500) });
  below.say('message', { data: new ArrayBuffer(1_250) });
  below.say('close', { code: 1006 });
  expect(events).toEqual([]);
  vi.advanceTimersByTime(1_000);
  expect(events.map(({ atMs }) => atMs)).toEqual([30, 40, 40]);
  expect(events.at(-1)!.event).toBe(1006);
});

test('a close waits for what was sent before it; nothing is sent after it', () => {
  const { socket, below, events } = open();
  socket.send(new Uint8Array(1_250));
  socket.close(1000);
  socket.send('late');
  socket.close(1000);
  vi.advanceTimersByTime(1_000);
  expect(below.sent).toHaveLength(1);
  expect(below.closed).toEqual([{ atMs: 20, code: 1000 }]);
  expect(events).toEqual([{ atMs: 30, event: 1000 }]);
});

test('a queue that is full ends the connection, as in a browser', () => {
  const { socket, below } = open();
  for (let i = 0; i < 5; i++) socket.send(new Uint8Array(1_000_000));
  expect(below.closed).toHaveLength(1);
});

test('the sockets of one link share its phases: a later one begins where the link is by then', () => {
  const Slow = slowWebSocket({
    profile: {
      phases: [
        { forMs: 1_000, bitsPerS: 1e6 },
        { forMs: 1_000, bitsPerS: 0 },
      ],
      delayMs: 0,
      jitterMs: 0,
    },
    Platform: Below as unknown as WebSocketConstructor,
    now: () => Date.now(),
    random: () => 0,
  });
  vi.advanceTimersByTime(1_500);
  new Slow('ws://server/ws/video').send('z'.repeat(125));
  vi.advanceTimersByTime(2_000);
  expect(Below.last.sent.map(({ atMs }) => atMs)).toEqual([2_001]);
});
