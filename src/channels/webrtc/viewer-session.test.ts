import { beforeAll, beforeEach, expect, test } from 'vitest';
import { ManualClock } from '../../base/clock.ts';
import { SightlineError } from '../../base/errors.ts';
import { RawWatches } from '../../sources/camera/raw-watches.ts';
import { Hub } from '../../stream/hub.ts';
import { holder } from '../../../test/support/camera-api.ts';
import { numberedVideo, type NumberedVideo } from '../../../test/support/numbered-video.ts';
import { FOUND, ScriptedCameras, type ScriptedCamera } from '../../../test/support/scripted-feeds.ts';
import { channelsOf } from './channels.ts';
import type { PeerRequest, SendFrame } from './messages.ts';
import type { Profile } from './profiles.ts';
import type { EndCause } from './peer-session.ts';
import { ViewerSession } from './viewer-session.ts';

const KEY_EVERY = 10;

let video: NumberedVideo;
let reordered: NumberedVideo;
let clock: ManualClock;
let camera: ScriptedCamera;
let cameras: ScriptedCameras;
let sent: PeerRequest[];
let ended: EndCause[];
let session: ViewerSession;
let principal: ReturnType<typeof holder>;

beforeAll(async () => {
  const form = { frames: 40, keyEvery: KEY_EVERY, width: 64, height: 64 };
  [video, reordered] = await Promise.all([numberedVideo(form), numberedVideo({ ...form, bFrames: 2 })]);
});
beforeEach(() => open());

function open({ of = video, profile = 'high' as Profile, mayTranscode = true } = {}): void {
  clock = new ManualClock(1_000_000);
  const hub = new Hub({ clock, streamsMax: 10 });
  cameras = new ScriptedCameras({ hub, clock, video: of, capacity: 500 });
  camera = cameras.add('gate');
  camera.mayTranscode = mayTranscode;
  [sent, ended] = [[], []];
  principal = holder('read:cameras/gate');
  const watches = new RawWatches((feed, form, error) => session.endEncoded(feed, form, error));
  session = new ViewerSession({
    id: 3,
    clock,
    feed: camera,
    channelName: 'raw',
    channel: channelsOf(watches, clock).raw,
    profile,
    principal,
    addressName: undefined,
    send: (request) => sent.push(request),
    onEnded: (_, cause) => ended.push(cause),
  });
}

const frames = () => sent.filter((request): request is SendFrame => request.type === 'frame');
const names = () =>
  frames().map(({ name }) => JSON.parse(name) as { seq: number; transcoded: boolean; rtp_timestamp: number });
const seqs = () => names().map(({ seq }) => seq);
const connect = () => session.onEvent({ type: 'connected', id: 3 });
/** The thread has sent all that it was given. */
function acknowledge(from = 0): number {
  const all = frames();
  for (const { bytes } of all.slice(from)) session.onEvent({ type: 'sent', id: 3, bytes: bytes.length });
  return all.length;
}

function expectBalance(): void {
  const { published, delivered, dropped, expired, conflated, queued } = session.counts();
  const lost = Object.values(dropped).reduce((sum, count) => sum + count, 0);
  expect(delivered + lost + expired + conflated + queued).toBe(published);
}

test('a viewer begins with the newest key frame, has the parameters with it, and then every frame', () => {
  camera.play(KEY_EVERY + 4);
  expect(camera.watching).toBe(1);
  connect();
  camera.play(3);
  expect(seqs()).toEqual([10, 11, 12, 13, 14, 15, 16]);
  expect(frames().map(({ sets }) => sets.length > 0)).toEqual([true, ...Array.from({ length: 6 }, () => false)]);
  const stamps = names().map(({ rtp_timestamp }) => rtp_timestamp);
  // Those that were there come together, the others as they are.
  expect(stamps.slice(1).map((stamp, i) => (stamp - stamps[i]!) | 0)).toEqual([90, 90, 90, 3_600, 3_600, 3_600]);
  expect(frames().map(({ stamp }) => stamp)).toEqual(stamps);
  expectBalance();
});

test('one that takes nothing is given so much, and goes on with the newest key frame', () => {
  camera.play();
  connect();
  camera.play(100);
  expect(frames()).toHaveLength(64);
  clock.advance(1_001);
  session.sweep(clock.now(), 10_000);
  camera.play(5);
  const given = acknowledge();
  expect(seqs().slice(given)[0]).toBe(100);
  expect(session.counts().dropped['behind']).toBe(100 - 64);
  expectBalance();
});

