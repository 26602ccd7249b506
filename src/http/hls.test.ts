import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { request, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { gunzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { holder } from '../../test/support/camera-api.ts';
import { boxesIn, framesIn, madeVideo } from '../../test/support/hls-fragments.ts';
import { httpOptions } from '../../test/support/http-options.ts';
import { collectingLog } from '../../test/support/log.ts';
import { ScriptedCameras, type ScriptedCamera } from '../../test/support/scripted-feeds.ts';
import { systemClock } from '../base/clock.ts';
import { DiskTier } from '../channels/cache/disk-tier.ts';
import { FragmentCache } from '../channels/cache/fragment-cache.ts';
import { HlsChannels, type HlsSettings } from '../channels/hls/channels.ts';
import { Hub } from '../stream/hub.ts';
import { hlsRoutes } from './hls.ts';
import { HttpServer } from './server.ts';

/** Channels over HTTP, with a camera that does as the test says: 25 frames a second, a key frame each second. */

const MIB = 2 ** 20;

let settings: HlsSettings;
let hub: Hub;
let cameras: ScriptedCameras;
let north: ScriptedCamera;
let channels: HlsChannels;
let server: HttpServer;
let principal: ReturnType<typeof holder>;
let isOpen: boolean;
let aheadMs: number;
let folder: string;
/** Segments that the cache keeps on the disk. */
let diskBytesMax: number;
let cache: FragmentCache;

beforeEach(async () => {
  settings = { partS: 0.16, listedS: 20, idleS: 60, bytesMax: 16 * MIB, totalBytesMax: 64 * MIB, waitingMax: 1_000 };
  hub = new Hub({ clock: systemClock, streamsMax: 100 });
  cameras = new ScriptedCameras({ hub, clock: systemClock, video: madeVideo(), capacity: 2_000 });
  north = cameras.add('north');
  aheadMs = 0;
  const clock = { now: () => systemClock.now() + aheadMs };
  diskBytesMax = 0;
  folder = await mkdtemp(join(tmpdir(), 'sightline-hls-'));
  const disk = new DiskTier({
    clock,
    settings: () => ({ folder, bytesMax: diskBytesMax, keepMs: 3_600_000 }),
    onChanged: () => undefined,
  });
  cache = new FragmentCache({ clock, tiers: [disk], settings: () => ({ bytesMax: MIB, idleMs: 5_000 }) });
  channels = new HlsChannels({ clock, feeds: cameras, cache, settings: () => settings });
  principal = holder('read:cameras/north');
  isOpen = true;
  const options = httpOptions();
  server = new HttpServer({
    ...options,
    connections: { ...options.connections, connectionsMax: 1_000 },
    access: { ...options.access, authenticator: { principalOf: () => principal } },
    sockets: [],
    log: collectingLog().log,
    routes: hlsRoutes({ channels, isOpen: () => isOpen }),
  });
  await server.listen();
});
afterEach(async () => {
  channels.close();
  hub.close();
  await server.close();
  await cache.close();
  await rm(folder, { recursive: true });
  expect(channels.accounts()).toMatchObject({ open: 0, bytes: 0, inHand: 0, waits: { waiting: 0 } });
  expect(hub.callbackFaults.last).toBeUndefined();
});

const get = (path: string, init: RequestInit = {}) =>
  fetch(`${server.url}/hls/${path}`, { ...init, signal: init.signal ?? AbortSignal.timeout(10_000) });
const waiting = () => channels.accounts().waits.waiting;
const untilWaiting = (count = 1) => expect.poll(waiting, { interval: 2 }).toBe(count);
const codeOf = async (path: string): Promise<string | number> => {
  const response = await get(path);
  if (response.ok) return response.status;
  const { error } = (await response.json()) as { error: { code: string } };
  return `${response.status} ${error.code}`;
};

interface Listed {
  readonly text: string;
  readonly msn: number;
  readonly segments: readonly string[];
  readonly parts: readonly string[];
  readonly hint: string;
  readonly epoch: number;
}

async function playlist(query = ''): Promise<Listed> {
  const text = await (await get(`north/raw/media.m3u8${query}`)).text();
  const all = (pattern: RegExp) => [...text.matchAll(pattern)].map(([, found]) => found!);
  const [hint = ''] = all(/PRELOAD-HINT:TYPE=PART,URI="([^"]+)"/g);
  const msn = Number(all(/#EXT-X-MEDIA-SEQUENCE:(\d+)/g)[0]);
  const segments = all(/^(\d+\/segment-\d+\.m4s.*)$/gm);
  return { text, msn, segments, parts: all(/#EXT-X-PART:.*URI="([^"]+)"/g), hint, epoch: Number(hint.split('/')[0]) };
}

/** A channel with two whole segments and some parts of the next. */
async function opened(): Promise<Listed> {
  const first = playlist();
  await untilWaiting();
  north.play(60);
  await first;
  return await playlist();
}

async function bytesOf(uri: string): Promise<Buffer> {
  return Buffer.from(await (await get(`north/raw/${uri}`)).arrayBuffer());
}

test('playlists are compressed for who takes that, but for those with a key in them', async () => {
  await opened();
  const { text } = await playlist();
  const asked = async (accepted: string | undefined, query = '') => {
    const headers = accepted === undefined ? {} : { 'accept-encoding': accepted };
    const asking = request(`${server.url}/hls/north/raw/media.m3u8${query}`, { headers }).end();
    const [answer] = (await once(asking, 'response')) as [IncomingMessage];
    const bytes = Buffer.concat(await answer.toArray());
    const encoding = answer.headers['content-encoding'];
    expect(answer.headers.vary).toContain('Accept-Encoding');
    const told = (encoding === undefined ? bytes : gunzipSync(bytes)).toString();
    expect(told.replaceAll(query, '')).toBe(text);
    return [encoding, bytes.length];
  };
  const plain = [undefined, Buffer.byteLength(text)];
  for (const accepted of ['gzip', 'br, x-gzip', 'identity;q=1, GZIP;q=0.5', 'deflate, gzip;q=1.000']) {
    const [encoding, length] = await asked(accepted);
    expect([accepted, encoding]).toEqual([accepted, 'gzip']);
    expect(length).toBeLessThan(Buffer.byteLength(text) / 2);
  }
  for (const accepted of [undefined, '', 'br', 'gzip;q=0', 'gzip;q=0.000', 'gzippy', '*;q=0']) {
    expect([accepted, ...(await asked(accepted))]).toEqual([accepted, ...plain]);
  }
  expect((await asked('gzip', '?access_token=x'))[0]).toBe(undefined);
});

test('the first request opens the channel, and has its answer with the first segment', async () => {
  north.play(20);
  const first = get('north/raw/index.m3u8');
  await untilWaiting();
  expect([north.watching, channels.accounts().open]).toEqual([1, 1]);
  north.play(20);
  const answered = await first;
  expect(answered.headers.get('content-type')).toBe('application/vnd.apple.mpegurl');
  expect(answered.headers.get('cache-control')).toBe('no-cache');
  expect(await answered.text()).toMatch(
    /^#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-STREAM-INF:BANDWIDTH=\d{5,6},AVERAGE-BANDWIDTH=\d{5,6},CODECS="avc1\.42c01e",RESOLUTION=64x36,FRAME-RATE=25\.000\nmedia\.m3u8\n$/,
  );
  // It began with the key frame of what was kept.
  const { segments } = await playlist();
  expect(framesIn(await bytesOf(segments[0]!)).map(({ seq }) => seq)).toHaveLength(25);
  expect(north.watched).toBe(1);
});

test('what is listed is there, once, and each part is where its segment has it', async () => {
  const { text, segments, parts, epoch, msn } = await opened();
  expect(segments).toEqual([0, 1].map((i) => `${epoch}/segment-${msn + i}.m4s`));
  expect(text).toContain('#EXT-X-TARGETDURATION:2\n');
  expect(text).toContain('PART-TARGET=0.16\n');
  const init = await bytesOf(`${epoch}/init-64x36.mp4`);
  expect(init.toString()).toBe('init 0');
  const bytes = await Promise.all(segments.map(bytesOf));
  const inParts = Buffer.concat(await Promise.all(parts.map(bytesOf)));
  const both = Buffer.concat(bytes);
  expect(inParts.subarray(0, both.length)).toEqual(both);
  expect(boxesIn(both).map(({ type }) => type)).toEqual(
    Array.from({ length: 50 }, () => ['emsg', 'moof', 'mdat']).flat(),
  );
  // The fifty-ninth is shown until the sixtieth comes, which is in hand.
  expect(framesIn(inParts).map(({ name }) => name.seq)).toEqual(Array.from({ length: 58 }, (_, i) => i));
});

describe('a request that waits', () => {
  test('has its answer with the part, or the segment, that it names', async () => {
    const { msn } = await opened();
    const part = playlist(`?_HLS_msn=${msn + 2}&_HLS_part=2`);
    const whole = playlist(`?_HLS_msn=${msn + 2}`);
    // There is no eighth one: the first of the next segment.
    const beyond = playlist(`?_HLS_msn=${msn + 2}&_HLS_part=7`);
    await untilWaiting(3);
    north.play(5);
    await untilWaiting(2);
    expect((await part).text).toContain('/part-');
    north.play(11);
    await untilWaiting(1);
    expect((await whole).segments).toHaveLength(3);
    north.play(4);
    expect((await beyond).segments).toHaveLength(3);
    // What is there already is answered at once.
    expect((await playlist(`?_HLS_msn=${msn}&_HLS_part=2`)).segments).toHaveLength(3);
    expect((await playlist(`?_HLS_msn=${msn - 5}`)).segments).toHaveLength(3);
  });

  test('for the next part, whatever segment that will be in', async () => {
    const { hint } = await opened();
    for (let next = hint, i = 0; i < 15; i++) {
      const coming = bytesOf(next);
      await untilWaiting();
      for (; waiting() > 0; await setImmediate()) north.play();
      expect(framesIn(await coming).length).toBeGreaterThan(0);
      next = (await playlist()).hint;
    }
  });

  test.each([
    ['_HLS_msn=9999999999', '400 QUERY_BAD'],
    ['_HLS_part=1', '400 QUERY_BAD'],
    ['_HLS_msn=x', '400 QUERY_BAD'],
    ['_HLS_msn=', '400 QUERY_BAD'],
    ['_HLS_msn=-1', '400 QUERY_BAD'],
    ['_HLS_msn=1&_HLS_msn=2', '400 QUERY_BAD'],
    ['_HLS_msn=99999999999999999999', '400 QUERY_BAD'],
    ['_HLS_skip=no', '400 QUERY_BAD'],
    ['_HLS_msn=0', 200],
    ['_HLS_skip=YES', 200],
    // Of a later version, or of somebody's cache.
    ['_HLS_new=1&x=2', 200],
  ])('?%s', async (query, expected) => {
    await opened();
    expect(await codeOf(`north/raw/media.m3u8?${query}`)).toBe(expected);
  });

  test('for more than comes soon is refused', async () => {
    const { msn } = await opened();
    expect(await codeOf(`north/raw/media.m3u8?_HLS_msn=${msn + 4}`)).toBe('400 QUERY_BAD');
    expect(await codeOf(`north/raw/media.m3u8?_HLS_msn=${msn + 2}&_HLS_part=40`)).toBe('400 QUERY_BAD');
    const soon = playlist(`?_HLS_msn=${msn + 3}`);
    await untilWaiting();
    north.play(45);
    expect((await soon).segments).toHaveLength(4);
  });

  test('ends when its client goes', async () => {
    const { msn } = await opened();
    const abort = new AbortController();
    const gone = get(`north/raw/media.m3u8?_HLS_msn=${msn + 2}`, { signal: abort.signal });
    await untilWaiting();
    abort.abort();
    await expect(gone).rejects.toMatchObject({ name: 'AbortError' });
    await untilWaiting(0);
  });

  test('is refused where as many wait as may', async () => {
    settings = { ...settings, waitingMax: 2 };
    const { msn, hint } = await opened();
    const asked = [playlist(`?_HLS_msn=${msn + 2}`), bytesOf(hint)];
    await untilWaiting(2);
    expect(await codeOf(`north/raw/media.m3u8?_HLS_msn=${msn + 2}`)).toBe('503 WAIT_LIMIT_REACHED');
    expect(await codeOf('north/raw/media.m3u8')).toBe(200);
    north.play(25);
    await Promise.all(asked);
    expect(channels.accounts().waits).toEqual({ waiting: 0, refused: 1, timedOut: 0 });
  });

  test('five hundred at once', async () => {
    const { msn, hint } = await opened();
    const players = Array.from({ length: 500 }, (_, i) =>
      i % 2 === 0 ? playlist(`?_HLS_msn=${msn + 2}&_HLS_part=2`) : bytesOf(hint),
    );
    await untilWaiting(500);
    north.play(5);
    const answers = await Promise.all(players);
    expect(new Set(answers.map((one) => (Buffer.isBuffer(one) ? one.toString('base64') : one.text))).size).toBe(2);
    expect(channels.accounts().open).toBe(1);
  });
});

describe('while requests wait', () => {
  const blocked = async (query = '') => {
    const { msn, hint } = await opened();
    const asked = [codeOf(`north/raw/media.m3u8?_HLS_msn=${msn + 2}${query}`), codeOf(`north/raw/${hint}`)];
    await untilWaiting(2);
    return asked;
  };

  test('the camera is turned off', async () => {
    const asked = await blocked();
    north.become('off');
    expect(await Promise.all(asked)).toEqual(['409 CAMERA_OFF', '409 CAMERA_OFF']);
    expect(north.watching).toBe(0);
    expect(await codeOf('north/raw/index.m3u8')).toBe('409 CAMERA_OFF');
  });

  test('the camera is removed', async () => {
    const asked = await blocked();
    cameras.remove('north');
    expect(await Promise.all(asked)).toEqual(['404 CAMERA_UNKNOWN', '404 CAMERA_UNKNOWN']);
    expect(await codeOf('north/raw/media.m3u8')).toBe('404 CAMERA_UNKNOWN');
  });

  test('the camera ends: the rest is listed, and nothing more to wait for', async () => {
    const asked = await blocked();
    north.become('ended');
    // The next part is there after all.
    expect(await Promise.all(asked)).toEqual([200, 200]);
    const { text, segments, hint } = await playlist();
    expect([text.endsWith('#EXT-X-ENDLIST\n'), segments.length, hint]).toEqual([true, 3, '']);
    // It begins anew: as another channel.
    north.become('live');
    north.reconnect();
    const again = playlist();
    await untilWaiting();
    north.play(30);
    expect((await again).text).not.toContain('ENDLIST');
  });

  test('the camera comes back', async () => {
    const asked = await blocked();
    north.become('backing_off');
    north.reconnect();
    north.become('live');
    north.play(30);
    expect(await Promise.all(asked)).toEqual([200, 200]);
    const { text, msn } = await playlist();
    expect(text).toMatch(/#EXT-X-DISCONTINUITY\n#EXT-X-MAP/);
    // A part of the connection that is over never comes.
    const next = codeOf(`north/raw/${(await playlist()).hint}`);
    await untilWaiting();
    north.reconnect();
    north.play(1);
    expect(await next).toBe(200);
    expect(msn).toBeGreaterThan(1e9);
  });

  test('the camera turns out to send something else', async () => {
    const asked = await blocked();
    north.codecString = null;
    north.become('live');
    expect(await Promise.all(asked)).toEqual(['404 CHANNEL_UNAVAILABLE', '404 CHANNEL_UNAVAILABLE']);
  });

  test('their credential comes to its end', async () => {
    const asked = await blocked('&_HLS_part=2');
    const { SightlineError } = await import('../base/errors.ts');
    principal.end(new SightlineError('CREDENTIALS_EXPIRED', 'it is over'));
    principal = holder('read:cameras/north');
    north.play(5);
    expect(await Promise.all(asked)).toEqual(['401 CREDENTIALS_EXPIRED', '401 CREDENTIALS_EXPIRED']);
  });

  test('the server shuts down', async () => {
    const asked = await blocked();
    channels.drain();
    expect(await Promise.all(asked)).toEqual(['503 SHUTTING_DOWN', '503 SHUTTING_DOWN']);
    expect(await codeOf('north/raw/media.m3u8')).toBe('503 SHUTTING_DOWN');
  });
});

describe('what is not there', () => {
  test.each([
    ['south/raw/index.m3u8', '404 CAMERA_UNKNOWN'],
    ['north/best/index.m3u8', '404 NOT_FOUND'],
    ['north/toString/media.m3u8', '404 NOT_FOUND'],
    ['north/raw/other.m3u8', '404 NOT_FOUND'],
    ['north/raw/1/init-64x36.mp4', '404 NOT_FOUND'],
    ['north/raw/1/part-1.m4s', '404 NOT_FOUND'],
    ['north/raw/1/segment-1.m4s', '404 NOT_FOUND'],
    ['north/raw/x/init-64x36.mp4', '400 QUERY_BAD'],
    ['north/raw/1/init-0x36.mp4', '400 QUERY_BAD'],
    ['north/raw/1/init-64.mp4', '400 QUERY_BAD'],
    ['north/raw/1/part-x.m4s', '400 QUERY_BAD'],
    ['north/raw/1/segment-%2e%2e.m4s', '400 QUERY_BAD'],
  ])('%s, before and after the channel is open', async (path, expected) => {
    // Nothing is opened by what is no playlist.
    if (!path.endsWith('m3u8')) expect([await codeOf(path), channels.accounts().open]).toEqual([expected, 0]);
    principal = holder('read:cameras/#');
    await opened();
    expect(await codeOf(path)).toBe(expected);
    expect(['no-store', null]).toContain((await get(path)).headers.get('cache-control'));
  });

  test('of the future and the deep past', async () => {
    const { epoch, hint, msn } = await opened();
    const next = Number(/part-(\d+)/.exec(hint)![1]);
    for (const path of [`part-${next + 1}`, `part-${next - 100}`, 'part-0', `segment-${msn + 2}`, `segment-${msn - 1}`])
      expect(await codeOf(`north/raw/${epoch}/${path}.m4s`)).toBe('404 NOT_FOUND');
    expect(await codeOf(`north/raw/${epoch - 1}/part-${next - 1}.m4s`)).toBe('404 NOT_FOUND');
  });

  test('a camera whose codec does not go into fragments, or that is not to be had', async () => {
    north.codecString = null;
    expect(await codeOf('north/raw/index.m3u8')).toBe('404 CHANNEL_UNAVAILABLE');
    north.codecString = 'avc1.42c01e';
    north.become('failed');
    expect(await codeOf('north/raw/media.m3u8')).toBe('503 CAMERA_NO_PICTURE');
    north.become('waiting');
    expect(await codeOf('north/raw/media.m3u8')).toBe('503 CAMERA_NO_PICTURE');
    north.become('ended');
    expect(await codeOf('north/raw/media.m3u8')).toBe('502 CAMERA_ENDED');
    expect(channels.accounts()).toMatchObject({ open: 0, opened: 0 });
  });

  test('without the permission', async () => {
    principal = holder('read:cameras/south');
    for (const path of ['index.m3u8', 'media.m3u8', '1/init-64x36.mp4', '1/part-1.m4s', '1/segment-1.m4s'])
      expect(await codeOf(`north/raw/${path}`)).toBe('403 PERMISSION_DENIED');
    expect(north.watched).toBe(0);
  });
});

describe('a camera with masks', () => {
  const PATHS = (of: Listed) => [
    'index.m3u8',
    'media.m3u8',
    `media.m3u8?_HLS_msn=${of.msn}`,
    `${of.epoch}/init-64x36.mp4`,
    of.segments[0]!,
    of.parts[0]!,
    of.hint,
  ];

  test('shows its own frames to those alone who may see it without, whatever is kept of them', async () => {
    const listed = await opened();
    cameras.mask('north');
    for (const path of PATHS(listed)) expect(await codeOf(`north/raw/${path}`)).toBe('403 CAMERA_MASKED');
    principal = holder('read:cameras/north', 'unmasked:cameras/north');
    for (const path of PATHS(listed).slice(0, -1)) expect(await codeOf(`north/raw/${path}`)).toBe(200);
    cameras.mask('north', false);
    principal = holder('read:cameras/north');
    for (const path of PATHS(listed).slice(0, -1)) expect(await codeOf(`north/raw/${path}`)).toBe(200);
  });

  test('shows them to nobody who waited when it got them', async () => {
    const { msn, hint } = await opened();
    const asked = [`media.m3u8?_HLS_msn=${msn + 2}&_HLS_part=2`, hint].map((path) => codeOf(`north/raw/${path}`));
    const first = codeOf('north/annotated/index.m3u8');
    await untilWaiting(3);
    cameras.mask('north');
    north.play(60);
    expect(await Promise.all(asked)).toEqual(['403 CAMERA_MASKED', '403 CAMERA_MASKED']);
    // What was being encoded has not these masks: the next request begins anew.
    expect(await first).toBe('503 CAMERA_NO_PICTURE');
    expect(north.annotating).toBe(0);
  });

  test('has a channel with results drawn, for everybody, of what was encoded with these masks', async () => {
    cameras.mask('north');
    const index = codeOf('north/annotated/index.m3u8');
    await untilWaiting();
    north.play(60);
    expect(await index).toBe(200);
    const path = async () => /^\d+\/segment-\d+\.m4s/m.exec(await (await get('north/annotated/media.m3u8')).text())![0];
    const before = `north/annotated/${await path()}`;
    expect(await codeOf(before)).toBe(200);
    // Not by another change of some camera.
    cameras.add('south');
    cameras.mask('north');
    expect([await codeOf(before), north.annotating]).toEqual([200, 1]);
    cameras.get('north').masks = ['0,0 1,0 1,1'];
    cameras.mask('south');
    expect(await codeOf(before)).toBe(200);
    cameras.mask('north', false);
    expect([await codeOf(before), north.annotating]).toEqual(['404 NOT_FOUND', 0]);
  });
});

describe('the channel with results drawn', () => {
  async function annotated(): Promise<string> {
    const first = get('north/annotated/media.m3u8');
    await untilWaiting();
    north.boxes = 'own';
    north.play(60);
    return await (await first).text();
  }

  test('is encoded while it is played, and says of each frame what is drawn', async () => {
    const uris = (await annotated()).match(/^\d+\/segment-\d+\.m4s/gm)!;
    expect([north.watching, north.annotating]).toEqual([0, 1]);
    const bytes = Buffer.from(await (await get(`north/annotated/${uris[0]}`)).arrayBuffer());
    const frames = framesIn(bytes);
    expect(frames.map(({ name }) => [name.seq, name.boxes])).toEqual(Array.from({ length: 25 }, (_, i) => [i, 'own']));
    // Each of the channels that are played tells of the other.
    await opened();
    const report = /#EXT-X-RENDITION-REPORT:URI="([^"]+)"/.exec((await playlist()).text);
    expect(report![1]).toBe('../annotated/media.m3u8');
    aheadMs += settings.idleS * 1_000;
    await expect.poll(() => north.annotating).toBe(0);
  });

  test('is there for a camera whose own codec does not go into fragments', async () => {
    north.codecString = null;
    expect(await annotated()).toContain('#EXTM3U');
  });

  test('says so where there is no place for it, or its encoder fails', async () => {
    north.mayAnnotate = false;
    expect(await codeOf('north/annotated/index.m3u8')).toBe('503 ANNOTATE_LIMIT_REACHED');
    expect(channels.accounts()).toMatchObject({ open: 0, bytes: 0 });
    north.mayAnnotate = true;
    await annotated();
    const waits = codeOf(`north/annotated/media.m3u8?_HLS_msn=${await newest()}`);
    await untilWaiting();
    north.failAnnotate();
    expect(await waits).toBe('500 ANNOTATE_FAILED');
    expect([north.annotating, channels.accounts().open]).toEqual([0, 0]);
    // The next one tries again.
    expect(await annotated()).toContain('#EXTM3U');
  });

  async function newest(): Promise<number> {
    const text = await (await get('north/annotated/media.m3u8')).text();
    return Number(/MEDIA-SEQUENCE:(\d+)/.exec(text)![1]) + text.match(/#EXTINF/g)!.length;
  }
});

describe('caches', () => {
  test('keep what never changes, and playlists for as long as they may', async () => {
    const { segments, parts, epoch, msn } = await opened();
    const cacheOf = async (path: string) => (await get(`north/raw/${path}`)).headers.get('cache-control');
    for (const path of [segments[0]!, parts[0]!, `${epoch}/init-64x36.mp4`])
      expect(await cacheOf(path)).toBe('public, max-age=86400, immutable');
    expect(await cacheOf('media.m3u8')).toBe('public, max-age=1');
    expect(await cacheOf(`media.m3u8?_HLS_msn=${msn}`)).toBe('public, max-age=12');
    isOpen = false;
    expect(await cacheOf(segments[0]!)).toBe('private, max-age=86400, immutable');
  });

  test('ask by tags, for parts, and for headers alone', async () => {
    const { segments } = await opened();
    const path = `north/raw/${segments[0]}`;
    const whole = await get(path);
    const [tag, bytes] = [whole.headers.get('etag')!, Buffer.from(await whole.arrayBuffer())];
    expect(whole.headers.get('accept-ranges')).toBe('bytes');
    expect((await get(path, { headers: { 'if-none-match': tag } })).status).toBe(304);
    const some = await get(path, { headers: { range: 'bytes=10-19', 'if-range': tag } });
    expect([some.status, some.headers.get('content-range')]).toEqual([206, `bytes 10-19/${bytes.length}`]);
    expect(Buffer.from(await some.arrayBuffer())).toEqual(bytes.subarray(10, 20));
    const none = await get(path, { headers: { range: `bytes=${bytes.length}-` } });
    expect([none.status, none.headers.get('content-range')]).toEqual([416, `bytes */${bytes.length}`]);
    const head = await get(path, { method: 'HEAD' });
    expect([head.status, head.headers.get('content-length'), head.headers.get('etag')]).toEqual([
      200,
      `${bytes.length}`,
      tag,
    ]);
    expect((await get('north/raw/media.m3u8', { method: 'HEAD' })).headers.get('content-type')).toBe(
      'application/vnd.apple.mpegurl',
    );
  });

  test('a key in the query goes on to all addresses', async () => {
    await opened();
    const index = await (await get('north/raw/index.m3u8?access_token=a%26b')).text();
    expect(index).toMatch(/\nmedia\.m3u8\?access_token=a%26b\n$/);
    const { segments, parts, hint } = await playlist('?access_token=a%26b');
    for (const uri of [...segments, ...parts, hint]) expect(uri).toMatch(/\.m4s\?access_token=a%26b$/);
    expect((await get(`north/raw/${segments[0]}`)).status).toBe(200);
    expect((await playlist()).text).not.toContain('access_token');
  });
});

describe('the life of a channel', () => {
  test('it ends when nobody asks, and numbers are never used again', async () => {
    const before = await opened();
    aheadMs += settings.idleS * 1_000;
    await expect.poll(() => north.watching).toBe(0);
    expect(channels.accounts()).toMatchObject({ open: 0, bytes: 0 });
    expect(await codeOf(`north/raw/${before.segments[0]}`)).toBe('404 NOT_FOUND');
    const after = await opened();
    const last = (uris: readonly string[]) => Number(/-(\d+)/.exec(uris.at(-1)!)![1]);
    expect(after.msn).toBeGreaterThan(last(before.segments));
    expect(Number(/part-(\d+)/.exec(after.parts[0]!)![1])).toBeGreaterThan(last(before.parts));
    expect([north.watched, channels.accounts().opened]).toEqual([2, 2]);
  });

  test('it goes on while somebody waits', async () => {
    const waitingFor = codeOf('north/raw/index.m3u8');
    await untilWaiting();
    aheadMs += settings.idleS * 1_000;
    // Beside one that nobody waits for, which ends.
    principal = holder('read:cameras/#');
    const south = cameras.add('south');
    const other = new AbortController();
    const gone = get('south/raw/index.m3u8', { signal: other.signal });
    await untilWaiting(2);
    other.abort();
    await expect(gone).rejects.toMatchObject({ name: 'AbortError' });
    aheadMs += settings.idleS * 1_000;
    await expect.poll(() => south.watching).toBe(0);
    north.play(60);
    expect(await waitingFor).toBe(200);
  });

  test('all channels together have no more bytes than they may: the largest gives way', async () => {
    const south = cameras.add('south');
    principal = holder('read:cameras/#');
    settings = { ...settings, totalBytesMax: 120_000 };
    await opened();
    north.play(500);
    const first = get('south/raw/media.m3u8');
    await untilWaiting();
    south.play(100);
    expect((await first).status).toBe(200);
    const { bytes, evicted } = channels.accounts();
    // Parts of segments that have begun come on top.
    expect(bytes).toBeLessThan(150_000);
    expect(evicted.total_bytes).toBeGreaterThan(10);
    const text = await (await get('south/raw/media.m3u8')).text();
    expect(text.match(/#EXTINF/g)).toHaveLength(3);
  });

  test('every frame is accounted for', async () => {
    await opened();
    north.lose(3);
    north.play(100);
    const { taken, leftOut, inHand } = channels.accounts();
    expect(taken + leftOut + inHand).toBe(160);
    expect(leftOut).toBeGreaterThan(0);
  });
});

describe('with a disk for what has left the memory of its channel', () => {
  const put = () => expect.poll(() => cache.report().tiers[0]!.waiting, { interval: 2 }).toBe(0);

  test('segments can be asked for as long as they are kept there, also when the channel has ended', async () => {
    diskBytesMax = 64 * MIB;
    const { epoch, segments } = await opened();
    const path = `north/raw/${segments[0]}`;
    const before = await (await get(path)).arrayBuffer();
    north.play(25 * 120);
    await put();
    expect(channels.accounts().evicted.age).toBeGreaterThan(10);
    expect(await (await get(path)).arrayBuffer()).toEqual(before);
    aheadMs += settings.idleS * 1_000;
    await expect.poll(() => north.watching).toBe(0);
    expect(await (await get(path)).arrayBuffer()).toEqual(before);
    expect(await codeOf(`north/raw/${epoch}/init-64x36.mp4`)).toBe(200);
    expect(await codeOf(`north/raw/${epoch + 1}/init-64x36.mp4`)).toBe('404 NOT_FOUND');
    expect(cache.report().found).toMatchObject({ disk: 2, source: 0 });
    aheadMs += 3_600_000;
    cache.sweep();
    expect(await codeOf(path)).toBe('404 NOT_FOUND');
  });

  test('what was kept is for those who may see it now, and with the masks of now', async () => {
    diskBytesMax = 64 * MIB;
    const raw = `north/raw/${(await opened()).segments[0]}`;
    const first = get('north/annotated/media.m3u8');
    await untilWaiting();
    north.play(60);
    const annotated = `north/annotated/${/^\d+\/segment-\d+\.m4s/m.exec(await (await first).text())![0]}`;
    await put();
    expect([await codeOf(raw), await codeOf(annotated)]).toEqual([200, 200]);
    cameras.mask('north');
    expect([await codeOf(raw), await codeOf(annotated)]).toEqual(['403 CAMERA_MASKED', '404 NOT_FOUND']);
    cameras.mask('north', false);
    expect([await codeOf(raw), await codeOf(annotated)]).toEqual([200, 200]);
  });
});

test('a player that reads nothing holds up nobody', async () => {
  const { segments } = await opened();
  const { hostname, port } = new URL(server.url);
  const stalled = request({ hostname, port, path: `/hls/north/raw/${segments[0]}` }).end();
  const [response] = (await once(stalled, 'response')) as [NodeJS.ReadableStream];
  response.pause();
  north.play(50);
  expect((await playlist()).segments).toHaveLength(4);
  stalled.destroy();
});
