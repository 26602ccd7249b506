import { readFile, writeFile } from 'node:fs/promises';
import { createServer, type RequestListener } from 'node:http';
import { createServer as createTcpServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { AV_PIX_FMT_YUVJ420P, FF_ENCODER_MJPEG } from 'node-av/constants';
import { writeClip } from '../../../test/support/clips.ts';
import { numberOf, ReaderProcess, ReaderWorld } from '../../../test/support/camera-reader.ts';
import { annexbOf, numberedClip, type CodedClip } from '../../../test/support/coded-clip.ts';
import { decodeTimeOf } from '../../client/mp4-times.ts';
import { decodePictures } from '../../../test/support/decoded.ts';
import { readNumber } from '../../../test/support/picture-number.ts';
import { numberedJpeg } from '../../../test/support/numbered-jpeg.ts';
import type { RtspServer } from '../../../test/support/rtsp-server.ts';
import { decodeJpeg } from '../../media/jpeg.ts';
import type { RtspSent } from '../../../test/support/rtsp/camera.ts';

const SIZE = { width: 160, height: 96 };
let clips: Record<'plain' | 'bFrames' | 'hevc' | 'other', CodedClip>;
let world: ReaderWorld;
let server: RtspServer;
let reader: ReaderProcess;

beforeAll(async () => {
  const slow = { preset: 'veryfast' };
  clips = {
    plain: await numberedClip({ ...SIZE, frames: 60, keyEvery: 12 }),
    bFrames: await numberedClip({ ...SIZE, frames: 60, keyEvery: 12, bFrames: 2, options: slow }),
    hevc: await numberedClip({ ...SIZE, frames: 48, keyEvery: 12, codec: 'hevc' }),
    other: await numberedClip({ width: 192, height: 128, frames: 36, keyEvery: 12 }),
  };
  world = await ReaderWorld.open({
    plain: { clip: clips.plain },
    bFrames: { clip: clips.bFrames },
    hevc: { clip: clips.hevc },
    changing: { clip: clips.plain },
    digest: { clip: clips.plain, credentials: { scheme: 'digest', user: 'me', password: 'p@ss' } },
    basic: { clip: clips.plain, credentials: { scheme: 'basic', user: 'me', password: 'p@ss' } },
    lossy: { clip: clips.plain },
    bad: { clip: clips.plain },
    stalling: { clip: clips.plain },
    other: { clip: clips.other },
  });
  ({ server, reader } = world);
}, 120_000);

afterAll(async () => {
  await world?.[Symbol.asyncDispose]();
});

/** The numbers of all frames that are sent to whoever plays next, the first one first. */
async function watchSent(name: string): Promise<RtspSent[]> {
  const sent: RtspSent[] = [];
  // Whoever played before may not have hung up yet.
  await expect.poll(() => server.camera(name).clients).toBe(0);
  server.camera(name).onFrame = (frame) => void sent.push(frame);
  return sent;
}

describe('a frame keeps its name', { timeout: 60_000 }, () => {
  test.each(['plain', 'bFrames', 'hevc'] as const)('over RTSP, as a picture and as a fragment: %s', async (name) => {
    const sent = await watchSent(name);
    const camera = reader.open(server.url(name));
    camera.pictures(Infinity);
    camera.raw(true);
    const { facts, epoch } = await camera.live();
    expect(facts).toMatchObject({ format: 'rtsp', codec: clips[name].codec, ...SIZE });
    expect(epoch).toBe(camera.epoch);
    await camera.until('picture', 40);
    await camera.until('fragment', 50);
    camera.close();
    expect(await camera.ended()).toMatchObject({ code: null });

    // The first frame that was sent to us is frame 0.
    const numbers = sent.map(({ number }) => number);
    const pictures = camera.of('picture');
    expect(pictures.map(({ seq }) => numbers[seq])).toEqual(pictures.map(numberOf));
    // All from a key frame on, and where the decoder was behind the next key frame.
    const firstKey = sent.findIndex(({ isKey }) => isKey);
    // The decoder still had the last ones.
    const decoded = pictures
      .map(({ seq }) => seq)
      .toSorted((a, b) => a - b)
      .slice(0, -6);
    expect(decoded.every((seq, i) => seq === (decoded[i - 1] ?? -1) + 1 || sent[seq]!.isKey)).toBe(true);

    const fragments = camera.of('fragment');
    expect(fragments.map(({ seq }) => seq)).toEqual(fragments.map((_, i) => firstKey + i));
    expect(fragments[0]!.isKey).toBe(true);
    const [init] = camera.of('init');
    expect(init).toMatchObject({ epoch, codecString: facts.codecString, ...SIZE });
    const shown = await decodePictures(Buffer.concat([init!.bytes, ...fragments.map(({ bytes }) => bytes)]));
    // FFmpeg gives them in the order in which they are shown: that is the order of media times.
    const inOrder = fragments.toSorted((a, b) => a.mediaTimeS - b.mediaTimeS).map(({ seq }) => numbers[seq]);
    expect(shown.length).toBe(fragments.length);
    expect(shown.map(({ number }) => number)).toEqual(inOrder);
    // A browser takes a frame that is decoded much later than the one before for another beginning.
    const decodedAt = fragments.map(({ bytes }) => decodeTimeOf(bytes)!);
    for (const [i, ticks] of decodedAt.entries()) {
      const step = ticks - (decodedAt[i - 1] ?? ticks);
      expect(step, `frame ${i}`).toBeLessThan((1.5 * 90_000) / clips[name].rateFps);
    }
    for (const { arrivedMs, capturedBeforeMs, clock } of fragments) {
      expect(arrivedMs).toBeGreaterThan(0);
      expect(capturedBeforeMs).toBeGreaterThanOrEqual(0);
      expect(['camera', 'arrival']).toContain(clock);
    }
  });

  test('in a file that is played again and again, as fast as it can be read; nothing is left out', async () => {
    const path = await world.mp4File('looped', clips.bFrames);
    const camera = reader.open(path, { loop: true, pace: 'fast' });
    camera.pictures(Infinity);
    camera.raw(true);
    await camera.until('picture', 200);
    camera.close();
    await camera.ended();
    const orders = clips.bFrames.frames.map(({ order }) => order);
    const pictures = camera.of('picture');
    expect(pictures.map(numberOf)).toEqual(pictures.map(({ seq }) => orders[seq % orders.length]));
    expect(pictures.length).toBeGreaterThanOrEqual(200);
    const fragments = camera.of('fragment');
    expect(fragments.map(({ seq }) => seq)).toEqual(fragments.map((_, i) => fragments[0]!.seq + i));
  });

  test('a file ends after its last picture', async () => {
    const camera = reader.open(`file://${await world.mp4File('once', clips.bFrames)}`, { pace: 'fast' });
    camera.pictures(Infinity);
    expect(await camera.ended()).toMatchObject({ code: null, reason: 'it was played to its end' });
    await camera.until('picture', 60);
    expect(camera.of('picture').map(numberOf)).toEqual(Array.from({ length: 60 }, (_, i) => i));
  });
});

/** An HTTP server of one answer. */
async function serve(answer: RequestListener): Promise<string> {
  const http = createServer(answer).listen(0, '127.0.0.1');
  await new Promise((resolve) => http.once('listening', resolve));
  onTestFinished(() => {
    http.closeAllConnections();
    http.close();
  });
  return `127.0.0.1:${(http.address() as AddressInfo).port}`;
}

describe('no more is decoded than is needed', { timeout: 60_000 }, () => {
  test('single key frames where few pictures are asked for, and all when more are', async () => {
    const sent = await watchSent('plain');
    const camera = reader.open(server.url('plain'));
    camera.pictures(1, { width: 80, height: 80, fit: 'contain' });
    await camera.until('picture', 2);
    const few = camera.of('picture');
    expect(few.every(({ seq }) => sent[seq]!.isKey)).toBe(true);
    expect(few[0]).toMatchObject({ width: 80, height: 48, source: SIZE });
    camera.pictures(Infinity, { width: 64, height: 64, fit: 'stretch' });
    await camera.waitFor(() => camera.of('picture').some(({ seq }) => !sent[seq]!.isKey));
    const first = camera.of('picture').findIndex(({ seq }) => !sent[seq]!.isKey);
    const all = camera.of('picture').slice(first);
    expect(all[0]).toMatchObject({ width: 64, height: 64, source: SIZE });
    // It follows a key frame.
    expect(sent[all[0]!.seq - 1]!.isKey).toBe(true);
    camera.close();
    await camera.ended();
  });

  test('nothing where nobody asks, but a key frame for the watch, and one for a still', async () => {
    const camera = reader.open(await world.mp4File('still', clips.plain), { loop: true });
    await camera.live();
    const request = camera.still(80);
    await camera.until('still', 1);
    const [still] = camera.of('still');
    expect(still).toMatchObject({ request, width: 80, height: 48 });
    const { data, width, height } = decodeJpeg(still!.bytes, new Uint8Array(80 * 48 * 3));
    expect(clips.plain.frames[readNumber({ data, width, height, pixelBytes: 3 })!]!.isKey).toBe(true);
    await camera.waitFor(() => (camera.counts?.received ?? 0) > 100);
    expect(camera.counts!.decoded).toBeLessThanOrEqual(4);
    expect(camera.of('picture')).toEqual([]);
    camera.close();
    await camera.ended();
    const late = camera.still();
    await camera.waitFor(() => camera.news('still_failed').length === 1);
    expect(camera.news('still_failed')[0]).toMatchObject({ request: late, code: 'CAMERA_NO_PICTURE' });
  });
});

test('what was learned of a picture is known to the next connection', { timeout: 60_000 }, async () => {
  const told = async (url: string, scene: string, count: number) => {
    const camera = reader.open(url, { scene });
    camera.pictures(Infinity);
    await camera.waitFor(() => camera.news('condition').length >= count);
    camera.close();
    await camera.ended();
    return camera.news('condition').map(({ condition }) => condition)[count - 1];
  };
  const [plain, other] = [server.url('plain'), server.url('other')];
  expect(await told(plain, 'gate', 1)).toBe('unknown');
  expect(await told(plain, 'gate', 2)).toBe('ok');
  expect(await told(plain, 'gate', 1)).toBe('ok');
  expect(await told(plain, 'yard', 1)).toBe('unknown');
  // Of another size.
  expect(await told(other, 'gate', 1)).toBe('unknown');
});

describe('the raw channel', { timeout: 60_000 }, () => {
  test('begins for a late viewer at the key frame before, at once, and again for the next', async () => {
    const sent = await watchSent('plain');
    const camera = reader.open(server.url('plain'));
    await camera.waitFor(() => sent.findIndex(({ isKey }) => isKey) >= 0 && sent.length > 17);
    await camera.waitFor(() => !sent.at(-1)!.isKey && !sent.at(-2)!.isKey && !sent.at(-3)!.isKey);
    camera.raw(true);
    await camera.until('fragment', 4);
    const [first, second] = camera.of('fragment');
    expect(first!.isKey).toBe(true);
    expect(second!.seq).toBe(first!.seq + 1);
    expect(camera.of('init')).toHaveLength(1);
    camera.raw(false);
    camera.raw(true);
    await camera.waitFor(() => camera.of('init').length === 2);
    await camera.until('fragment', 12);
    camera.close();
    await camera.ended();
    // What came before the second header, and what after it.
    const fragments = camera.of('fragment');
    const begins = fragments.flatMap(({ seq }, i) =>
      i === 0 || seq !== fragments[i - 1]!.seq + 1 ? [fragments[i]!] : [],
    );
    expect(begins.every(({ isKey }) => isKey)).toBe(true);
  });

  test('has a new epoch and a new header when a camera changes its size, and the pictures follow', async () => {
    const changing = server.camera('changing');
    const camera = reader.open(server.url('changing'));
    camera.pictures(Infinity);
    camera.raw(true);
    await camera.until('fragment', 5);
    changing.change(clips.other);
    await camera.waitFor(() => camera.of('init').length === 2);
    await camera.waitFor(() => camera.of('picture').some(({ width }) => width === 192));
    const [one, two] = camera.news('live').filter((news, i, all) => news.epoch !== all[i - 1]?.epoch);
    expect(two!.facts).toMatchObject({ width: 192, height: 128 });
    expect(two!.epoch).toBeGreaterThan(one!.epoch);
    const after = camera.of('fragment').find(({ epoch }) => epoch === two!.epoch);
    expect(after).toMatchObject({ seq: 0, isKey: true, mediaTimeS: 0 });
    const picture = camera.of('picture').find(({ width }) => width === 192)!;
    expect(picture.epoch).toBe(two!.epoch);
    expect(numberOf(picture)).toBe(picture.seq % 36);
    camera.close();
    await camera.ended();
    changing.change(clips.plain);
  });
});

describe('whose clock the times are from', { timeout: 60_000 }, () => {
  test('the camera, where its reports can be true', async () => {
    const plain = server.camera('plain');
    plain.ntpOffsetMs = -500;
    const camera = reader.open(server.url('plain'));
    camera.raw(true);
    await camera.until('fragment', 5);
    expect(camera.news('live').map(({ facts: { clock } }) => clock)).toEqual(['camera']);
    // From the first frame on: a report comes before it.
    for (const { clock, capturedBeforeMs } of camera.of('fragment')) {
      expect(clock).toBe('camera');
      expect(capturedBeforeMs).toBeGreaterThan(490);
    }
    plain.ntpOffsetMs = 0;
    camera.close();
    await camera.ended();
  });

  test.each([
    ['of the future', 60_000],
    ['long ago', -3_600_000],
    ['not told', null],
  ])('the arrival, where they are %s', async (_what, offsetMs) => {
    const plain = server.camera('plain');
    plain.ntpOffsetMs = offsetMs;
    const camera = reader.open(server.url('plain'));
    camera.raw(true);
    await camera.until('fragment', 20);
    plain.ntpOffsetMs = 0;
    expect(
      camera.of('fragment').every(({ clock, capturedBeforeMs }) => clock === 'arrival' && capturedBeforeMs === 0),
    ).toBe(true);
    camera.close();
    await camera.ended();
  });
});

test('timestamps that jump do not reach the time of the medium', { timeout: 60_000 }, async () => {
  const plain = server.camera('plain');
  const camera = reader.open(server.url('plain'));
  camera.raw(true);
  await camera.until('fragment', 10);
  plain.setTimestamp(2 ** 32 - 10_000);
  await camera.until('fragment', 30);
  plain.setTimestamp(5);
  await camera.until('fragment', 45);
  camera.close();
  await camera.ended();
  const times = camera.of('fragment').map(({ mediaTimeS }) => mediaTimeS);
  expect(times.every((timeS, i) => i === 0 || (timeS > times[i - 1]! && timeS < times[i - 1]! + 5))).toBe(true);
});

describe('over UDP', { timeout: 60_000 }, () => {
  test('frames come as well', async () => {
    const sent = await watchSent('plain');
    const camera = reader.open(server.url('plain'), { transport: 'udp' });
    camera.pictures(Infinity);
    await camera.until('picture', 20);
    const numbers = sent.map(({ number }) => number);
    const pictures = camera.of('picture');
    expect(pictures.map(({ seq }) => numbers[seq])).toEqual(pictures.map(numberOf));
    camera.close();
    await camera.ended();
  });

  test('what was lost is counted, and nothing is shown that depends on it', async () => {
    const lossy = server.camera('lossy');
    lossy.lossShare = 0.03;
    const camera = reader.open(server.url('lossy'), { transport: 'udp' });
    camera.pictures(Infinity);
    camera.raw(true);
    await camera.waitFor(() => (camera.counts?.damaged ?? 0) > 2 && (camera.counts?.fragmentsDropped ?? 0) > 0);
    await camera.until('fragment', 30);
    camera.close();
    await camera.ended();
    lossy.lossShare = 0;
    const pictures = camera.of('picture');
    expect(pictures.length).toBeGreaterThan(0);
    expect(pictures.map(numberOf)).not.toContain(undefined);
    const [init] = camera.of('init');
    const fragments = camera.of('fragment').map(({ bytes }) => bytes);
    const shown = await decodePictures(Buffer.concat([init!.bytes, ...fragments]));
    expect(shown.map(({ number }) => number)).not.toContain(undefined);
  });
});

test('cameras that stall hold up nobody', { timeout: 60_000 }, async () => {
  // As many threads as the process has: none of them may wait for a camera.
  await using small = new ReaderProcess(4);
  const stalling = server.camera('stalling');
  const stalled = Array.from({ length: 6 }, () => small.open(server.url('stalling'), { stallTimeoutMs: 2_000 }));
  await Promise.all(stalled.map((camera) => camera.live()));
  const well = small.open(server.url('plain'));
  well.pictures(Infinity);
  well.raw(true);
  await well.until('picture', 5);
  stalling.mode = 'stall';
  const before = well.of('fragment').length;
  await well.until('fragment', before + 30);
  const ends = await Promise.all(stalled.map((camera) => camera.ended()));
  stalling.mode = 'play';
  expect(ends.map(({ code }) => code)).toEqual(ends.map(() => 'CAMERA_STALLED'));
  const seqs = well.of('fragment').map(({ seq }) => seq);
  expect(seqs).toEqual(seqs.map((_, i) => seqs[0]! + i));
});

describe('over HTTP', { timeout: 60_000 }, () => {
  test('JPEGs one behind the other: pictures and stills, no raw channel', async () => {
    const host = await serve((_request, response) => {
      response.writeHead(200, { 'Content-Type': 'multipart/x-mixed-replace; boundary=next' });
      let number = 0;
      const timer = setInterval(() => {
        const jpeg = numberedJpeg(number++, SIZE);
        response.write(`--next\r\nContent-Type: image/jpeg\r\nContent-Length: ${jpeg.length}\r\n\r\n`);
        response.write(jpeg);
        response.write('\r\n');
      }, 40);
      response.on('close', () => clearInterval(timer));
    });
    const camera = reader.open(`http://${host}/`);
    camera.pictures(Infinity);
    camera.raw(true);
    expect(await camera.live()).toMatchObject({
      facts: { format: 'mpjpeg', codec: 'mjpeg', codecString: null, ...SIZE },
    });
    await camera.until('picture', 10);
    const pictures = camera.of('picture');
    expect(pictures.map(numberOf)).toEqual(pictures.map(({ seq }) => seq));
    const request = camera.still();
    await camera.until('still', 1);
    expect(camera.of('still')[0]).toMatchObject({ request, ...SIZE });
    expect(camera.of('fragment')).toEqual([]);
    camera.close();
    await camera.ended();
  });

  test('HLS: all segments in order, at the pace of their time; what it names in a private network is not called', async () => {
    const path = join(world.folder, 'segment.ts');
    await writeClip(path, { codec: 'libx264' as never, format: 'mpegts', width: 64, height: 48, frames: 25 });
    const segment = await readFile(path);
    const asked: string[] = [];
    let entries = ['one.ts', 'two.ts'];
    const host = await serve((request, response) => {
      asked.push(request.url!);
      if (request.url!.endsWith('.ts')) return void response.end(segment);
      if (request.url === '/') return void response.end('#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nlist.m3u8\n');
      const list = entries.map((entry) => `#EXTINF:1,\n${entry}\n`).join('');
      return void response.end(`#EXTM3U\n#EXT-X-TARGETDURATION:1\n${list}#EXT-X-ENDLIST\n`);
    });
    const camera = reader.open(`http://${host}/`, { pace: 'fast' });
    camera.pictures(Infinity);
    expect(await camera.ended()).toMatchObject({ code: null });
    expect(asked).toEqual(['/', '/list.m3u8', '/one.ts', '/two.ts']);
    await camera.until('picture', 50);
    // `localhost` is another host than the one that was entered.
    entries = [`http://localhost:${host.split(':')[1]}/one.ts`];
    asked.length = 0;
    expect(await reader.open(`http://${host}/`).ended()).toMatchObject({ code: 'CAMERA_FORBIDDEN' });
    expect(asked).toEqual(['/', '/list.m3u8']);
  });

  test('a film whose index is at its end, which is read by parts', async () => {
    const path = join(world.folder, 'film.mp4');
    await writeClip(path, { codec: 'libx264' as never, format: 'mp4', width: 320, height: 240, frames: 25 });
    const film = await readFile(path);
    const host = await serve((request, response) => {
      const [, from] = /bytes=(\d+)-/.exec(request.headers.range ?? '') ?? [];
      const begin = Number(from ?? 0);
      const headers = { 'Accept-Ranges': 'bytes', 'Content-Length': film.length - begin };
      if (from === undefined) response.writeHead(200, headers);
      else response.writeHead(206, { ...headers, 'Content-Range': `bytes ${begin}-${film.length - 1}/${film.length}` });
      response.end(film.subarray(begin));
    });
    const camera = reader.open(`http://${host}/`, { pace: 'fast' });
    camera.pictures(Infinity);
    expect(await camera.ended()).toMatchObject({ code: null });
    await camera.until('picture', 25);
  });
});

describe('an address that gives no frames says why', { timeout: 60_000 }, () => {
  const SECRET = 'sekret';
  const rtsp = (set: (camera: ReturnType<RtspServer['camera']>) => void, credentials?: string) => {
    const bad = server.camera('bad');
    [bad.mode, bad.redirectTo, bad.hasPicture] = ['play', null, true];
    set(bad);
    return server.url('bad', credentials);
  };
  const file = async (name: string, bytes: string | Uint8Array) => {
    const path = join(world.folder, name);
    await writeFile(path, bytes);
    return path;
  };
  const raw = async (bytes: Uint8Array | string) => {
    const tcp = createTcpServer((socket) => socket.on('error', () => undefined).end(bytes)).listen(0, '127.0.0.1');
    await new Promise((resolve) => tcp.once('listening', resolve));
    onTestFinished(() => void tcp.close());
    return `127.0.0.1:${(tcp.address() as AddressInfo).port}`;
  };

  test.each<[what: string, code: string, url: () => string | Promise<string>]>([
    ['no such host', 'CAMERA_UNREACHABLE', () => 'rtsp://no-such-host.invalid/1'],
    ['a port that refuses', 'CAMERA_UNREACHABLE', () => `rtsp://me:${SECRET}@127.0.0.1:1/1`],
    ['nothing is answered', 'CAMERA_UNREACHABLE', () => rtsp((bad) => (bad.mode = 'hang'))],
    ['it hangs up', 'CAMERA_UNREACHABLE', () => rtsp((bad) => (bad.mode = 'close'))],
    ['no such stream', 'CAMERA_NOT_FOUND', () => rtsp((bad) => (bad.mode = 'not_found'))],
    ['garbage over RTSP', 'CAMERA_FORMAT', () => rtsp((bad) => (bad.mode = 'garbage'))],
    ['sound alone', 'CAMERA_FORMAT', () => rtsp((bad) => (bad.hasPicture = false))],
    ['no frame', 'CAMERA_STALLED', () => rtsp((bad) => (bad.mode = 'stall'))],
    ['an end after a frame', 'CAMERA_ENDED', () => rtsp((bad) => (bad.mode = 'end'))],
    [
      'any credentials are wrong',
      'CAMERA_CREDENTIALS',
      () => rtsp((bad) => (bad.mode = 'unauthorized'), `me:${SECRET}`),
    ],
    ['no credentials', 'CAMERA_CREDENTIALS', () => server.url('digest')],
    ['wrong credentials, by Digest', 'CAMERA_CREDENTIALS', () => server.url('digest', `me:${SECRET}`)],
    ['wrong credentials, by Basic', 'CAMERA_CREDENTIALS', () => server.url('basic', `me:${SECRET}`)],
    [
      'a redirect to a metadata service',
      'CAMERA_FORBIDDEN',
      () => rtsp((bad) => (bad.redirectTo = 'rtsp://169.254.169.254/1')),
    ],
    [
      'a redirect into a private network',
      'CAMERA_FORBIDDEN',
      () => rtsp((bad) => (bad.redirectTo = 'rtsp://10.0.0.1/1'), `me:${SECRET}`),
    ],
    ['a redirect in a circle', 'CAMERA_UNREACHABLE', () => rtsp((bad) => (bad.redirectTo = server.url('bad')))],
    ['a metadata service', 'CAMERA_FORBIDDEN', () => 'http://169.254.169.254/latest/meta-data/'],
    ['a kind of address that is not read', 'CAMERA_FORBIDDEN', () => 'gopher://127.0.0.1/1'],
    ['no host', 'CAMERA_FORBIDDEN', () => 'rtsp:///1'],
    ['garbage over HTTP', 'CAMERA_UNREACHABLE', async () => `http://${await raw('SSH-2.0-x\r\n')}/`],
    [
      'a page',
      'CAMERA_FORMAT',
      async () => `http://${await serve((_, response) => void response.end('<html></html>'))}/`,
    ],
    [
      'no such page',
      'CAMERA_NOT_FOUND',
      async () => `http://${await serve((_, response) => void response.writeHead(404).end())}/`,
    ],
    [
      'HTTP with wrong credentials',
      'CAMERA_CREDENTIALS',
      async () =>
        `http://me:${SECRET}@${await serve(
          (_, response) => void response.writeHead(401, { 'WWW-Authenticate': 'Digest realm="r", nonce="n"' }).end(),
        )}/`,
    ],
    [
      'a redirect over HTTP into a private network',
      'CAMERA_FORBIDDEN',
      async () =>
        `http://${await serve((_, response) => void response.writeHead(302, { Location: 'http://192.168.0.1/' }).end())}/`,
    ],
    [
      'a redirect over HTTP to a file',
      'CAMERA_FORBIDDEN',
      async () =>
        `http://${await serve((_, response) => void response.writeHead(302, { Location: 'file:///etc/passwd' }).end())}/`,
    ],
    ['no such file', 'CAMERA_NOT_FOUND', () => join(world.folder, 'nowhere.mp4')],
    ['a folder', 'CAMERA_FORMAT', () => world.folder],
    ['an empty file', 'CAMERA_FORMAT', () => file('empty.mp4', '')],
    ['a file of text', 'CAMERA_FORMAT', () => file('text.mp4', 'nothing to see here\n'.repeat(100))],
    [
      'a playlist on the disk that names the network',
      'CAMERA_FORMAT',
      () => file('list.m3u8', '#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:1/x.ts\n#EXT-X-ENDLIST\n'),
    ],
    ['no such device', 'CAMERA_NOT_FOUND', () => '/dev/video99'],
  ])('%s: %s', async (what, code, url) => {
    const isWaitedFor = ['nothing is answered', 'no frame'].includes(what);
    const camera = reader.open(await url(), { openTimeoutMs: isWaitedFor ? 1_500 : 20_000 });
    const end = await camera.ended();
    expect(end).toMatchObject({ code });
    expect(end.reason).not.toContain(SECRET);
    expect(end.reason.length).toBeGreaterThan(5);
  });

  test('more pixels than are allowed, and more frames a second', async () => {
    const large = await reader.open(server.url('plain'), { pixelsMax: 10_000 }).ended();
    expect(large).toMatchObject({ code: 'CAMERA_TOO_LARGE', reason: expect.stringContaining('160×96') });
    const fast = await reader.open(server.url('plain'), { rateFpsMax: 5 }).ended();
    expect(fast).toMatchObject({ code: 'CAMERA_TOO_LARGE', reason: expect.stringContaining('frames a second') });
  });

  test('and with the right credentials it gives them', async () => {
    for (const name of ['digest', 'basic']) {
      const camera = reader.open(server.url(name, 'me:p%40ss'));
      camera.pictures(1);
      await camera.until('picture', 1);
      camera.close();
      await camera.ended();
    }
  });

  test('a redirect to where it may lead is followed', async () => {
    const camera = reader.open(rtsp((bad) => (bad.redirectTo = server.url('other'))));
    expect((await camera.live()).facts).toMatchObject({ width: 192, height: 128 });
    camera.close();
    await camera.ended();
  });

  test('damage is no end: what can be decoded is', async () => {
    const bytes = Buffer.from(annexbOf(clips.plain));
    for (let at = 3_000; at < bytes.length; at += 997) bytes[at] = bytes[at]! ^ 0x55;
    const camera = reader.open(await file('damaged.h264', bytes), { pace: 'fast' });
    camera.pictures(Infinity);
    expect(await camera.ended()).toMatchObject({ code: null });
    await camera.until('picture', 1);
  });

  test('JPEGs in a file are no stream of H.264, and play all the same', async () => {
    const path = join(world.folder, 'jpegs.mkv');
    const options = { strict: 'unofficial' };
    await writeClip(path, {
      codec: FF_ENCODER_MJPEG,
      format: 'matroska',
      ...SIZE,
      frames: 10,
      options,
      pixelFormat: AV_PIX_FMT_YUVJ420P,
    });
    // Again and again: once, it might be over before pictures are asked for.
    const camera = reader.open(path, { pace: 'fast', loop: true });
    camera.pictures(Infinity);
    await camera.until('picture', 30);
    camera.close();
    expect(await camera.ended()).toMatchObject({ code: null });
  });
});
