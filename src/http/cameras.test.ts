import { once } from 'node:events';
import { get as httpGet, request as httpRequest, type IncomingMessage } from 'node:http';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CameraApi, holder } from '../../test/support/camera-api.ts';
import { systemClock } from '../base/clock.ts';
import { SightlineError } from '../base/errors.ts';
import { Priority } from '../base/sample.ts';
import { CAMERAS_MAX } from '../config/schema.ts';
import type { NamedOutcome } from '../base/camera-frame.ts';
import type { Still } from '../sources/camera/feed.ts';

let api: CameraApi;

beforeEach(async () => {
  api = await CameraApi.open({
    'cameras.gate.url': 'rtsp://me:hidden1@gate/1?token=hidden2',
    'cameras.yard.url': 'rtsp://yard/1',
  });
});
afterEach(() => api[Symbol.asyncDispose]());

interface Answered {
  readonly status: number;
  readonly code: string | undefined;
  /** The parts that are looked at by themselves. */
  readonly body: {
    readonly cameras: readonly { readonly id: string }[];
    readonly next: string | null;
    readonly added: readonly string[];
    readonly kept: boolean;
    readonly error: { readonly code: string; readonly message: string };
  };
}

async function call(method: string, path: string, body?: unknown, type = 'application/json'): Promise<Answered> {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  const response = await fetch(api.url + path, {
    method,
    ...(body !== undefined && { headers: { 'Content-Type': type }, body: text }),
  });
  const answered = (await response.json()) as Answered['body'] & { readonly error?: { readonly code: string } };
  return { status: response.status, code: answered.error?.code, body: answered };
}

const idsOf = ({ body }: Answered): string[] => body.cameras.map(({ id }) => id);

test('says of each answer whether the next start knows of these cameras', async () => {
  api.lentUrl = '/cache/clip.mp4';
  const kept = async (...request: Parameters<typeof call>) => (await call(...request)).body.kept;
  expect(await kept('PUT', '/api/cameras/demo', { url: api.lentUrl })).toBe(false);
  expect(await kept('PUT', '/api/cameras/demo', { class: 'high' })).toBe(false);
  expect(await kept('PUT', '/api/cameras/north', { url: 'rtsp://north/1' })).toBe(true);
  const rows = [
    { id: 'demo', url: api.lentUrl },
    { id: 'north', url: 'rtsp://north/1' },
  ];
  expect(await kept('POST', '/api/cameras', rows)).toBe(false);
  expect(await kept('POST', '/api/cameras', rows.slice(1))).toBe(true);
  expect(await kept('DELETE', '/api/cameras/demo')).toBe(false);
  expect(await kept('DELETE', '/api/cameras/north')).toBe(true);
});

describe('the list', () => {
  test('has all, and by state and text some, a page at a time', async () => {
    const many = Array.from({ length: 300 }, (_, i) => ({
      id: `c${String(i).padStart(3, '0')}`,
      url: `rtsp://c/${i}`,
    }));
    await call('POST', '/api/cameras', many);
    api.cameras.get('c007')!.state = 'failed';
    api.cameras.get('c070')!.state = 'stalled';
    const first = await call('GET', '/api/cameras');
    expect(first.body).toMatchObject({
      matched: 302,
      total: 302,
      states: { live: 300, failed: 1, stalled: 1, off: 0 },
    });
    expect(idsOf(first)).toHaveLength(200);
    const second = await call('GET', `/api/cameras?after=${first.body.next}`);
    expect([...idsOf(first), ...idsOf(second)]).toEqual([...api.cameras.keys()]);
    expect(second.body.next).toBeNull();
    expect(idsOf(await call('GET', '/api/cameras?state=failed,stalled'))).toEqual(['c007', 'c070']);
    expect(idsOf(await call('GET', '/api/cameras?text=C/29&limit=3'))).toEqual(['c029', 'c290', 'c291']);
    expect((await call('GET', '/api/cameras?text=C/29&limit=3')).body).toMatchObject({ matched: 11, next: 'c291' });
    expect(idsOf(await call('GET', '/api/cameras?text=yard&state=live'))).toEqual(['yard']);
    expect(idsOf(await call('GET', '/api/cameras?text=hidden1'))).toEqual([]);
  });

  test.each([
    'state=best',
    'state=',
    'state=live,',
    'limit=0',
    'limit=1001',
    'limit=x',
    'foo=1',
    `text=${'x'.repeat(201)}`,
  ])('?%s is refused', async (query) =>
    expect(await call('GET', `/api/cameras?${query}`)).toMatchObject({ status: 400, code: 'QUERY_BAD' }),
  );

  test('has those alone that the caller may read', async () => {
    api.principal = holder('read:cameras/gate');
    expect((await call('GET', '/api/cameras')).body).toMatchObject({ cameras: [{ id: 'gate' }], total: 1 });
    expect((await call('GET', '/api/cameras/gate')).status).toBe(200);
    for (const path of ['/api/cameras/yard', '/cameras/yard/still.jpg', '/api/cameras/yard/events']) {
      expect(await call('GET', path)).toMatchObject({ status: 403, code: 'PERMISSION_DENIED' });
    }
    api.principal = holder('read:metrics');
    expect(await call('GET', '/api/cameras')).toMatchObject({ code: 'PERMISSION_DENIED' });
  });
});

