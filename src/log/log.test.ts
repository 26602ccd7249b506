import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { collectingLog } from '../../test/support/log.ts';
import { ManualClock } from '../base/clock.ts';
import { LOG_EVENTS, type LogEventName, type LogLevel } from './events.ts';
import { VALUES_MAX } from './limiter.ts';
import { Log } from './log.ts';

const CLOSED = { code: 'CONNECTIONS_EXHAUSTED', connections_max: 5 } as const;

function opened(level?: LogLevel) {
  const clock = new ManualClock();
  return { clock, ...collectingLog({ clock, ...(level && { level }) }) };
}

describe('what is written', () => {
  test('has time of day, level, room, event, a sentence and the fields', () => {
    const { log, entries, clock } = opened();
    clock.stepWall(5_000);
    log.write('server_listening', { url: 'http://127.0.0.1:8080' });
    expect(entries).toEqual([
      {
        timeMs: clock.now() + 5_000,
        level: 'info',
        room: 'app',
        event: 'server_listening',
        text: 'listening on http://127.0.0.1:8080',
        fields: { url: 'http://127.0.0.1:8080' },
      },
    ]);
  });

  test('is at least as heavy as the level says, which can change', () => {
    const { log, texts } = opened('warn');
    const all = () => {
      log.write('shutdown_step', { step: 'http', took_ms: 3 });
      log.write('shutdown_started', {});
      log.write('model_failed', { model: `m${texts().length}`, code: 'MODEL_CRASHED', reason: 'it crashed' });
    };
    all();
    expect(texts()).toEqual(['model m0 cannot be used: it crashed (MODEL_CRASHED)']);
    log.level = 'debug';
    all();
    expect(texts()).toHaveLength(4);
    log.level = 'silent';
    all();
    expect(texts()).toHaveLength(4);
  });

  test('comes to nothing where the sink throws', () => {
    const log = new Log({
      clock: new ManualClock(),
      sink: () => {
        throw new Error('nobody listens');
      },
    });
    expect(() => log.write('shutdown_started', {})).not.toThrow();
  });
});

describe('what happens too often', () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }));
  afterEach(() => void vi.useRealTimers());

  test('is written once a second, with the number of those that were left out', () => {
    const { log, entries, clock } = opened();
    for (let ms = 0; ms < 10_000; ms++) {
      log.write('connections_exhausted', CLOSED);
      clock.advance(1);
    }
    expect(entries.map(({ suppressed }) => suppressed)).toEqual([undefined, ...Array.from({ length: 9 }, () => 999)]);
    log.close();
    const told = entries.reduce((sum, { suppressed = 0 }) => sum + 1 + suppressed, 0);
    expect(told).toBe(10_000);
  });

  test('is told a second later where nothing follows, and at the end at once', () => {
    const { log, entries, clock } = opened();
    for (let i = 0; i < 4; i++) log.write('connections_exhausted', CLOSED);
    clock.advance(1_000);
    vi.advanceTimersByTime(1_000);
    expect(entries.map(({ suppressed }) => suppressed)).toEqual([undefined, 2]);
    for (let i = 0; i < 2; i++) log.write('connections_exhausted', CLOSED);
    log.close();
    expect(entries.map(({ suppressed }) => suppressed)).toEqual([undefined, 2, 1]);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('is counted by value where the event has one, of so many values at most; the others together', () => {
    const { log, entries, clock } = opened();
    for (let i = 0; i < 1_000; i++) {
      log.write('model_failed', { model: `m${i}`, code: 'MODEL_CRASHED', reason: 'it crashed' });
    }
    expect(entries).toHaveLength(VALUES_MAX + 1);
    clock.advance(1_000);
    log.write('model_failed', { model: 'm1', code: 'MODEL_CRASHED', reason: 'it crashed' });
    expect(entries.at(-2)).toMatchObject({ fields: { model: 'm1' } });
    log.close();
    const told = entries.reduce((sum, { suppressed = 0 }) => sum + 1 + suppressed, 0);
    expect(told).toBe(1_001);
  });

  test('events do not hide each other, and rare ones are never left out', () => {
    const { log, entries } = opened('debug');
    for (let i = 0; i < 5; i++) {
      log.write('connections_exhausted', CLOSED);
      log.write('shutdown_step', { step: String(i), took_ms: 0 });
    }
    expect(entries.map(({ event }) => event)).toEqual([
      'connections_exhausted',
      ...Array.from({ length: 5 }, () => 'shutdown_step'),
    ]);
  });
});

describe('the catalogue', () => {
  const kinds = Object.entries(LOG_EVENTS) as [LogEventName, (typeof LOG_EVENTS)[LogEventName]][];

  test.each(kinds)('%s is described in whole', (name, { about, fields }) => {
    expect(name).toMatch(/^[a-z]+(_[a-z]+)+$/);
    expect(about).toMatch(/^(`|[A-Z]).*\.$/s);
    for (const [field, what] of Object.entries(fields)) {
      expect(field).toMatch(/^[a-z]+(_[a-z]+)*$/);
      expect(field).not.toMatch(/^(level|time|room|event|suppressed|msg)$/);
      expect(what).not.toBe('');
    }
  });
});
