import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { FF_ENCODER_LIBX264 } from 'node-av/constants';
import { parseGrant } from '../../src/auth/grants.ts';
import { changeKeys } from '../../src/auth/key-file.ts';
import { makeKey } from '../../src/auth/keys.ts';
import { readPolygon, type Polygon } from '../../src/base/polygon.ts';
import { decodeJpeg, readJpegHeader } from '../../src/media/jpeg.ts';
import { rgbSamples, samplesOf, shareBlack, type Samples } from '../../test/support/black.ts';
import { CamerasClient } from '../../test/support/cameras-client.ts';
import { writeClip } from '../../test/support/clips.ts';
import { clipOfFile } from '../../test/support/coded-clip.ts';
import { RtspServer } from '../../test/support/rtsp-server.ts';
import type { FleetBench } from '../fleet/world.ts';
import { atLeast, atMost, type Bar } from '../support/document.ts';
import { Server } from '../support/server.ts';

/** A mask that moves over a bright camera: what lies under it in each output, and what a client without the permission gets of the camera's own frames. */

const FULL = { places: 24, pictures: 20, attempts: 10_000 } as const;
const QUICK = { places: 4, pictures: 10, attempts: 300 } as const;
const SIZE = { width: 320, height: 180 } as const;
const STILL_WIDTHS = [64, 237, 320] as const;
/** What coding leaves of black. */
const SLACK = { coded: 24, jpeg: 40 } as const;
const POLL_MS = 50;
const TIMEOUT_MS = 60_000;
const AT_ONCE = 20;

type Key = 'admin' | 'viewer';

