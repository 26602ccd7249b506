import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CameraApi } from '../../test/support/camera-api.ts';
import { runHere } from '../../test/support/command.ts';
import { listLines, showLines, testLine } from './cameras.ts';
import { cameraFlags } from './run-server.ts';

let api: CameraApi;
let folder: string;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'sightline-cameras-'));
  api = await CameraApi.open({ 'cameras.gate.url': 'rtsp://me:hidden1@gate/1' });
});
afterEach(async () => {
  await api[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

const cameras = async (...words: string[]) => {
  const [command = '', ...rest] = words;
  const ran = await runHere(folder, ['cameras', command, '--url', api.url, ...rest], { HOME: folder });
  expect(ran.out + ran.err).not.toMatch(/hidden\d/);
  return ran;
};

describe('add', () => {
  test('one camera, and another time as it is to be now', async () => {
    const words = [
      'add',
      'north.1',
      'rtsp://me:hidden2@north/1',
      '--class',
      'high',
      '--pipeline',
      'objects,hands',
      '--transport',
      'udp',
      '--once',
    ];
    expect(await cameras(...words)).toEqual({ code: 0, out: 'north.1 is added\n', err: '' });
    expect(api.coordinator.config.cameras['north.1']).toMatchObject({
      url: 'rtsp://me:hidden2@north/1',
      class: 'high',
      pipelines: ['objects', 'hands'],
      transport: 'udp',
      loop: false,
    });
    expect((await cameras(...words)).out).toBe('north.1 is as it was\n');
    await cameras('add', 'north.1', 'a.mp4', '--mask', '0,0 1,0 1,1', '--mask', '0 0 .5 0 0 .5');
    await cameras('add', 'north.1', 'a.mp4', '--class', 'low');
    expect(api.coordinator.config.cameras['north.1']!.masks).toEqual(['0,0 1,0 1,1', '0,0 0.5,0 0,0.5']);
    expect((await cameras('show', 'north.1')).out).toMatch(/^ {2}masks +2$/m);
    await cameras('add', 'north.1', 'a.mp4', '--mask', 'none');
    expect(api.coordinator.config.cameras['north.1']!.masks).toEqual([]);
    api.isKept = false;
    const off = await cameras(
      'add',
      'north.1',
      'a.mp4',
      '--off',
      '--pipeline',
      'none',
      '--pace',
      'fast',
      '--model',
      'yolox-nano',
    );
    expect(off).toEqual({ code: 0, out: 'north.1 is changed\n', err: expect.stringContaining('store.mode') });
    expect(api.coordinator.config.cameras['north.1']).toMatchObject({
      url: 'a.mp4',
      enabled: false,
      pipelines: [],
      pace: 'fast',
      class: 'normal',
    });
    const json = JSON.parse((await cameras('add', 'roof', 'a.mp4', '--json')).out) as object;
    expect(json).toMatchObject({ change: 'added', kept: false, camera: { id: 'roof' } });
  });

  test('many, out of a file', async () => {
    writeFileSync(
      join(folder, 'c.csv'),
      '\uFEFFid;url;class\r\ngate;rtsp://me:hidden1@gate/1;\r\nyard;rtsp://me:hidden2@yard/1;low\r\n',
    );
    expect(await cameras('add', '--file', 'c.csv')).toEqual({
      code: 0,
      out: '1 camera added, 0 changed, 1 as before\n',
      err: '',
    });
    writeFileSync(join(folder, 'c.json'), JSON.stringify([{ id: 'yard', url: 'rtsp://yard/2' }]));
    expect((await cameras('add', '--file', 'c.json')).out).toBe('0 cameras added, 1 changed, 0 as before\n');
    expect(api.ids).toEqual(['gate', 'yard']);
    writeFileSync(join(folder, 'bad.csv'), 'id,url,class\nroof,rtsp://me:hidden3@roof/1,best\n');
    expect(await cameras('add', '--file', 'bad.csv')).toMatchObject({
      code: 65,
      out: '',
      err: expect.stringMatching(
        /line 2, column class: it must be one of critical, high, normal, low, not "best" \(BODY_BAD\)\n$/,
      ),
    });
    expect(api.ids).toEqual(['gate', 'yard']);
  });

  test.each<[string[], number, RegExp]>([
    [[], 64, /it takes an id and an address, or --file: sightline cameras add/],
    [['roof'], 64, /it takes an id and an address/],
    [['../roof', 'rtsp://roof/1'], 64, /no camera is called "\.\.\/roof": a name has/],
    [['Roof', 'rtsp://roof/1'], 64, /a name has 1 to 64 characters/],
    [['roof', 'rtsp//me:hidden2@roof/1'], 64, /there is :\/\//],
    [['roof', 'me:hidden2@10.0.0.7/1'], 64, /the address of a camera: /],
    [['roof', 'gopher://roof'], 64, /begins with one of rtsp:/],
    [['roof', 'rtsp://roof/1', '--class', 'best'], 64, /Allowed choices are critical, high, normal, low/],
    [['roof', 'rtsp://roof/1', '--mask', '0,0 1,1'], 65, /body\.masks\.0: a polygon has 3 to 64 points/],
    [['roof', 'rtsp://roof/1', '--pipeline', 'faces'], 65, /body\.pipelines/],
    [['roof', 'rtsp://roof/1', '--file', 'c.csv'], 64, /leave out the id and the address/],
    [['--file', 'c.csv', '--class', 'low'], 64, /leave out --class/],
    [['--file', 'none.csv'], 66, /there is no file/],
    [['--file', '.'], 65, /SOURCE_UNREADABLE/],
    [['roof', 'rtsp://roof/1', 'more'], 64, /too many arguments/],
  ])('%j is refused in one line', async (words, code, message) => {
    const ran = await cameras('add', ...words);
    expect(ran).toMatchObject({ code, out: '', err: expect.stringMatching(message) });
    expect(ran.err.trimEnd().split('\n')).toHaveLength(1);
    expect(api.ids).toEqual(['gate']);
  });

  test('a file that is too large, or no text', async () => {
    writeFileSync(join(folder, 'large.csv'), 'x'.repeat(1_048_577));
    expect(await cameras('add', '--file', 'large.csv')).toMatchObject({
      code: 65,
      err: expect.stringContaining('are more than'),
    });
    writeFileSync(join(folder, 'latin.csv'), Buffer.from([0x69, 0x64, 0xe9]));
    expect(await cameras('add', '--file', 'latin.csv')).toMatchObject({
      code: 65,
      err: expect.stringContaining('UTF-8'),
    });
  });
});

describe('list, show and remove', () => {
  test('tell what there is, and take it away', async () => {
    await cameras('add', 'yard', 'rtsp://yard/1', '--class', 'low');
    api.cameras.get('yard')!.state = 'stalled';
    const all = await cameras('list');
    expect(all).toMatchObject({ code: 0, err: '1 of 2 cameras live\n' });
    expect(all.out.split('\n')).toHaveLength(4);
    expect((await cameras('list', '--state', 'stalled,failed', '--text', 'yard', '--json')).out).toMatch(
      /^\[\{"id":"yard".*\]\n$/,
    );
    expect(await cameras('list', '--text', 'nothing')).toMatchObject({
      code: 0,
      out: '',
      err: expect.stringContaining('cameras add'),
    });
    expect(await cameras('list', '--state', 'best')).toMatchObject({
      code: 64,
      err: expect.stringContaining('QUERY_BAD'),
    });
    expect((await cameras('show', 'yard')).out).toMatch(/^yard: stalled for \d+ d.*\n {2}address +rtsp:\/\/yard\/1\n/);
    expect(JSON.parse((await cameras('show', 'yard', '--json')).out)).toMatchObject({ settings: { class: 'low' } });
    expect(await cameras('show', 'nobody')).toMatchObject({ code: 66, err: expect.stringContaining('CAMERA_UNKNOWN') });
    expect(await cameras('show', '..')).toMatchObject({ code: 64, err: expect.stringContaining('a name has') });
    expect(await cameras('remove', 'yard')).toEqual({ code: 0, out: 'yard is removed\n', err: '' });
    expect(await cameras('remove', 'yard')).toMatchObject({ code: 66 });
    expect(api.ids).toEqual(['gate']);
  });

  test('more of them than one answer has', async () => {
    const lines = Array.from({ length: 999 }, (_, i) => `c${i},rtsp://c/${i}`);
    writeFileSync(join(folder, 'c.csv'), `id,url\n${lines.join('\n')}`);
    await cameras('add', '--file', 'c.csv');
    expect(JSON.parse((await cameras('list', '--json')).out)).toHaveLength(1_000);
  });

  test('of a server that is none', async () => {
    const ran = await runHere(folder, ['cameras', 'list', '--url', 'http://127.0.0.1:1'], { HOME: folder });
    expect(ran).toMatchObject({ code: 69, err: expect.stringContaining('CONNECTION_FAILED') });
    expect(await runHere(folder, ['cameras', 'lsit'], {})).toMatchObject({ code: 64 });
  });
});

describe('test', () => {
  const facts = { format: 'rtsp', codec: 'h264', codecString: null, width: 768, height: 432, clock: 'camera' } as const;
  const still = {
    frame: { camera: '', epoch: 1, seq: 0 },
    captureTimeMs: 0,
    clock: 'camera',
    width: 640,
    height: 360,
    boxes: 'none',
    jpeg: new Uint8Array([0xff, 0xd8]),
  } as const;

  test('says what is there, and keeps a picture of it', async () => {
    api.found = {
      reason: null,
      stream: facts,
      firstFrameMs: 120,
      rates: { fps: 12.5, bitsPerS: 812_000 },
      still,
      tookMs: 1,
    };
    const ran = await cameras('test', 'rtsp://me:hidden2@x/1', '--transport', 'udp', '--still', 'x.jpg');
    expect(ran).toEqual({
      code: 0,
      out: 'it works: rtsp, h264, 768×432, 12.5 frames/s, 812 kbit/s, first frame after 0.1 s\n',
      err: '',
    });
    expect([...readFileSync(join(folder, 'x.jpg'))]).toEqual([0xff, 0xd8]);
    const json = JSON.parse((await cameras('test', 'rtsp://x/1', '--json')).out) as object;
    expect(json).toMatchObject({ ok: true, still: { width: 640, height: 360 } });
    expect(JSON.stringify(json)).not.toContain('jpeg');
    expect(await cameras('test', 'rtsp://x/1', '--still', 'no/where.jpg')).toMatchObject({ code: 73 });
  });

  test('says why nothing is there, in its exit code too', async () => {
    const reason = { code: 'CAMERA_NO_PICTURE', message: 'no frame came within 10000 ms' } as const;
    api.found = { reason, stream: null, firstFrameMs: null, rates: null, still: null, tookMs: 1 };
    const ran = await cameras('test', 'rtsp://me:hidden2@x/1');
    expect(ran).toEqual({
      code: 69,
      out: '',
      err: 'sightline: rtsp://[redacted]@x/1: no frame came within 10000 ms (CAMERA_NO_PICTURE)\n',
    });
    expect(await cameras('test', 'rtsp://x/1', '--json')).toMatchObject({
      code: 69,
      out: expect.stringContaining('"ok":false'),
    });
    expect(await cameras('test', 'me:hidden2@10.0.0.7/1')).toMatchObject({ code: 64 });
  });
});

describe('the table', () => {
  const camera = {
    id: 'gate',
    url: 'rtsp://gate/1',
    state: 'live',
    since: 940_000,
    reason: null,
    until: null,
    picture: { condition: 'ok' },
    rates: { received_fps: 12.5 },
  };

  test('fits 80 columns, and says what is wrong', () => {
    const lines = listLines(
      [
        camera,
        {
          ...camera,
          id: 'n'.repeat(64),
          url: `rtsp://${'x'.repeat(200)}/1`,
          picture: { condition: 'frozen' },
          since: 0,
        },
        {
          ...camera,
          id: 'yard',
          state: 'backing_off',
          until: 1_012_000,
          reason: { code: 'CAMERA_REFUSED', message: 'it refuses the connection, and says so in very many words' },
        },
        { ...camera, id: 'off', state: 'off' },
      ],
      1_000_000,
    );
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(80);
    expect(lines[1]).toMatch(/^gate +live +1:00 +12\.5 +rtsp:\/\/gate\/1$/);
    expect(lines[2]).toMatch(/^n{9,10}…n{9,10} +live, frozen +16:40 +12\.5 +rtsp:/);
    expect(lines[3]).toMatch(/^yard +backing_off +1:00 +– +again in 0:12: it refuses/);
    expect(lines[4]).toMatch(/^off +off +1:00 +– +rtsp:\/\/gate\/1$/);
  });

  test('takes whatever a server says, without control characters', () => {
    const odd = { id: '\u001B[31mx', state: 7, since: 'x', reason: { message: 'a\nb' }, rates: { received_fps: 'x' } };
    expect(listLines([odd, {}], 0)[1]).toMatch(/^x +7 +– +a b$/);
    expect(showLines(odd, 0)[0]).toBe('x: 7');
    expect(showLines({ ...odd, stream: { format: {}, width: 'x' } }, 0).join('\n')).not.toContain('\u001B');
    expect(testLine({})).toBe('it works: frames come');
  });

  test('of one camera', () => {
    const lines = showLines(
      {
        ...camera,
        class: 'high',
        pipelines: ['objects'],
        settings: { model: 'yolox-nano' },
        stream: { format: 'rtsp', codec: 'h264', width: 768, height: 432, clock: 'camera' },
        rates: { received_fps: 12.5, received_bits_per_s: 1_250_000, decoded_fps: 4, pictures_fps: 4 },
        frames: {
          received: 1_234,
          decoded: 400,
          damaged: 1,
          pictures: 399,
          pictures_dropped: 1,
          fragments: 0,
          fragments_dropped: 0,
        },
        connections: 2,
        viewers: 0,
      },
      1_000_000,
    );
    expect(lines.join('\n')).toBe(
      [
        'gate: live for 1:00',
        '  address       rtsp://gate/1',
        '  class         high',
        '  pipelines     objects (yolox-nano)',
        '  picture       ok',
        '  stream        rtsp, h264, 768×432, capture times by the camera',
        '  received      12.5 frames/s, 1.3 Mbit/s; 1,234 frames, 1 damaged',
        '  decoded       4.0 frames/s; 400 frames',
        '  to pipelines  4.0 pictures/s; 399 pictures, 1 dropped',
        '  viewers       0; 0 fragments, 0 dropped',
        '  connections   2',
      ].join('\n'),
    );
  });
});

test('cameras on the command line of a server', () => {
  expect(cameraFlags(['rtsp://a/1', 'clips/a.mp4', '/dev/video0', 'http://b/2', '10.0.0.7/live'], '/home/me')).toEqual({
    'cameras.cam1.url': 'rtsp://a/1',
    'cameras.cam2.url': '/home/me/clips/a.mp4',
    'cameras.cam3.url': '/dev/video0',
    'cameras.cam4.url': 'http://b/2',
    // For the configuration to refuse.
    'cameras.cam5.url': '10.0.0.7/live',
  });
  expect(cameraFlags(undefined, '/')).toEqual({});
});

test('config show tells them, where each value is from, and no password', async () => {
  const words = ['--set', 'cameras.gate.url=rtsp://me:hidden1@gate/1', 'config', 'show'];
  const { out } = await runHere(folder, words, { HOME: folder });
  expect(out).toMatch(/^ {4}url: "rtsp:\/\/\[redacted\]@gate\/1" +# flag\n {4}enabled: true +# default$/m);
});

test.each<[string[], RegExp]>([
  [['serve', '--camera', '10.0.0.7:554/live'], /cameras\.cam1\.url has .*begins with its scheme/],
  [['serve', '--camera', 'rtsp://a/1', '--camera', 'pipe:0'], /cameras\.cam2\.url has .*begins with one of/],
  [['demo', '--camera', 'a.mp4', '--camera', 'b.mp4'], /one clip/],
])('%j is refused', async (words, message) => {
  expect(await runHere(folder, words, { HOME: folder })).toMatchObject({ err: expect.stringMatching(message) });
});
