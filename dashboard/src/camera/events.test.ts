import type { CameraStateFields } from 'sightline/client/cameras';
import { expect, test } from 'vitest';
import { EventLog } from './events.ts';

const state = (name: string, since: number, condition = 'ok', message?: string): CameraStateFields => ({
  state: name,
  since,
  reason: message === undefined ? null : { code: 'CAMERA_UNREACHABLE', message },
  until: null,
  picture: { condition, since },
  stream: null,
});
const texts = (log: EventLog) => log.events.map(({ text }) => text);

test('tells changes of state once, the newest first, each with its own time', () => {
  const log = new EventLog();
  log.state(state('live', 1_000));
  log.state(state('live', 1_000));
  log.state(state('stalled', 2_000));
  log.state(state('backing_off', 3_000, 'unknown', 'it refuses the connection'));
  log.state(state('failed', 4_000, 'unknown', 'no such host'));
  expect(texts(log)).toEqual([
    'Failed, and not tried again: no such host',
    'The try failed: it refuses the connection',
    'Stalled',
    'Live',
  ]);
  expect(log.events.map(({ timeMs }) => timeMs)).toEqual([4_000, 3_000, 2_000, 1_000]);
});

test('tells a new connection though it is live again', () => {
  const log = new EventLog();
  log.state(state('live', 1_000));
  log.state(state('live', 2_000));
  expect(texts(log)).toEqual(['Live', 'Live']);
});

test('tells when the picture is wrong, and when it is right again', () => {
  const log = new EventLog();
  log.state(state('live', 1_000));
  log.state({ ...state('live', 1_000), picture: { condition: 'black', since: 5_000 } });
  log.state({ ...state('live', 1_000), picture: { condition: 'ok', since: 9_000 } });
  expect(texts(log)).toEqual(['Picture as it should be again', 'Picture black', 'Live']);
});

test('tells frames that are left out, and not results', () => {
  const log = new EventLog();
  const frame = { camera: 'north', epoch: 1, seq: 1 };
  const gap = { channel: 'raw', from: frame, to: frame, count: 3, cause: 'source' } as const;
  log.gap(gap, 1_000);
  log.gap({ ...gap, count: 1, cause: 'behind' }, 1_000);
  log.gap({ ...gap, count: undefined, cause: 'connection' }, 1_000);
  log.gap({ ...gap, channel: 'results' }, 1_000);
  expect(texts(log)).toEqual([
    'Frames missed while there was no connection to the server',
    '1 frame left out: this page, or the path to it, was too slow',
    '3 frames lost on the way from the camera',
  ]);
});

test('gaps of one cause that follow one another are one event', () => {
  const log = new EventLog();
  const frame = { camera: 'north', epoch: 1, seq: 1 };
  const gap = { channel: 'raw', from: frame, to: frame, count: 3, cause: 'source' } as const;
  log.gap(gap, 1_000);
  log.gap({ ...gap, count: 4 }, 10_999);
  log.gap(gap, 11_000);
  log.gap(gap, 11_001, true);
  log.gap({ ...gap, count: 1 }, 11_002, true);
  expect(texts(log)).toEqual([
    '4 frames not converted: lost or damaged, or the server had no time for them',
    '3 frames lost on the way from the camera',
    '7 frames lost on the way from the camera',
  ]);
});

test('keeps the last ones alone', () => {
  const log = new EventLog();
  for (let i = 0; i < 300; i++) log.add({ timeMs: i, mood: 'live', text: String(i) });
  expect(log.events).toHaveLength(100);
  expect(log.events[0]!.text).toBe('299');
});
