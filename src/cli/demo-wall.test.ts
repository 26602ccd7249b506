import { expect, test } from 'vitest';
import { collectingLog } from '../../test/support/log.ts';
import { SightlineError } from '../base/errors.ts';
import type { DemoView } from '../sources/demo.ts';
import { fillWall } from './demo-wall.ts';

const VIEWS = ['demo-a', 'demo-b', 'demo-c'].map((id) => ({ id, path: `/cache/${id}.mp4` }));

/** A server with these cameras; `onView` is called before each view is given. */
async function fill(ids: readonly string[], onView: (view: DemoView, ids: string[], stop: AbortController) => void) {
  const cameraIds = [...ids];
  const lent: unknown[] = [];
  const stop = new AbortController();
  const { log, entries } = collectingLog();
  let isAsked = false;
  async function* views() {
    isAsked = true;
    for (const view of VIEWS) {
      wasPreparing.push(server.isPreparingCameras);
      onView(view, cameraIds, stop);
      yield view;
    }
  }
  const wasPreparing: boolean[] = [];
  const server = {
    cameraIds,
    isPreparingCameras: false,
    lendCamera: (id: string, value: object) => {
      cameraIds.push(id);
      lent.push({ id, ...value });
    },
  };
  const filled = fillWall(server, views, { log, signal: stop.signal, after: Promise.resolve() });
  wasPreparing.push(server.isPreparingCameras);
  await filled;
  expect(server.isPreparingCameras).toBe(false);
  return {
    cameraIds,
    lent,
    isAsked,
    wasPreparing,
    told: entries.map(({ event, fields }) => Object.assign({ event }, fields)),
  };
}

test('a server without cameras gets those of the demo, in the lowest class', async () => {
  const { lent, told, wasPreparing } = await fill([], () => {});
  // Also before the first one is there.
  expect(wasPreparing).toEqual([true, true, true, true]);
  expect(lent).toEqual(VIEWS.map(({ id, path }) => ({ id, url: path, class: 'low', max_fps: 1 })));
  expect(told).toEqual([]);
});

test('a server that has cameras gets none, and nothing is made for it', async () => {
  expect(await fill(['gate'], () => {})).toMatchObject({
    cameraIds: ['gate'],
    lent: [],
    isAsked: false,
    wasPreparing: [false],
  });
});

test('a camera that somebody adds meanwhile stays as it is', async () => {
  const { lent } = await fill([], ({ id }, ids) => {
    if (id === 'demo-b') ids.push('demo-b', 'gate');
  });
  expect(lent).toMatchObject([{ id: 'demo-a' }, { id: 'demo-c' }]);
});

test('a failure is told with its cause, and leaves those that are there', async () => {
  const { cameraIds, told } = await fill([], ({ id }) => {
    if (id === 'demo-c') throw new SightlineError('OUTPUT_FAILED', 'no space left on device');
  });
  expect(cameraIds).toEqual(['demo-a', 'demo-b']);
  expect(told).toEqual([
    { event: 'demo_wall_failed', cameras: 2, code: 'OUTPUT_FAILED', reason: 'no space left on device' },
  ]);
});

test('a server that closes gets no more, and nobody is told of what failed by that', async () => {
  const stopped = await fill([], ({ id }, _, stop) => {
    if (id === 'demo-b') stop.abort();
  });
  expect(stopped).toMatchObject({ cameraIds: ['demo-a'], told: [] });
  const failed = await fill([], ({ id }, _, stop) => {
    if (id !== 'demo-b') return;
    stop.abort();
    throw new Error('stopped');
  });
  expect(failed).toMatchObject({ cameraIds: ['demo-a'], told: [] });
});