test('one that has lost a picture gets nothing before the next key frame', () => {
  camera.play();
  connect();
  camera.play(3);
  acknowledge();
  session.onEvent({ type: 'lost_picture', id: 3 });
  camera.play(10);
  expect(seqs()).toEqual([0, 1, 2, 3, 10, 11, 12, 13]);
  expect(session.counts().dropped['no_key']).toBe(6);
  expectBalance();
});

test('frames that are not shown in the order of decoding are encoded anew', () => {
  open({ of: reordered });
  camera.play();
  connect();
  expect([frames().length, camera.transcoding]).toEqual([0, 1]);
  expect(ended).toEqual([]);
});

test('where there is no place for that the session ends, and says why', () => {
  open({ of: reordered, mayTranscode: false });
  camera.play();
  connect();
  expect(ended).toEqual(['codec']);
  expect(sent.at(-1)).toMatchObject({ type: 'close', last: expect.stringContaining('TRANSCODE_LIMIT_REACHED') });
});

test('a camera that begins to send another profile than was agreed on is encoded anew', () => {
  open({ profile: 'main' });
  camera.play();
  connect();
  expect([frames().length, camera.transcoding]).toEqual([1, 0]);
  camera.codecString = 'avc1.64001f';
  camera.reconnect();
  camera.play();
  expect(camera.transcoding).toBe(1);
  expect(names().map(({ transcoded }) => transcoded)).toEqual([false, true]);
  expectBalance();
});

test('results come when they are asked for', () => {
  camera.play();
  connect();
  camera.find(0, FOUND);
  expect(sent.filter(({ type }) => type === 'text')).toEqual([]);
  session.onEvent({ type: 'channel', id: 3, label: 'results' });
  camera.find(1, FOUND);
  const texts = sent.flatMap((request) => (request.type === 'text' ? [JSON.parse(request.text) as unknown] : []));
  expect(texts).toEqual([
    expect.objectContaining({ type: 'result', camera: 'gate', seq: 0 }),
    expect.objectContaining({ type: 'result', camera: 'gate', seq: 1 }),
  ]);
});

test('it ends with its credential, once, and says so', () => {
  camera.play();
  connect();
  principal.end(new SightlineError('CREDENTIALS_EXPIRED', 'the key was revoked'));
  session.close('deleted');
  expect(ended).toEqual(['credentials']);
  expect(sent.at(-1)).toMatchObject({ type: 'close', last: expect.stringContaining('CREDENTIALS_EXPIRED') });
  expect(principal.dependants).toBe(0);
  camera.play(3);
  expect(frames()).toHaveLength(1);
  expectBalance();
});

test('it ends with its camera', () => {
  connect();
  cameras.remove('gate');
  expect(ended).toEqual(['camera']);
});

test('a camera that gets masks is encoded anew for a viewer who may not see it without', () => {
  camera.play(KEY_EVERY);
  connect();
  const before = frames().length;
  cameras.mask('gate');
  session.cameraChanged(cameras);
  camera.play(KEY_EVERY);
  const after = names().slice(before);
  expect(after.length).toBeGreaterThan(0);
  expect(after.every(({ transcoded }) => transcoded)).toBe(true);
  expect(camera.transcoding).toBe(1);
  expect(ended).toEqual([]);
  expectBalance();
});

test('it goes on as it is for one who may, and ends where there is no place to encode it', () => {
  camera.play(KEY_EVERY);
  principal.allows = () => true;
  connect();
  cameras.mask('gate');
  session.cameraChanged(cameras);
  expect(camera.watching).toBe(1);
  open({ mayTranscode: false });
  camera.play(KEY_EVERY);
  connect();
  cameras.mask('gate');
  session.cameraChanged(cameras);
  expect(ended).toEqual(['codec']);
});

test('one that does not connect ends by itself, some time after the answer', () => {
  session.answered();
  clock.advance(9_000);
  session.sweep(clock.now(), 10_000);
  expect(ended).toEqual([]);
  clock.advance(2_000);
  session.sweep(clock.now(), 10_000);
  expect(ended).toEqual(['connect_timeout']);
  open();
  clock.advance(11_000);
  session.sweep(clock.now(), 10_000);
  expect(ended).toEqual([]);
});
