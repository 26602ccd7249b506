import { describe, expect, test } from 'vitest';
import { seededRandom } from '../../base/random.ts';
import { firstStatus, nextStatus, retryInMs, StallWatch, type CameraEvent, type CameraStatus } from './camera-state.ts';

const LOST = { code: 'CAMERA_STALLED', message: 'gone' } as const;

/** From one event to the next, a second apart. */
function after(...events: CameraEvent[]): CameraStatus {
  return events.reduce((status, event, i) => nextStatus(status, event, (i + 1) * 1_000), firstStatus(0));
}

describe('the state of a camera', () => {
  test('has a time, which does not move while the state stays', () => {
    expect(after({ kind: 'connecting' })).toEqual({ state: 'connecting', sinceMs: 1_000, reason: null, untilMs: null });
    expect(after({ kind: 'connecting' }, { kind: 'connecting' })).toMatchObject({ sinceMs: 1_000 });
    const live = after({ kind: 'connecting' }, { kind: 'live' });
    expect(live).toMatchObject({ state: 'live', sinceMs: 2_000 });
    expect(nextStatus(live, { kind: 'live' }, 9_000)).toBe(live);
  });

  test('keeps the reason of a failure until it is live again', () => {
    const lost: CameraEvent = { kind: 'lost', reason: LOST, retryInMs: 500 };
    expect(after({ kind: 'live' }, lost)).toEqual({
      state: 'backing_off',
      sinceMs: 2_000,
      reason: LOST,
      untilMs: 2_500,
    });
    const again = after({ kind: 'live' }, lost, { kind: 'connecting' });
    expect(again).toEqual({ state: 'connecting', sinceMs: 3_000, reason: LOST, untilMs: null });
    expect(after({ kind: 'live' }, lost, { kind: 'connecting' }, { kind: 'live' }).reason).toBeNull();
    expect(after(lost, { kind: 'off' })).toMatchObject({ state: 'off', reason: null, untilMs: null });
    const failed = after({ kind: 'lost', reason: LOST, retryInMs: undefined });
    expect(failed).toEqual({ state: 'failed', sinceMs: 1_000, reason: LOST, untilMs: null });
  });

  test('of one that is published to: it waits, with what was wrong with the last publisher, and forgets that with the next one', () => {
    const lost: CameraEvent = { kind: 'lost', reason: LOST, retryInMs: 0 };
    expect(after({ kind: 'live' }, lost, { kind: 'connecting' }, { kind: 'waiting' })).toMatchObject({
      state: 'waiting',
      reason: LOST,
    });
    expect(after({ kind: 'live' }, lost, { kind: 'waiting' }, { kind: 'anew' })).toMatchObject({
      state: 'connecting',
      reason: null,
    });
  });

  test('only who is live stalls, or has trouble', () => {
    const stalled: CameraEvent = { kind: 'stalled', reason: LOST };
    const trouble: CameraEvent = { kind: 'trouble', reason: LOST };
    expect(after({ kind: 'live' }, stalled)).toMatchObject({ state: 'stalled', reason: LOST });
    expect(after({ kind: 'connecting' }, stalled)).toMatchObject({ state: 'connecting', reason: null });
    expect(after({ kind: 'live' }, trouble)).toMatchObject({ state: 'live', sinceMs: 1_000, reason: LOST });
    expect(after({ kind: 'live' }, trouble, { kind: 'trouble', reason: null })).toMatchObject({ reason: null });
    expect(after({ kind: 'connecting' }, trouble)).toMatchObject({ reason: null });
  });
});

describe('the next try', () => {
  const pauses = (code: Parameters<typeof retryInMs>[0], random = 0) =>
    [1, 2, 3, 4, 5, 6, 7, 8, 100].map((failures) => retryInMs(code, failures, random));

  test('comes at once, then ever later, up to half a minute', () => {
    expect(pauses('CAMERA_STALLED')).toEqual([0, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
  });

  test('of one that is published to comes at once, however many publishers have failed', () => {
    expect(retryInMs('CAMERA_TOO_LARGE', 100, 1, true)).toBe(0);
    expect(retryInMs('CAMERA_STALLED', 100, 1, true)).toBe(0);
    // Nobody can come.
    expect(retryInMs('CAMERA_UNREACHABLE', 2, 0, true)).toBe(1_000);
    expect(retryInMs('CAMERA_FORBIDDEN', 1, 0, true)).toBeUndefined();
  });

  test('comes at another time for each of those that failed together', () => {
    const random = seededRandom(7);
    const all = Array.from({ length: 100 }, () => retryInMs('CAMERA_STALLED', 4, random())!);
    expect(new Set(all).size).toBe(100);
    expect([Math.min(...all) >= 2_000, Math.max(...all) <= 4_000]).toEqual([true, true]);
  });

  test('is rare where somebody has to change something at the camera, and does not come where that would be a setting here', () => {
    expect(pauses('CAMERA_TOO_LARGE').slice(0, 3)).toEqual([0, 300_000, 300_000]);
    // Wrong passwords lock out.
    expect(pauses('CAMERA_CREDENTIALS').slice(0, 3)).toEqual([300_000, 300_000, 300_000]);
    for (const code of ['CAMERA_LIMIT_REACHED', 'CAMERA_FORBIDDEN'] as const) {
      expect(pauses(code)).toEqual(Array.from({ length: 9 }, () => undefined));
    }
  });
});

test('frames that no longer come are noticed by their count', () => {
  const watch = new StallWatch(0);
  watch.note(3, 500);
  watch.note(3, 900);
  expect(watch.silentMs(1_000)).toBe(500);
  watch.note(4, 1_000);
  expect(watch.silentMs(1_000)).toBe(0);
});
