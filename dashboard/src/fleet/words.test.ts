import { describe, expect, test } from 'vitest';
import {
  bitsText,
  countText,
  durationText,
  fpsText,
  isIn,
  isTrouble,
  markOf,
  nameParts,
  stateText,
  type Told,
} from './words.ts';

const NOW = 1_000_000;
const camera = (told: Partial<Told>): Told => ({
  state: 'live',
  since: NOW - 12_000,
  reason: null,
  until: null,
  picture: { condition: 'ok', since: NOW },
  ...told,
});
const reason = { code: 'CAMERA_UNREACHABLE', message: '10.0.0.7:554 refuses the connection' };

describe('a state in words', () => {
  test.each([
    [{}, 12.5, 'live · 12.5 fps'],
    [{}, undefined, 'live for 12 s'],
    [{ state: 'connecting' }, 0, 'connecting for 12 s'],
    [{ state: 'connecting', reason }, 0, `failed: ${reason.message} · trying again now`],
    [{ state: 'waiting' }, 0, 'waiting for a publisher'],
    [{ state: 'waiting', reason }, 0, `waiting for a publisher · the last one: ${reason.message}`],
    [{ state: 'stalled', since: NOW - 150_000 }, 0, 'stalled for 3 min'],
    [{ state: 'backing_off', reason, until: NOW + 8_200 }, 0, `failed: ${reason.message} · trying again in 8 s`],
    [{ state: 'backing_off', reason, until: NOW - 50 }, 0, `failed: ${reason.message} · trying again now`],
    [{ state: 'backing_off' }, 0, 'failed · trying again now'],
    [{ state: 'failed', reason }, 0, `failed: ${reason.message}`],
    [{ state: 'failed' }, 0, 'failed'],
    [{ state: 'ended' }, 0, 'ended 12 s ago'],
    [{ state: 'off' }, 0, 'turned off'],
    // Of a newer server.
    [{ state: 'resting' }, 0, 'resting'],
    // Clocks are a little apart.
    [{ state: 'connecting', since: NOW + 900 }, 0, 'connecting for 0 s'],
  ])('%o', (told, fps, text) => expect(stateText(camera(told), NOW, fps)).toBe(text));
});

test('a picture is marked only while frames come', () => {
  const picture = { condition: 'black', since: NOW };
  expect(markOf(camera({ picture }))).toBe('Picture black');
  expect(markOf(camera({ picture, state: 'stalled' }))).toBeUndefined();
  expect(markOf(camera({ picture: { condition: 'unknown', since: NOW } }))).toBeUndefined();
});

test('trouble is what fails, has stalled, or shows what it should not; not what is turned off or begins', () => {
  for (const state of ['stalled', 'backing_off', 'failed']) expect(isTrouble(camera({ state }))).toBe(true);
  for (const state of ['live', 'off', 'ended', 'connecting', 'waiting', 'resting'])
    expect(isTrouble(camera({ state }))).toBe(false);
  // As long as it has not come back.
  expect(isTrouble(camera({ state: 'connecting', reason }))).toBe(true);
  const frozen = camera({ picture: { condition: 'frozen', since: NOW } });
  expect((['all', 'live', 'trouble'] as const).map((filter) => isIn(filter, frozen))).toEqual([true, true, true]);
  expect(isIn('live', camera({ state: 'connecting' }))).toBe(false);
});

test('figures in words', () => {
  expect([0, 99_400, 100_000, 5_900_000, 6_000_000, 200_000_000].map(durationText)).toEqual([
    '0 s',
    '99 s',
    '2 min',
    '98 min',
    '2 h',
    '2 days',
  ]);
  expect([fpsText(12.46), fpsText(120)]).toEqual(['12.5 fps', '120 fps']);
  expect([bitsText(540_400), bitsText(999_900), bitsText(4_230_000)]).toEqual([
    '540 kbit/s',
    '1.0 Mbit/s',
    '4.2 Mbit/s',
  ]);
  expect(countText(['Car', 'Person', 'Car'])).toBe('2 × Car, Person');
  expect(countText([])).toBe('');
});

test.each([
  ['yard', 'yard', ''],
  ['loading-dock-11', 'loading-dock', '-11'],
  ['corridor-2nd-floor-by-the-lift', 'corridor-2nd-floor-by-the', '-lift'],
  ['warehouse-entrance', 'warehouse-entr', 'ance'],
  ['10.0.0.117', '10.0.0', '.117'],
])('the end of a long name is kept: %s', (id, head, tail) => {
  expect(nameParts(id)).toEqual([head, tail]);
});