test('one camera, with its settings and without what is secret in them', async () => {
  const { body } = await call('GET', '/api/cameras/gate');
  expect(body).toMatchObject({
    id: 'gate',
    state: 'live',
    settings: { url: 'rtsp://[redacted]@gate/1?token=[redacted]', enabled: true, pipelines: ['objects'], pace: 'live' },
  });
  expect(JSON.stringify(body)).not.toMatch(/hidden\d/);
});

describe('a camera', () => {
  test('is added, changed and removed', async () => {
    const added = await call('PUT', '/api/cameras/north.1', { url: 'rtsp://me:hidden1@north/1', class: 'high' });
    expect(added.body).toMatchObject({
      change: 'added',
      kept: true,
      camera: { id: 'north.1', class: 'high', settings: { class: 'high', transport: 'tcp' } },
    });
    expect(JSON.stringify(added.body)).not.toMatch(/hidden\d/);
    // Whoever changes it need not know the address, and what it does not say is the default again.
    const changed = await call('PUT', '/api/cameras/north.1', { transport: 'udp' });
    expect(changed.body).toMatchObject({
      change: 'changed',
      camera: { settings: { class: 'normal', transport: 'udp' } },
    });
    expect(api.coordinator.config.cameras['north.1']!.url).toBe('rtsp://me:hidden1@north/1');
    expect((await call('PUT', '/api/cameras/north.1', { transport: 'udp' })).body).toMatchObject({
      change: 'unchanged',
    });
    api.isKept = false;
    expect((await call('DELETE', '/api/cameras/north.1')).body).toEqual({ id: 'north.1', kept: false });
    expect(await call('DELETE', '/api/cameras/north.1')).toMatchObject({ status: 404, code: 'CAMERA_UNKNOWN' });
    // One of the file too.
    expect((await call('DELETE', '/api/cameras/gate')).status).toBe(200);
    expect(api.ids).toEqual(['yard']);
  });

  test('keeps its masks unless they are named', async () => {
    const masks = ['0,0 0.5,0 0.5,0.5'];
    const masksNow = () => api.coordinator.config.cameras['north.1']!.masks;
    const added = await call('PUT', '/api/cameras/north.1', { url: 'rtsp://north/1', masks: ['0 0 .5 0 .5 .5'] });
    expect(added.body).toMatchObject({ camera: { masked: true, settings: { masks } } });
    await call('PUT', '/api/cameras/north.1', { class: 'low' });
    expect(masksNow()).toEqual(masks);
    await call('POST', '/api/cameras', [{ id: 'north.1', url: 'rtsp://north/2' }]);
    expect(masksNow()).toEqual(masks);
    expect((await call('PUT', '/api/cameras/north.1', { masks: [] })).body).toMatchObject({
      camera: { masked: false },
    });
    expect(masksNow()).toEqual([]);
    await call('DELETE', '/api/cameras/north.1');
  });

  test.each<[unknown, string, RegExp]>([
    [{ url: 'rtsp://x/1', masks: ['0,0 0.5,0 0.5,0.5', '0,0 1,1'] }, 'BODY_BAD', /body\.masks\.1: a polygon has 3/],
    [{}, 'BODY_BAD', /a new camera needs an address/],
    [{ url: 'ftp://me:hidden1@x/1' }, 'BODY_BAD', /body\.url: an address begins with one of/],
    [{ url: 'me:hidden1@10.0.0.1:554/1' }, 'BODY_BAD', /body\.url/],
    [{ url: 'rtsp://[redacted]@x/1' }, 'BODY_BAD', /not shown/],
    [{ url: '' }, 'BODY_BAD', /body\.url/],
    [{ url: 7 }, 'BODY_BAD', /body\.url/],
    [{ url: `rtsp://x/${'x'.repeat(2_000)}` }, 'BODY_BAD', /body\.url/],
    [{ url: 'rtsp://x/1', class: 'best' }, 'BODY_BAD', /body\.class/],
    [{ url: 'rtsp://x/1', pipelines: ['faces'] }, 'BODY_BAD', /body\.pipelines/],
    [{ url: 'rtsp://x/1', pipelines: ['hands', 'hands'] }, 'BODY_BAD', /twice/],
    [{ url: 'rtsp://x/1', password: 'hidden1' }, 'BODY_BAD', /"password" is unknown/],
    ['{"__proto__":{"url":"rtsp://x/1"}}', 'BODY_BAD', /__proto__/],
    [[], 'BODY_BAD', /body/],
    ['null', 'BODY_BAD', /body/],
    [undefined, 'BODY_BAD', /no body/],
  ])('%j is refused and changes nothing', async (body, code, message) => {
    const answered = await call('PUT', '/api/cameras/new', body);
    expect(answered).toMatchObject({ status: 400, code });
    expect(answered.body.error.message).toMatch(message);
    expect(JSON.stringify(answered.body)).not.toMatch(/hidden\d/);
    expect(api.ids).toEqual(['gate', 'yard']);
  });

  test('has a name that is no path, whatever is asked', async () => {
    const names = [
      '..',
      '.',
      '%2e%2e',
      '..%2f..%2fetc',
      'a%2fb',
      'a..b',
      '%00',
      'a%00',
      '__proto__',
      'constructor',
      'none',
      'A',
      '%20',
      'é',
      '%F0%9F%98%80',
      '-a',
      'a.url',
      'n'.repeat(65),
      'n'.repeat(190),
    ];
    for (const name of names) {
      // By hand: `fetch` would walk up the path itself.
      const ask = async (method: string, path: string, body?: string): Promise<[number, string | undefined]> => {
        const request = httpRequest(api.url, {
          method,
          path,
          ...(body !== undefined && { headers: { 'Content-Type': 'application/json' } }),
        });
        request.end(body);
        const [response] = (await once(request, 'response')) as [IncomingMessage];
        let text = '';
        for await (const chunk of response) text += chunk;
        return [response.statusCode!, (JSON.parse(text) as { error?: { code: string } }).error?.code];
      };
      const put = await ask('PUT', `/api/cameras/${encodeURI(name).replaceAll('%25', '%')}`, '{"url":"rtsp://x/1"}');
      expect([name, ...put]).toEqual([name, expect.any(Number), expect.stringMatching(/^(QUERY_BAD|NOT_FOUND)$/)]);
      for (const path of ['/api/cameras/X', '/cameras/X/still.jpg', '/api/cameras/X/events']) {
        const got = await ask('GET', path.replace('X', encodeURI(name).replaceAll('%25', '%')));
        expect([name, ...got]).toEqual([name, 404, expect.stringMatching(/^(CAMERA_UNKNOWN|NOT_FOUND)$/)]);
      }
      expect(await ask('DELETE', `/api/cameras/${encodeURI(name).replaceAll('%25', '%')}`)).toEqual([
        404,
        expect.any(String),
      ]);
    }
    expect(await call('PUT', `/api/cameras/${'n'.repeat(5_000)}`, { url: 'a' })).toMatchObject({ status: 400 });
    expect((await fetch(`${api.url}/api/cameras/%E0%A4%A`)).status).toBe(400);
    expect(api.ids).toEqual(['gate', 'yard']);
  });

  test('may be changed by who may do so', async () => {
    api.principal = holder('admin:cameras/gate', 'read:cameras/#');
    const body = { url: 'rtsp://x/1' };
    expect((await call('PUT', '/api/cameras/gate', body)).status).toBe(200);
    expect(await call('PUT', '/api/cameras/yard', body)).toMatchObject({ status: 403 });
    expect(await call('DELETE', '/api/cameras/yard')).toMatchObject({ status: 403 });
    expect((await call('POST', '/api/cameras', [{ id: 'gate', ...body }])).status).toBe(200);
    expect(
      await call('POST', '/api/cameras', [
        { id: 'gate', ...body },
        { id: 'yard', ...body },
      ]),
    ).toMatchObject({ status: 403 });
    expect(await call('POST', '/api/cameras/test', body)).toMatchObject({ status: 403 });
    // Class critical goes before what others have.
    expect(await call('PUT', '/api/cameras/gate', { ...body, class: 'critical' })).toMatchObject({ status: 403 });
    expect(await call('POST', '/api/cameras', 'id,url,class\ngate,rtsp://x/1,critical\n', 'text/csv')).toMatchObject({
      status: 403,
    });
    api.principal = holder('admin:cameras/#', 'publish:priority/critical');
    expect((await call('PUT', '/api/cameras/gate', { ...body, class: 'critical' })).status).toBe(200);
  });
});

