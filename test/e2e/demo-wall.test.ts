import { expect, test } from 'vitest';
import { ServerProcess } from '../support/server-process.ts';

/** The wall of a demo, by the real command. */

interface Cameras {
  readonly cameras: readonly { id: string; class: string; state: string; picture: { condition: string } }[];
}

/** Resolves when the wall has its cameras, and all of them are live. */
async function liveCameras(server: ServerProcess): Promise<Cameras['cameras']> {
  const read = async () => (await server.json<Cameras>('/api/cameras')).cameras;
  const states = async () => (await read()).map(({ state }) => state);
  // With an empty cache they are made first, out of photographs that npm fetches.
  await expect.poll(states, { timeout: 100_000 }).toEqual(Array.from({ length: 4 }, () => 'live'));
  return await read();
}

/** Resolves when an event of a camera tells of a car. */
async function untilCar(url: string): Promise<void> {
  const { body } = await fetch(url);
  let text = '';
  for await (const part of body!.pipeThrough(new TextDecoderStream())) {
    text += part;
    if (text.includes('"label":"Car"')) return;
  }
  throw new Error(`no car was found: ${text}`);
}

test('the demo has a wall of cameras with cars on them, whose clips are made once', async () => {
  await using first = await ServerProcess.start(['demo', '--app', 'traffic']);
  const cameras = await liveCameras(first);
  expect(cameras.map(({ id }) => id)).toEqual(cameras.map(() => expect.stringMatching(/^demo-/)));
  expect(new Set(cameras.map((camera) => camera.class))).toEqual(new Set(['low']));
  await untilCar(`${first.url}/api/cameras/${cameras[0]!.id}/events`);
  expect(await first.stop()).toBe(0);

  await using second = await ServerProcess.start(['demo', '--app', 'traffic']);
  expect((await liveCameras(second)).map(({ id }) => id)).toEqual(cameras.map(({ id }) => id));
  expect(second.errAtStart + second.err).not.toContain('camera_making');
  expect(second.errAtStart + second.err).toContain(`${second.url}/wall.html`);
  // What is there for this run alone is not kept.
  const removed = await fetch(`${second.url}/api/cameras/${cameras[0]!.id}`, { method: 'DELETE' });
  expect(await removed.json()).toMatchObject({ kept: false });
});