export async function measureMasks(bench: FleetBench): Promise<{ own: Record<string, number>; bars: Bar[] }> {
  const { folder, signal, say, quick } = bench;
  const plan = quick ? QUICK : FULL;
  const path = join(folder, 'bright.mp4');
  await writeClip(path, {
    ...SIZE,
    codec: FF_ENCODER_LIBX264,
    format: 'mp4',
    frames: 50,
    chroma: 100,
    luma: (frame, x, y) => 160 + ((x + 3 * frame + y) % 60),
    options: { preset: 'ultrafast', g: '12' },
  });
  await using stack = new AsyncDisposableStack();
  const rtsp = await RtspServer.open({ cameras: { gate: { clip: await clipOfFile(path) } } });
  stack.defer(() => rtsp.close());
  const { keys, keysFile } = await makeKeys(folder);
  const server = stack.use(
    await Server.launch({
      command: 'serve',
      cacheDir: folder,
      words: ['--set', `cameras.gate.url=${rtsp.url('gate')}`, '--set', 'cameras.gate.pipelines='],
      settings: {
        'auth.loopback': 'keys',
        'auth.keys_file': keysFile,
        'archive.folder': join(folder, 'masked'),
        'archive.free_bytes_min': 0,
        'log.level': 'error',
      },
      signal,
    }),
  );
  await server.ready();
  const ask = (place: string, key: Key, init: RequestInit = {}) =>
    fetch(server.url + place, {
      ...init,
      headers: { Authorization: `Bearer ${keys[key]}`, 'Content-Type': 'application/json', ...init.headers },
      signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
    });
  const until = async (what: string, isDone: () => boolean | Promise<boolean>): Promise<void> => {
    const deadlineMs = performance.now() + TIMEOUT_MS;
    while (!(await isDone())) {
      if (performance.now() > deadlineMs) throw new Error(`in vain: ${what}`);
      await sleep(POLL_MS, undefined, { signal });
    }
  };
  const put = async (settings: object): Promise<void> => {
    const answered = await ask('/api/cameras/gate', 'admin', {
      method: 'PUT',
      body: JSON.stringify({ pipelines: [], ...settings }),
    });
    if (!answered.ok) throw new Error(`the camera cannot be changed: ${await answered.text()}`);
  };
  const isLive = async () =>
    ((await (await ask('/api/cameras/gate', 'admin')).json()) as { state: string }).state === 'live';
  await until('the camera is live', isLive);
  // Something is recorded and in playlists before there is a mask.
  await put({ record: 'continuous' });
  await until('something is recorded', async () => (await recorded(ask)) !== undefined);
  const raw = await addressesOf(ask);

  const viewer = await CamerasClient.open(`${server.url.replace('http', 'ws')}/ws/cameras?access_token=${keys.viewer}`);
  stack.defer(() => viewer.close());
  viewer.view(2, 'gate', ['raw'], { transcode: true });
  viewer.view(3, 'gate', ['annotated']);
  await until('the first frames', () => [2, 3].every((id) => viewer.of('fragment', id).length > 0));
  const epochs = new Map([2, 3].map((id) => [id, viewer.of('init', id).at(-1)!.epoch]));
  const seen = new Map<string, { pictures: number; pixels: number; black: number; worst: number }>();
  const look = (output: string, picture: Samples, polygon: Polygon): void => {
    const { under, pixels } = shareBlack(picture, [polygon]);
    const sum = seen.get(output) ?? { pictures: 0, pixels: 0, black: 0, worst: 1 };
    seen.set(output, {
      pictures: sum.pictures + 1,
      pixels: sum.pixels + pixels,
      black: sum.black + under * pixels,
      worst: Math.min(sum.worst, under),
    });
  };
  for (let place = 0; place < plan.places; place++) {
    const mask = maskAt(place / plan.places);
    const { polygon } = readPolygon(mask);
    await put({ masks: [mask], record: 'continuous' });
    const fresh = (id: number) => {
      const epoch = viewer.of('init', id).at(-1)?.epoch ?? 0;
      return epoch > epochs.get(id)! ? viewer.of('fragment', id).filter((one) => one.epoch === epoch) : [];
    };
    await until('frames with the mask', () => [2, 3].every((id) => fresh(id).length >= plan.pictures));
    for (const [id, output] of [
      [2, 'encoded'],
      [3, 'annotated'],
    ] as const) {
      const bytes = [viewer.of('init', id).at(-1)!, ...fresh(id)].map((one) => one.bytes);
      for (const picture of await samplesOf(Buffer.concat(bytes), SLACK.coded)) look(output, picture, polygon!);
    }
    for (const picture of await hlsPictures(ask)) look('hls_annotated', picture, polygon!);
    for (const width of STILL_WIDTHS) {
      const answered = await ask(`/cameras/gate/still.jpg?width=${width}`, 'viewer');
      const jpeg = new Uint8Array(await answered.arrayBuffer());
      const size = readJpegHeader(jpeg);
      const { data } = decodeJpeg(jpeg, new Uint8Array(size.width * size.height * 3));
      look('still', rgbSamples(data, size.width, size.height, SLACK.jpeg), polygon!);
    }
    for (const id of [2, 3]) epochs.set(id, viewer.of('init', id).at(-1)!.epoch);
    viewer.messages.length = 0;
  }
  const own: Record<string, number> = {};
  const bars: Bar[] = [];
  for (const [output, { pictures, pixels, black, worst }] of seen) {
    const share = black / pixels;
    Object.assign(own, {
      [`masks_${output}_pictures`]: pictures,
      [`masks_${output}_black`]: share,
      [`masks_${output}_black_worst`]: worst,
    });
    say(
      `${output}: ${pictures} pictures, ${(100 * share).toFixed(3)} % black under the mask, at worst ${(100 * worst).toFixed(3)} %`,
    );
    bars.push(atLeast(`masks_${output}_black_worst`, worst, 0.999));
  }

  const gets = await attempts(plan.attempts, raw, ask);
  const ws = await socketAttempts(viewer);
  say(`${plan.attempts + ws.tried} attempts at its own frames: ${gets.given + ws.given} succeeded`);
  Object.assign(own, {
    masks_attempts: plan.attempts + ws.tried,
    masks_given: gets.given + ws.given,
    ...gets.statuses,
  });
  bars.push(
    atMost('masks_given', gets.given + ws.given, 0),
    atLeast('masks_attempts', plan.attempts + ws.tried, plan.attempts),
  );
  return { own, bars };
}

type Ask = (place: string, key: Key, init?: RequestInit) => Promise<Response>;

async function makeKeys(folder: string): Promise<{ keys: Record<Key, string>; keysFile: string }> {
  const keysFile = join(folder, 'keys.json');
  const grants = { admin: ['admin', 'unmasked:cameras/gate'], viewer: ['read:cameras/#', 'subscribe:cameras/#'] };
  const made = Object.entries(grants).map(([name, allowed]) =>
    makeKey({ name, grants: allowed.map(parseGrant), createdMs: Date.now() }),
  );
  await changeKeys(keysFile, (ring) => ({ ...ring, keys: made.map(({ key }) => key) }));
  return { keys: Object.fromEntries(made.map(({ key, text }) => [key.name, text])) as Record<Key, string>, keysFile };
}