describe('many cameras', () => {
  test('come as a list or as a table, and say what became of each', async () => {
    const list = [
      { id: 'gate', url: 'rtsp://gate/2' },
      { id: 'yard', url: 'rtsp://yard/1' },
      { id: 'roof', url: 'rtsp://roof/1', class: 'low' },
    ];
    const answered = await call('POST', '/api/cameras', list);
    expect(answered.body).toEqual({ added: ['roof'], changed: ['gate'], unchanged: ['yard'], kept: true });
    const table = '\uFEFFid;url;class\r\nroof;rtsp://roof/1;low\r\n"door";"rtsp://door/1";\r\n';
    const again = await call('POST', '/api/cameras', table, 'text/csv; charset=utf-8');
    expect(again.body).toEqual({ added: ['door'], changed: [], unchanged: ['roof'], kept: true });
    expect(api.ids).toEqual(['door', 'gate', 'roof', 'yard']);
  });

  test('as many as there may be', async () => {
    const lines = Array.from(
      { length: CAMERAS_MAX - 2 },
      (_, i) => `c${i},rtsp://user:password@camera-${i}.example.org:554/Streaming/Channels/101`,
    );
    expect((await call('POST', '/api/cameras', `id,url\n${lines.join('\n')}`, 'text/csv')).body.added).toHaveLength(
      CAMERAS_MAX - 2,
    );
    expect(await call('PUT', '/api/cameras/more', { url: 'a' })).toMatchObject({
      status: 400,
      code: 'CONFIG_VALUE_BAD',
    });
    expect(await call('POST', '/api/cameras', 'id,url\nmore,a', 'text/csv')).toMatchObject({
      code: 'CONFIG_VALUE_BAD',
    });
    expect(api.ids).toHaveLength(CAMERAS_MAX);
  });

  test.each<[string, unknown, string, number, string, RegExp]>([
    ['no list', {}, 'application/json', 400, 'BODY_BAD', /body/],
    ['no camera', [], 'application/json', 400, 'BODY_BAD', /no camera/],
    ['no address', [{ id: 'a' }], 'application/json', 400, 'BODY_BAD', /body\.0\.url/],
    ['no id', [{ url: 'a' }], 'application/json', 400, 'BODY_BAD', /body\.0\.id/],
    [
      'a bad id',
      [
        { id: 'a', url: 'a' },
        { id: '../b', url: 'b' },
      ],
      'application/json',
      400,
      'BODY_BAD',
      /body\.1\.id: a name has/,
    ],
    [
      'an id twice',
      [
        { id: 'a', url: 'a' },
        { id: 'a', url: 'b' },
      ],
      'application/json',
      400,
      'BODY_BAD',
      /body\.1\.id: a is in it twice/,
    ],
    [
      'too many',
      Array.from({ length: CAMERAS_MAX + 1 }, () => ({ id: 'a', url: 'a' })),
      'application/json',
      400,
      'BODY_BAD',
      /more than 1000/,
    ],
    ['a wrong column', 'id,url,clas\na,b,c', 'text/csv', 400, 'BODY_BAD', /line 1, column 3/],
    [
      'a wrong cell',
      'id,url,class\na,rtsp://a/1,low\nb,rtsp://me:hidden1@b/1,best',
      'text/csv',
      400,
      'BODY_BAD',
      /line 3, column class/,
    ],
    ['an empty table', '', 'text/csv', 400, 'BODY_BAD', /empty/],
    ['too large', 'x'.repeat(1_048_577), 'text/csv', 413, 'BODY_TOO_LARGE', /1048576/],
    ['text', 'id,url\na,b', 'text/plain', 415, 'BODY_TYPE_BAD', /application\/json/],
  ])('%s: all or none', async (_what, body, type, status, code, message) => {
    const answered = await call('POST', '/api/cameras', body, type);
    expect(answered).toMatchObject({ status, code });
    expect(answered.body.error.message).toMatch(message);
    expect(JSON.stringify(answered.body)).not.toMatch(/hidden\d/);
    expect(api.ids).toEqual(['gate', 'yard']);
  });

  test('a table that is not UTF-8, and one where none is taken', async () => {
    const latin = new Uint8Array([...new TextEncoder().encode('id,url\na,rtsp://x/'), 0xe9]);
    const response = await fetch(`${api.url}/api/cameras`, {
      method: 'POST',
      headers: { 'Content-Type': 'text/csv' },
      body: latin,
    });
    expect(await response.json()).toMatchObject({
      error: { code: 'BODY_BAD', message: expect.stringContaining('UTF-8') },
    });
    expect(await call('PUT', '/api/cameras/gate', 'url\na', 'text/csv')).toMatchObject({
      status: 415,
      code: 'BODY_TYPE_BAD',
    });
  });
});

