import { expect, test } from 'vitest';
import type { WebSocket } from 'ws';
import { ANYONE } from '../../../test/support/access.ts';
import { usedBytes } from '../../../test/support/heap.ts';
import { numberedVideo } from '../../../test/support/numbered-video.ts';
import { ScriptedCameras } from '../../../test/support/scripted-feeds.ts';
import { Sink } from '../../../test/support/sink-socket.ts';
import { ManualClock } from '../../base/clock.ts';
import { seededRandom } from '../../base/random.ts';
import { openFences } from '../../fences/fences.ts';
import { Hub } from '../../stream/hub.ts';
import { CamerasLane } from './lane.ts';

/** A stream has a thousand readers at most. */
const CAMERAS = 10;
const VIEWS = 9_000;

test('what is charged for a view is what it takes, within a factor of 1.5, and nothing is left of it', async () => {
  const clock = new ManualClock();
  const fences = openFences({ clock });
  const hub = new Hub({ clock, random: seededRandom(1), streamsMax: 100 });
  const video = await numberedVideo({ frames: 1, height: 80 });
  const cameras = new ScriptedCameras({ hub, clock, video, capacity: 10 });
  for (let i = 0; i < CAMERAS; i++) cameras.add(`camera-${i}`);
  const settings = { messageBytesMax: 65_536, viewsMax: 2 * VIEWS, sendBufferBytesMax: 1 << 20, flightMsMax: 500 };
  const lane = new CamerasLane({
    feeds: cameras,
    clock,
    fences,
    settings: { ...settings, idleTimeoutMs: 1e6, pingIntervalMs: 1e6, pongTimeoutMs: 1e6, sessionsMax: 10 },
  });
  const socket = new Sink('');
  const request = { query: new URLSearchParams(), address: undefined, principal: ANYONE };
  await lane.open(socket as unknown as WebSocket, request);
  const open = (from: number, to: number): void => {
    for (let id = from; id < to; id++) {
      socket.say({ type: 'open', id, camera: `camera-${id % CAMERAS}`, channels: ['raw', 'results', 'state'] });
    }
  };
  // What is made once.
  open(0, 100);
  const usedBefore = await usedBytes();
  const chargedBefore = fences.memory.bytes('session');
  open(100, VIEWS);
  const charged = fences.memory.bytes('session') - chargedBefore;
  const real = (await usedBytes()) - usedBefore;
  expect(lane.views).toBe(VIEWS);
  expect(real / charged).toBeLessThan(1.5);
  expect(real / charged).toBeGreaterThan(1 / 1.5);
  lane.close();
  expect(fences.memory.bytes('session')).toBe(0);
  hub.close();
});