/** A rectangle a third as wide and half as high as the picture, on its way round. */
function maskAt(turn: number): string {
  const [left, top] = [0.3 + 0.28 * Math.cos(2 * Math.PI * turn), 0.25 + 0.23 * Math.sin(2 * Math.PI * turn)];
  const [right, bottom] = [left + 0.34, top + 0.5];
  const corners = [
    [left, top],
    [right, top],
    [right, bottom],
    [left, bottom],
  ];
  return corners.map(([x, y]) => `${x!.toFixed(3)},${y!.toFixed(3)}`).join(' ');
}

/** The newest segment of the channel. */
async function hlsPictures(ask: Ask): Promise<Samples[]> {
  const base = '/hls/gate/annotated';
  const list = await (await ask(`${base}/media.m3u8`, 'viewer')).text();
  const init = [...list.matchAll(/EXT-X-MAP:URI="([^"]+)"/g)].at(-1)![1]!;
  const segment = list.match(/^\d+\/segment-\d+\.m4s/gm)!.at(-1)!;
  const bytes = await Promise.all(
    [init, segment].map(async (uri) => Buffer.from(await (await ask(`${base}/${uri}`, 'viewer')).arrayBuffer())),
  );
  return samplesOf(Buffer.concat(bytes), SLACK.coded);
}

async function recorded(ask: Ask): Promise<{ from: number; to: number } | undefined> {
  const answered = await ask('/api/cameras/gate/recordings', 'admin');
  const { spans } = (await answered.json()) as { spans: { from: number; to: number }[] };
  const [span] = spans;
  return span && { from: Math.floor(span.from), to: Math.ceil(span.to) };
}

/** Of everything that gives the camera's own frames, as they were before there was a mask. */
async function addressesOf(ask: Ask): Promise<string[]> {
  const { from, to } = (await recorded(ask))!;
  const range = `from=${from}&to=${to}`;
  const lists = ['/hls/gate/raw/media.m3u8', `/recordings/gate/media.m3u8?${range}`];
  const addresses = [
    '/hls/gate/raw/index.m3u8',
    `/recordings/gate/clip.mp4?${range}`,
    `/recordings/gate/clip.jsonl?${range}`,
    ...lists,
  ];
  for (const list of lists) {
    const text = await (await ask(list, 'admin')).text();
    const base = list.slice(0, list.lastIndexOf('/') + 1);
    const uris = [...text.matchAll(/URI="([^"]+)"/g)].map(([, uri]) => uri!);
    for (const uri of [...uris, ...(text.match(/^[^#\s]+$/gm) ?? [])])
      if (!uri.startsWith('..')) addresses.push(base + uri);
  }
  // They are there, for whoever may see them.
  for (const address of addresses) {
    const { status } = await ask(address, 'admin');
    if (status !== 200) throw new Error(`${status} at ${address}`);
  }
  return [...new Set(addresses)];
}

async function attempts(count: number, addresses: readonly string[], ask: Ask) {
  let given = 0;
  const statuses: Record<string, number> = {};
  const one = async (i: number): Promise<void> => {
    const address = addresses[i % addresses.length]!;
    const headers: Record<string, string> = i % 3 === 0 ? { range: `bytes=${i % 50}-` } : {};
    const answered = await ask(address, 'viewer', { method: i % 7 === 0 ? 'HEAD' : 'GET', headers });
    await answered.arrayBuffer();
    if (answered.ok || answered.status === 304) given++;
    const name = `masks_status_${answered.status}`;
    statuses[name] = (statuses[name] ?? 0) + 1;
  };
  for (let i = 0; i < count; i += AT_ONCE)
    await Promise.all(Array.from({ length: Math.min(AT_ONCE, count - i) }, (_, j) => one(i + j)));
  return { given, statuses };
}

async function socketAttempts(viewer: CamerasClient) {
  const channels = [['raw'], ['raw', 'results'], ['state', 'raw'], ['results', 'raw', 'state']] as const;
  const ids = Array.from({ length: 100 }, (_, i) => 100 + i);
  for (const id of ids) viewer.view(id, 'gate', channels[id % 4]!, id % 3 === 0 ? { transcode: false } : {});
  await viewer.settled();
  return { tried: ids.length, given: ids.filter((id) => viewer.of('fragment', id).length > 0).length };
}