describe('the test of an address', () => {
  const facts = {
    format: 'rtsp',
    codec: 'h264',
    codecString: 'avc1.64001f',
    width: 768,
    height: 432,
    clock: 'camera',
  } as const;

  test('says what is there', async () => {
    const still: Still = {
      frame: { camera: '', epoch: 1, seq: 0 },
      captureTimeMs: 0,
      clock: 'camera',
      width: 640,
      height: 360,
      boxes: 'none',
      jpeg: new Uint8Array([0xff, 0xd8]),
    };
    api.found = {
      reason: null,
      stream: facts,
      firstFrameMs: 120,
      rates: { fps: 12.5, bitsPerS: 800_000 },
      still,
      tookMs: 1_500,
    };
    const { body } = await call('POST', '/api/cameras/test', { url: 'rtsp://me:hidden1@x/1', transport: 'udp' });
    expect(body).toEqual({
      ok: true,
      reason: null,
      stream: { format: 'rtsp', codec: 'h264', codec_string: 'avc1.64001f', width: 768, height: 432, clock: 'camera' },
      first_frame_ms: 120,
      rates: { received_fps: 12.5, received_bits_per_s: 800_000 },
      still: { width: 640, height: 360, jpeg: '/9g=' },
      took_ms: 1_500,
    });
    expect(api.tested).toMatchObject([
      { url: 'rtsp://me:hidden1@x/1', transport: 'udp', isEnabled: true, pipelines: [] },
    ]);
    expect(api.ids).toEqual(['gate', 'yard']);
  });

  test('says why nothing is there, which is no error of the request', async () => {
    const reason = { code: 'CAMERA_NO_PICTURE', message: 'no frame came' } as const;
    api.found = { reason, stream: null, firstFrameMs: null, rates: null, still: null, tookMs: 10_000 };
    const answered = await call('POST', '/api/cameras/test', { url: 'rtsp://x/1' });
    expect(answered).toMatchObject({ status: 200, body: { ok: false, reason } });
    api.found = new SightlineError('CAMERA_TESTS_BUSY', 'two are tested');
    expect(await call('POST', '/api/cameras/test', { url: 'rtsp://x/1' })).toMatchObject({ status: 429 });
    for (const body of [{}, { url: 'gopher://me:hidden1@x' }, { url: 'rtsp://x/1', class: 'low' }]) {
      expect(await call('POST', '/api/cameras/test', body)).toMatchObject({ status: 400, code: 'BODY_BAD' });
    }
    expect(api.tested).toHaveLength(2);
  });
});

