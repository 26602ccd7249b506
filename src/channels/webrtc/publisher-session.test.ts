import { beforeAll, beforeEach, expect, test } from 'vitest';
import { ManualClock } from '../../base/clock.ts';
import { SightlineError } from '../../base/errors.ts';
import { Hub } from '../../stream/hub.ts';
import { holder } from '../../../test/support/camera-api.ts';
import { collectingLog } from '../../../test/support/log.ts';
import { numberedVideo, type NumberedVideo } from '../../../test/support/numbered-video.ts';
import { ScriptedCameras, type ScriptedCamera } from '../../../test/support/scripted-feeds.ts';
import type { PeerRequest } from './messages.ts';
import type { EndCause } from './peer-session.ts';
import { PublisherSession } from './publisher-session.ts';

let video: NumberedVideo;
let clock: ManualClock;
let cameras: ScriptedCameras;
let camera: ScriptedCamera;
let sent: PeerRequest[];
let ended: EndCause[];
let principal: ReturnType<typeof holder>;
let session: PublisherSession;
let entries: ReturnType<typeof collectingLog>['entries'];

beforeAll(async () => {
  video = await numberedVideo({ frames: 1, keyEvery: 1, width: 64, height: 64 });
});
beforeEach(() => {
  clock = new ManualClock(1_000_000);
  cameras = new ScriptedCameras({ hub: new Hub({ clock, streamsMax: 10 }), clock, video, capacity: 10 });
  camera = cameras.add('gate');
  camera.inlet = '/inlet';
  [sent, ended] = [[], []];
  principal = holder('publish:cameras/gate');
  const { log, entries: written } = collectingLog();
  entries = written;
  const parts = { id: 3, clock, feed: camera, principal, addressName: undefined };
  session = new PublisherSession(
    { ...parts, send: (request) => sent.push(request), onEnded: (_, cause) => ended.push(cause) },
    log,
  );
});

const connect = () => session.onEvent({ type: 'connected', id: 3 });
const become = (state: Parameters<ScriptedCamera['become']>[0], code?: string): void => {
  camera.reason = code === undefined ? null : { code, message: 'why' };
  camera.become(state);
};

test('it goes on while the camera waits, gets frames, or is read by another process', () => {
  connect();
  for (const state of ['waiting', 'connecting', 'live', 'stalled', 'live'] as const) become(state);
  become('backing_off', 'CAMERA_PROCESS_LOST');
  become('backing_off', 'CAMERA_ENDED');
  become('waiting', 'CAMERA_STALLED');
  expect([ended, sent]).toEqual([[], []]);
});

test.each([
  ['backing_off', 'CAMERA_STALLED', 'CAMERA_STALLED'],
  ['backing_off', 'CAMERA_TOO_LARGE', 'CAMERA_TOO_LARGE'],
  ['failed', 'CAMERA_LIMIT_REACHED', 'CAMERA_LIMIT_REACHED'],
  ['off', undefined, 'CAMERA_OFF'],
] as const)('it ends with a camera that is %s by %s, and says so', (state, reason, code) => {
  connect();
  become(state, reason);
  expect(ended).toEqual(['camera']);
  expect(sent).toMatchObject([{ type: 'close', id: 3, last: expect.stringContaining(code) }]);
  expect([camera.stateListeners, principal.dependants]).toEqual([0, 0]);
});

test('it ends where its camera is removed, or read from elsewhere', () => {
  session.cameraChanged(cameras);
  expect(ended).toEqual([]);
  camera.inlet = undefined;
  session.cameraChanged(cameras);
  expect(ended).toEqual(['camera']);
  expect(sent).toMatchObject([{ last: expect.stringContaining('CAMERA_NOT_PUBLISHED') }]);
});

test('it ends with its credential, once', () => {
  principal.end(new SightlineError('CREDENTIALS_EXPIRED', 'the key was revoked'));
  session.close('deleted');
  expect(ended).toEqual(['credentials']);
});

test('one that does not connect ends by itself, and nothing is written of it', () => {
  session.answered();
  clock.advance(11_000);
  session.sweep(clock.now(), 10_000);
  expect(ended).toEqual(['connect_timeout']);
  expect(entries).toEqual([]);
});

test('who has published, and that it is over, is written', () => {
  connect();
  session.onEvent({ type: 'over', id: 3, cause: 'lost' });
  expect(entries.map(({ event }) => event)).toEqual(['camera_published', 'camera_unpublished']);
  expect(ended).toEqual(['lost']);
});
