import { expect, test } from 'vitest';
import { SightlineError } from '../../base/errors.ts';
import { WaitPlaces, Waits } from './waits.ts';

const patient = { onGone: () => {} };
const LONG_MS = 60_000;

test('waits until it is there, however often something else comes', async () => {
  const places = new WaitPlaces(() => 10);
  const waits = new Waits(places);
  let count = 0;
  const third = waits.until(() => count >= 3, LONG_MS, patient);
  for (count = 1; count < 3; count++) waits.look();
  expect(places.report().waiting).toBe(1);
  waits.look();
  await third;
  await waits.until(() => true, LONG_MS, patient);
  expect([places.report(), waits.size]).toEqual([{ waiting: 0, refused: 0, timedOut: 0 }, 0]);
});

test('not for longer than it may, nor for a client that has gone', async () => {
  const places = new WaitPlaces(() => 10);
  const waits = new Waits(places);
  await waits.until(() => false, 1, patient);
  let leave = (): void => {};
  const gone = waits.until(() => false, LONG_MS, { onGone: (listener) => (leave = listener) });
  leave();
  await gone;
  await waits.until(() => false, LONG_MS, { onGone: (listener) => listener() });
  expect(places.report()).toEqual({ waiting: 0, refused: 0, timedOut: 1 });
});

test('all channels share the places', async () => {
  const places = new WaitPlaces(() => 1);
  const [one, other] = [new Waits(places), new Waits(places)];
  let isThere = false;
  const first = one.until(() => isThere, LONG_MS, patient);
  await expect(other.until(() => false, LONG_MS, patient)).rejects.toMatchObject({ code: 'WAIT_LIMIT_REACHED' });
  isThere = true;
  one.look();
  await first;
  expect(places.report()).toEqual({ waiting: 0, refused: 1, timedOut: 0 });
});

test('ends for those who wait, and those who would, but not for what is there', async () => {
  const waits = new Waits(new WaitPlaces(() => 10));
  const waiting = waits.until(() => false, LONG_MS, patient);
  waits.fail(new SightlineError('CAMERA_OFF', 'off'));
  waits.fail(new SightlineError('INTERNAL', 'later'));
  await expect(waiting).rejects.toMatchObject({ code: 'CAMERA_OFF' });
  await expect(waits.until(() => false, LONG_MS, patient)).rejects.toMatchObject({ code: 'CAMERA_OFF' });
  await waits.until(() => true, LONG_MS, patient);
});