describe('a still', () => {
  const fetchStill = (query = '', headers: Record<string, string> = {}) =>
    fetch(`${api.url}/cameras/gate/still.jpg${query}`, { headers });

  test('says which frame it is, and comes once', async () => {
    const first = await fetchStill('?width=320');
    expect(first.status).toBe(200);
    expect(first.headers.get('content-type')).toBe('image/jpeg');
    expect(new Uint8Array(await first.arrayBuffer())).toEqual(new Uint8Array([0xff, 0xd8, 0xff, 0xd9]));
    expect(first.headers.get('sightline-frame')).toBe('gate/1700000000000/7');
    expect(Math.abs(Number(first.headers.get('sightline-capture-time')) - Date.now())).toBeLessThan(60_000);
    expect(first.headers.get('sightline-capture-clock')).toBe('arrival');
    expect(first.headers.get('cache-control')).toContain('private');
    const etag = first.headers.get('etag')!;
    for (const tag of [etag, `W/${etag}`, `"x", ${etag}`, '*']) {
      const again = await fetchStill('?width=320', { 'If-None-Match': tag });
      expect([again.status, await again.text(), again.headers.get('etag')]).toEqual([304, '', etag]);
    }
    api.cameras.get('gate')!.seq++;
    expect((await fetchStill('?width=320', { 'If-None-Match': etag })).status).toBe(200);
    api.cameras.get('gate')!.seq--;
    expect((await fetchStill('?width=336', { 'If-None-Match': etag })).status).toBe(200);
    expect((await fetch(`${api.url}/cameras/gate/still.jpg`, { method: 'HEAD' })).status).toBe(200);
    expect(first.headers.get('sightline-boxes')).toBe(null);
    const drawn = await fetchStill('?width=320&channel=annotated', { 'If-None-Match': etag });
    expect([drawn.status, drawn.headers.get('sightline-boxes')]).toEqual([200, 'own']);
  });

  test('that there is not, or that is asked for wrongly', async () => {
    api.cameras.get('gate')!.state = 'connecting';
    expect(await call('GET', '/cameras/gate/still.jpg')).toMatchObject({ status: 503, code: 'CAMERA_NO_PICTURE' });
    for (const query of [
      '?channel=transcoded',
      '?width=0',
      '?width=15',
      '?width=9000',
      '?width=1.5',
      '?width=x',
      '?height=3',
      '?width=1&width=2',
    ]) {
      expect(await call('GET', `/cameras/gate/still.jpg${query}`)).toMatchObject({ status: 400, code: 'QUERY_BAD' });
    }
    expect(await call('GET', '/cameras/nobody/still.jpg')).toMatchObject({ status: 404, code: 'CAMERA_UNKNOWN' });
  });
});

