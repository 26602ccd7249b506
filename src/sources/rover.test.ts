import { afterEach, describe, expect, test, vi } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { seededRandom } from '../base/random.ts';
import type { Payload } from '../protocol/payload.ts';
import { DEAD_MAN_MS } from './rover-safety.ts';
import type { RoverTelemetry } from './rover-telemetry.ts';
import { RoverSource, type RoverStatus } from './rover.ts';

interface Published {
  readonly topic: string;
  readonly value: unknown;
  readonly timeMs: number | undefined;
}

const open: RoverSource[] = [];
afterEach(() => {
  for (const source of open.splice(0)) source.close();
});

function setUp(seed = 1) {
  const clock = new ManualClock();
  const published: Published[] = [];
  const topics = {
    publish: (topic: string, message: { payload: Payload; timeMs?: number }) =>
      published.push({ topic, value: message.payload.value(), timeMs: message.timeMs }),
  };
  const source = new RoverSource({ topics, clock, random: seededRandom(seed) });
  open.push(source);
  const states = () => published.filter(({ topic }) => topic === 'rover/1/state');
  const pass = (ms: number) => {
    for (let t = 0; t < ms; t++) {
      clock.advance(1);
      source.advance();
    }
  };
  return {
    clock,
    source,
    published,
    states,
    pass,
    last: () => states().at(-1)!.value as RoverTelemetry,
    statuses: () =>
      published.filter(({ topic }) => topic === 'rover/1/status').map(({ value }) => value as RoverStatus),
    order: (throttle: number, lifeMs = 300) =>
      source.order({ throttle, steer: 0, receivedTimeMs: clock.now(), expiresTimeMs: clock.now() + lifeMs }),
  };
}

describe('the schedule', () => {
  test('200 states a second, 5 ms apart, with the moment that each was due at', () => {
    const { states, pass, clock } = setUp();
    const startMs = clock.now();
    pass(1_000);
    expect(states().map(({ timeMs }) => timeMs! - startMs)).toEqual(Array.from({ length: 200 }, (_, i) => (i + 1) * 5));
  });

  test('lateness does not add up, and what is a little late is made up for', () => {
    const { states, source, clock } = setUp();
    for (let i = 0; i < 50; i++) {
      clock.advance(i % 2 ? 33 : 7);
      source.advance();
    }
    expect(states()).toHaveLength(200);
  });

  test('after a long hold-up the lost states are left out and counted; the model’s time goes on with the clock', () => {
    const { states, statuses, source, clock, pass } = setUp();
    const startMs = clock.now();
    clock.advance(5_000);
    source.advance();
    expect(states().length).toBeLessThanOrEqual(41);
    expect(states().at(-1)!.timeMs).toBe(startMs + 5_000);
    expect(source.state.timeMs).toBe(5_000);
    pass(1_000);
    expect(statuses().at(-1)!.states_skipped).toBe(1_000 + 200 - states().length);
  });

  test('its timer keeps the rate', async () => {
    vi.useFakeTimers();
    try {
      const published: string[] = [];
      const clock = { now: () => Date.now() };
      const topics = { publish: (topic: string) => published.push(topic) };
      const source = new RoverSource({ topics, clock, random: seededRandom(1), name: 'rover/7' });
      source.start();
      await vi.advanceTimersByTimeAsync(500);
      expect(published.filter((topic) => topic === 'rover/7/state')).toHaveLength(100);
      source.close();
      source.close();
      source.start();
      await vi.advanceTimersByTimeAsync(500);
      expect(published.filter((topic) => topic === 'rover/7/state')).toHaveLength(100);
    } finally {
      vi.useRealTimers();
    }
  });

  test('the same seed tells the same story', () => {
    const [one, same, other] = [setUp(5), setUp(5), setUp(6)];
    for (const { pass } of [one, same, other]) pass(100);
    expect(same.published).toEqual(one.published);
    expect(other.states()).not.toEqual(one.states());
  });
});

describe('driving', () => {
  test('an order moves it; when orders stop, it brakes after 300 ms and stands', () => {
    const { pass, order, last, statuses } = setUp();
    for (let i = 0; i < 20; i++) {
      order(1);
      pass(50);
    }
    expect(last().pose.speed).toBeGreaterThan(1.5);
    expect(statuses().at(-1)).toMatchObject({ mode: 'driving', stop_cause: null });
    pass(DEAD_MAN_MS - 60);
    expect(last().drive.brake).toBe(0);
    pass(70);
    expect(last().drive.brake).toBe(1);
    pass(1_000);
    expect(Math.abs(last().pose.speed)).toBeLessThan(0.01);
    expect(statuses().at(-1)).toMatchObject({ mode: 'stopped' });
  });

  test('an order that came too late changes nothing and is counted', () => {
    const { pass, order, last, statuses } = setUp();
    order(1, -1);
    pass(1_100);
    expect(last().drive).toEqual({ throttle: 0, steer: 0, brake: 1 });
    expect(statuses().at(-1)).toMatchObject({ orders_expired: 1, stop_cause: 'idle' });
  });

  test('an emergency stop holds against orders, and nothing moves at the release', () => {
    const { pass, order, last, source, statuses } = setUp();
    order(1);
    pass(200);
    source.emergencyStop();
    order(1);
    pass(1_000);
    expect(Math.abs(last().pose.speed)).toBeLessThan(0.01);
    expect(statuses().at(-1)).toMatchObject({ stop_cause: 'emergency', faults: ['emergency_stop'] });
    order(1);
    source.release();
    pass(100);
    expect(last().drive.brake).toBe(1);
    order(1);
    pass(200);
    expect(last().pose.speed).toBeGreaterThan(0.1);
    expect(last().faults).toBe(0);
  });

  test('halt brakes at once', () => {
    const { pass, order, last, source } = setUp();
    order(1);
    pass(100);
    source.halt();
    pass(5);
    expect(last().drive.brake).toBe(1);
  });
});

test('a change of status is told at once, else once a second', () => {
  const { pass, order, statuses } = setUp();
  pass(100);
  expect(statuses()).toHaveLength(1);
  order(0.3);
  pass(5);
  expect(statuses()).toHaveLength(2);
  pass(100);
  expect(statuses()).toHaveLength(2);
  pass(2_500);
  // 300 ms later the dead man's brake, then two more of the regular ones.
  expect(statuses().length).toBe(5);
});
