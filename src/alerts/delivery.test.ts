import { describe, expect, test } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { Log } from '../log/log.ts';
import { Delivery, retryDelayMs, type SendOutcome, type Sink } from './delivery.ts';
import { notificationOf } from '../../test/support/alerts.ts';
import type { Notification } from './documents.ts';

const SETTINGS = { queueMax: 3, giveUpMs: 6 * 3_600_000, timeoutMs: 10_000 };

/** A place with a word for each attempt. */
class Place implements Sink {
  readonly name = 'place';
  readonly attempts: string[] = [];
  readonly signals: AbortSignal[] = [];
  answer: (notification: Notification, signal: AbortSignal) => Promise<SendOutcome>;
  constructor(answer: Place['answer']) {
    this.answer = answer;
  }
  send(notification: Notification, signal: AbortSignal): Promise<SendOutcome> {
    this.attempts.push(notification.id);
    this.signals.push(signal);
    return this.answer(notification, signal);
  }
  close(): void {}
}

function openDelivery(place: Place, settings: Partial<typeof SETTINGS> = {}) {
  const clock = new ManualClock();
  const told: string[] = [];
  const done: string[] = [];
  const log = new Log({ clock, sink: ({ event }) => void told.push(event) });
  const delivery = new Delivery({
    sink: place,
    clock,
    random: () => 0.5,
    log,
    settings: { ...SETTINGS, ...settings },
    onDone: ({ id }) => void done.push(id),
  });
  /** Time passes, a second at a time, as the server looks. */
  const pass = async (seconds: number): Promise<void> => {
    for (let s = 0; s < seconds; s++) {
      clock.advance(1_000);
      delivery.tick();
      // What the place says is heard.
      await Promise.resolve().then(() => undefined);
      await Promise.resolve();
    }
  };
  return { clock, told, done, delivery, pass };
}

const FAILED: SendOutcome = { kind: 'failed', reason: 'it answers with status 500' };
const DELIVERED: SendOutcome = { kind: 'delivered' };

test('pauses grow, with chance in them, and have a bound', () => {
  expect([1, 2, 3, 9, 400].map((attempt) => retryDelayMs(attempt, () => 1))).toEqual([
    3_000, 5_000, 9_000, 301_000, 301_000,
  ]);
  expect(retryDelayMs(9, () => 0)).toBe(1_000);
});

describe('a place', () => {
  test('that answers 500 for an hour gets it all the same, in order, and some fifty attempts and no more', async () => {
    const place = new Place(async () => FAILED);
    const { delivery, pass, done, told } = openDelivery(place);
    for (const id of ['a', 'b']) delivery.push(notificationOf(id));
    await pass(3_600);
    expect(done).toEqual([]);
    expect(place.attempts.length).toBeLessThan(50);
    expect(new Set(place.attempts)).toEqual(new Set(['a']));
    expect(delivery.report).toMatchObject({ queued: 2, delivered: 0, last_fault: 'it answers with status 500' });
    place.answer = async () => DELIVERED;
    await pass(302);
    expect(done).toEqual(['a', 'b']);
    expect(delivery.report).toMatchObject({ queued: 0, delivered: 2, last_fault: null });
    expect(new Set(told)).toEqual(new Set(['alert_undelivered']));
  });

  test('that refuses is not asked again', async () => {
    const place = new Place(async ({ id }) => (id === 'a' ? { kind: 'refused', reason: 'status 410' } : DELIVERED));
    const { delivery, pass, done, told } = openDelivery(place);
    for (const id of ['a', 'b']) delivery.push(notificationOf(id));
    await pass(2);
    expect(place.attempts).toEqual(['a', 'b']);
    expect(done).toEqual(['a', 'b']);
    expect(delivery.report).toMatchObject({ refused: 1, delivered: 1, retried: 0 });
    expect(told).toEqual(['alert_lost']);
  });

  test('that hangs is given up, holds nothing for long, and gets it when it is well', async () => {
    // The first notices that it is given up, the second not even that.
    const waits = [
      (signal: AbortSignal) =>
        new Promise<SendOutcome>((done) => signal.addEventListener('abort', () => done({ ...FAILED }))),
      () => new Promise<SendOutcome>(() => undefined),
      async () => DELIVERED,
    ];
    const place = new Place((_, signal) => waits[place.attempts.length - 1]!(signal));
    const { delivery, pass, done } = openDelivery(place);
    delivery.push(notificationOf('a'));
    await pass(10);
    expect(place.signals[0]!.aborted).toBe(false);
    await pass(1);
    expect(place.signals[0]!.aborted).toBe(true);
    await pass(40);
    expect(place.attempts).toHaveLength(3);
    expect(done).toEqual(['a']);
    expect(delivery.report).toMatchObject({ retried: 2, delivered: 1 });
  });

  test('that wants to be left alone is, but not for years', async () => {
    const place = new Place(async () => ({ ...FAILED, afterMs: 120_000 }) as SendOutcome);
    const { delivery, pass } = openDelivery(place);
    delivery.push(notificationOf('a'));
    await pass(119);
    expect(place.attempts).toHaveLength(1);
    await pass(2);
    expect(place.attempts).toHaveLength(2);
    place.answer = async () => ({ ...FAILED, afterMs: 1e12 }) as SendOutcome;
    await pass(121);
    const before = place.attempts.length;
    await pass(3_602);
    expect(place.attempts.length).toBe(before + 1);
  });

  test('that is never well: what waits has a bound, the oldest goes, and a time', async () => {
    const place = new Place(async () => FAILED);
    const { delivery, pass, done, told } = openDelivery(place, { giveUpMs: 60_000 });
    for (const id of ['a', 'b', 'c', 'd', 'e']) delivery.push(notificationOf(id));
    await pass(1);
    expect(delivery.report).toMatchObject({ queued: 3, queue_full: 2 });
    // The first one was on its way.
    expect(done).toEqual(['b', 'c']);
    await pass(400);
    expect(done).toEqual(['b', 'c', 'a', 'd', 'e']);
    expect(delivery.report).toMatchObject({ queued: 0, given_up: 3, delivered: 0 });
    expect(told).toContain('alert_lost');
  });
});

test('after the end nothing is sent, and nothing that waits is called done', async () => {
  const place = new Place(async () => FAILED);
  const { delivery, pass, done } = openDelivery(place);
  delivery.push(notificationOf('a'));
  delivery.close();
  place.answer = async () => DELIVERED;
  await pass(100);
  expect(place.attempts).toHaveLength(1);
  expect(done).toEqual([]);
});