test('events: the state at the beginning and when it changes, results with the names of their frames', async () => {
  const request = httpGet(`${api.url}/api/cameras/gate/events`);
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  let text = '';
  response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  const events = () =>
    text
      .split('\n\n')
      .map(
        (block) =>
          Object.fromEntries(block.split('\n').map((line) => line.split(/: (.*)/s, 2))) as Record<string, string>,
      )
      .filter(({ event }) => event !== undefined)
      .map(({ id, event, data }) => ({
        hasId: id !== undefined,
        event,
        data: JSON.parse(data!) as Record<string, unknown>,
      }));
  await expect.poll(() => events().length).toBe(1);
  const camera = api.cameras.get('gate')!;
  camera.become('stalled');
  await expect.poll(() => events().length).toBe(2);
  const frame = { camera: 'gate', epoch: 5, seq: 3 };
  const publish = (outcome: NamedOutcome['outcome']) =>
    camera.results.publish({
      data: { frame, clock: 'camera', pipeline: 'objects', outcome },
      seq: camera.results.head,
      captureTimeMs: systemClock.now(),
      priority: Priority.normal,
      deadlineMs: Infinity,
    });
  publish({
    kind: 'result',
    width: 320,
    height: 180,
    result: { pipeline: 'objects', detections: [] },
    receivedTimeMs: 0,
    startedTimeMs: 0,
    stagesMs: { decode: 1, preprocess: 1, inference: 1, postprocess: 1 },
  });
  publish({ kind: 'dropped', cause: 'superseded' });
  publish({ kind: 'error', code: 'INFERENCE_FAILED', message: 'no' });
  await expect.poll(() => events().length).toBe(5);
  const common = {
    camera: 'gate',
    epoch: 5,
    seq: 3,
    clock: 'camera',
    pipeline: 'objects',
    capture_time: expect.any(Number),
  };
  expect(events()).toMatchObject([
    { hasId: false, event: 'state', data: { camera: 'gate', state: 'live', since: 1_000, reason: null } },
    { hasId: false, event: 'state', data: { camera: 'gate', state: 'stalled' } },
    { hasId: true, event: 'result', data: { ...common, outcome: 'result', width: 320, detections: [] } },
    { hasId: true, event: 'result', data: { ...common, outcome: 'dropped', cause: 'superseded' } },
    { hasId: true, event: 'result', data: { ...common, outcome: 'error', code: 'INFERENCE_FAILED' } },
  ]);
  expect(camera.watching).toBe(1);
  request.destroy();
  await expect.poll(() => camera.watching).toBe(0);
  expect(await call('GET', '/api/cameras/nobody/events')).toMatchObject({ status: 404, code: 'CAMERA_UNKNOWN' });
});
