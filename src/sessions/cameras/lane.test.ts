import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { WebSocketServer } from 'ws';
import { ANYONE } from '../../../test/support/access.ts';
import { CamerasClient } from '../../../test/support/cameras-client.ts';
import { expectFiguresBalanced, sumsOf } from '../../../test/support/figure-accounts.ts';
import { fragmentOf, numberedVideo, type NumberedVideo } from '../../../test/support/numbered-video.ts';
import { FOUND, ScriptedCameras } from '../../../test/support/scripted-feeds.ts';
import { parseGrant } from '../../auth/grants.ts';
import { Principal } from '../../auth/principal.ts';
import { ManualClock } from '../../base/clock.ts';
import { SightlineError } from '../../base/errors.ts';
import { seededRandom } from '../../base/random.ts';
import { openFences } from '../../fences/fences.ts';
import { FigureRegistry } from '../../observe/figures.ts';
import { Hub } from '../../stream/hub.ts';
import { camerasLanePart } from './figures.ts';
import { CamerasLane, type CamerasLaneOptions } from './lane.ts';

const SETTINGS: CamerasLaneOptions['settings'] = {
  messageBytesMax: 10_000,
  viewsMax: 8,
  sendBufferBytesMax: 256 * 1024,
  flightMsMax: 500,
  idleTimeoutMs: 300_000,
  pingIntervalMs: 20_000,
  pongTimeoutMs: 10_000,
  sessionsMax: 5,
};
const FRAME_MS = 40;
const KEY_EVERY = 10;
const RING = 100;

/** The lane behind a real WebSocket server, with cameras that do as the test says. */
class Bench {
  readonly clock = new ManualClock();
  readonly fences = openFences({ clock: this.clock });
  readonly hub = new Hub({ clock: this.clock, random: seededRandom(3), streamsMax: 100 });
  readonly cameras: ScriptedCameras;
  readonly lane: CamerasLane;
  readonly figures: FigureRegistry<object>;
  readonly server: Server = createServer();
  readonly sockets = new WebSocketServer({ server: this.server, maxPayload: 2 ** 20 });
  principal = ANYONE;
  /** Times of results. */
  readonly encoded: number[] = [];
  readonly transmitted: number[] = [];

  constructor(video: NumberedVideo) {
    this.cameras = new ScriptedCameras({ hub: this.hub, clock: this.clock, video, capacity: RING });
    this.lane = new CamerasLane({
      feeds: this.cameras,
      clock: this.clock,
      fences: this.fences,
      observer: { encoded: (ms) => this.encoded.push(ms), transmitted: (ms) => this.transmitted.push(ms) },
      settings: SETTINGS,
    });
    this.figures = new FigureRegistry({}, [camerasLanePart(this.lane)]);
  }

  async start(): Promise<void> {
    this.sockets.on('connection', (socket, request) => {
      const query = new URL(request.url!, 'http://x').searchParams;
      void this.lane.open(socket, { query, address: request.socket.remoteAddress, principal: this.principal });
    });
    this.server.listen(0, '127.0.0.1');
    await once(this.server, 'listening');
  }

  url(query = ''): string {
    return `ws://127.0.0.1:${(this.server.address() as AddressInfo).port}/${query}`;
  }

  /** Frames of a camera at its pace. After each, everybody who reads has it. */
  async play(camera: string, count: number, readers: readonly CamerasClient[]): Promise<void> {
    for (let i = 0; i < count; i++) {
      this.clock.advance(FRAME_MS);
      this.cameras.get(camera).play();
      for (const reader of readers) await reader.settled();
      await new Promise(setImmediate);
      expectFiguresBalanced(this.figures.read());
    }
  }

  figure(name: string, labels = {}): number {
    return sumsOf(this.figures.read(), labels).get(name)!;
  }

  stop(): void {
    this.lane.close();
    const readings = this.figures.read();
    expectFiguresBalanced(readings);
    expect(sumsOf(readings).get('sightline_camera_views_queued')).toBe(0);
    expect(sumsOf(readings).get('sightline_camera_views')).toBe(0);
    expect(this.cameras.listeners).toBe(0);
    for (const camera of this.cameras.all()) {
      expect([camera.watching, camera.transcoding, camera.annotating]).toEqual([0, 0, 0]);
      expect(camera.stateListeners).toBe(0);
      expect([...camera.raw.readers, ...camera.transcoded.readers, ...camera.results.readers]).toEqual([]);
    }
    for (const account of this.fences.memory.accounts) expect(account.bytes('session')).toBe(0);
    for (const socket of this.sockets.clients) socket.terminate();
    this.sockets.close();
    this.server.close();
    this.hub.close();
  }
}

let video: NumberedVideo;
let bench: Bench;
beforeAll(async () => {
  video = await numberedVideo({ frames: 40, keyEvery: KEY_EVERY, height: 80 });
});
beforeEach(async () => {
  bench = new Bench(video);
  await bench.start();
});
afterEach(() => bench.stop());

const range = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, i) => `0:${from + i}${(from + i) % KEY_EVERY === 0 ? 'k' : ''}`);

describe('a view', () => {
  test('begins with the state, then has every fragment with its name and times', async () => {
    const north = bench.cameras.add('north');
    const client = await CamerasClient.open(bench.url());
    expect(client.of('welcome')[0]).toMatchObject({
      protocol: 1,
      client_id: expect.stringMatching(/^cameras-/),
      server_time: bench.clock.now(),
      limits: { views_max: 8, message_bytes_max: 10_000, budget_ms_min: 100, budget_ms_max: 60_000 },
    });
    client.view(7, 'north', ['raw', 'state']);
    await client.settled();
    expect(client.of('opened')).toMatchObject([
      { id: 7, camera: 'north', channels: ['raw', 'state'], budget_ms: 1_000, state: 'live', reason: null },
    ]);
    expect(client.of('opened')[0]!.stream).toMatchObject({ codec_string: video.track.codecString, width: 320 });
    await bench.play('north', 25, [client]);
    expect(client.names(7)).toEqual(range(0, 25));
    expect(client.of('init')).toMatchObject([
      { id: 7, epoch: north.next.epoch, codecString: video.track.codecString, width: 320, height: 80 },
    ]);
    expect(Buffer.compare(client.of('init')[0]!.bytes, video.track.init)).toBe(0);
    for (const [i, fragment] of client.of('fragment').entries()) {
      const atS = client.of('fragment')[i]!.mediaTimeS;
      expect(atS).toBeCloseTo(i * 0.04);
      expect(Buffer.compare(fragment.bytes, fragmentOf(video, i, atS, 0.04))).toBe(0);
      expect(fragment.durationS).toBeCloseTo(0.04);
    }
    expect(client.of('fragment').at(-1)!.captureTimeMs).toBe(bench.clock.now() - 5);
    expect(client.of('gap')).toEqual([]);
    expect(bench.figure('sightline_camera_views_delivered_total', { channel: 'raw' })).toBe(25);
    // What was decoded and put together is smaller than what was handed on.
    expect(bench.figure('sightline_camera_views_sent_bytes_total')).toBeGreaterThan(25 * 36);
  });

  test('of a latecomer begins with the newest key frame that is kept', async () => {
    bench.cameras.add('north').play(37);
    const client = await CamerasClient.open(bench.url());
    client.view(1, 'north');
    await client.until(() => client.of('fragment').length === 7);
    expect(client.names(1)).toEqual(range(30, 37));
    expect(client.of('gap')).toEqual([]);
  });

  test('where no key frame is kept it waits for one', async () => {
    const north = bench.cameras.add('north');
    north.play(5);
    north.raw.trim(5);
    const client = await CamerasClient.open(bench.url());
    client.view(1, 'north');
    await client.settled();
    await bench.play('north', 8, [client]);
    expect(client.names(1)).toEqual(range(10, 13));
    expect(bench.figure('sightline_camera_views_skipped_total', { cause: 'no_key' })).toBe(5);
  });

  test('goes on when its camera has reconnected: a new initialisation, then fragments of the new epoch', async () => {
    const north = bench.cameras.add('north');
    const client = await CamerasClient.open(bench.url());
    client.view(1, 'north');
    await client.settled();
    await bench.play('north', 3, [client]);
    north.reconnect();
    await bench.play('north', 3, [client]);
    expect(client.names(1)).toEqual(['0:0k', '0:1', '0:2', '1:0k', '1:1', '1:2']);
    const kinds = client.messages.map(({ type }) => type).filter((type) => type === 'init' || type === 'fragment');
    expect(kinds).toEqual(['init', 'fragment', 'fragment', 'fragment', 'init', 'fragment', 'fragment', 'fragment']);
    expect(client.of('gap')).toEqual([]);
  });

  test('is told of frames that did not come as far as the server, and goes on at a key frame', async () => {
    const north = bench.cameras.add('north');
    const client = await CamerasClient.open(bench.url());
    client.view(1, 'north');
    await client.settled();
    await bench.play('north', 3, [client]);
    north.lose(4);
    await bench.play('north', 5, [client]);
    expect(client.names(1)).toEqual([...range(0, 3), ...range(10, 12)]);
    const { epoch } = north.next;
    expect(client.of('gap')).toMatchObject([
      { id: 1, channel: 'raw', from: { epoch, seq: 3 }, to: { epoch, seq: 10 }, count: 7, cause: 'source' },
    ]);
  });

  test('of frames that are encoded anew is told so, goes on behind those that are missing, and keeps their accounts', async () => {
    const north = bench.cameras.add('north');
    const client = await CamerasClient.open(bench.url());
    client.view(1, 'north');
    client.view(2, 'north', ['raw'], { transcode: true });
    await client.settled();
    expect(client.of('opened').map(({ transcode }) => transcode)).toEqual([false, true]);
    expect([north.watching, north.transcoding]).toEqual([1, 1]);
    await bench.play('north', 3, [client]);
    north.lose(4);
    await bench.play('north', 5, [client]);
    expect(client.of('init').map(({ id, isTranscoded }) => [id, isTranscoded])).toEqual([
      [1, false],
      [2, true],
    ]);
    expect(client.names(1)).toEqual([...range(0, 3), ...range(10, 12)]);
    // Frames that were not encoded hold up no others.
    expect(client.names(2)).toEqual([...range(0, 3), ...range(7, 12)]);
    const { epoch } = north.next;
    expect(client.of('gap', 2)).toMatchObject([
      { channel: 'raw', from: { epoch, seq: 3 }, to: { epoch, seq: 7 }, count: 4, cause: 'source' },
    ]);
    expect(bench.figure('sightline_camera_raw_channels', { form: 'own' })).toBe(1);
    expect(bench.figure('sightline_camera_raw_channels', { form: 'transcoded' })).toBe(1);
  });

  test('that asks for a camera too many to be encoded anew is refused, and leaves nothing behind', async () => {
    const [north, south] = [bench.cameras.add('north'), bench.cameras.add('south')];
    const client = await CamerasClient.open(bench.url());
    client.view(1, 'north', ['raw'], { transcode: true });
    south.mayTranscode = false;
    client.view(2, 'south', ['raw', 'results'], { transcode: true });
    // Without that channel there is nothing to be encoded.
    client.view(3, 'south', ['results'], { transcode: true });
    await client.settled();
    expect(client.of('error')).toMatchObject([{ id: 2, code: 'TRANSCODE_LIMIT_REACHED' }]);
    expect(client.of('opened').map(({ id }) => id)).toEqual([1, 3]);
    expect([...south.transcoded.readers]).toEqual([]);
    expect(bench.lane.views).toBe(2);
    client.send({ type: 'close', id: 1 });
    await client.settled();
    // It lingers, until another one needs the place.
    expect(north.transcoding).toBe(1);
    south.mayTranscode = true;
    client.view(2, 'south', ['raw'], { transcode: true });
    await client.settled();
    expect([north.transcoding, south.transcoding]).toEqual([0, 1]);
  });

  test('of frames that are encoded anew ends where that fails, with the reason; others go on', async () => {
    const north = bench.cameras.add('north');
    const client = await CamerasClient.open(bench.url());
    client.view(1, 'north');
    client.view(2, 'north', ['raw'], { transcode: true });
    client.view(3, 'north', ['results'], { transcode: true });
    await client.settled();
    await bench.play('north', 2, [client]);
    north.failTranscode();
    await bench.play('north', 2, [client]);
    expect(client.of('closed')).toEqual([
      { type: 'closed', id: 2, code: 'TRANSCODE_FAILED', message: 'the encoder fails' },
    ]);
    expect([client.names(1), client.names(2)]).toEqual([range(0, 4), range(0, 2)]);
    expect([bench.lane.views, north.transcoding]).toEqual([2, 0]);
    // Asked for once more it begins anew.
    client.view(2, 'north', ['raw'], { transcode: true });
    await client.settled();
    expect(north.transcoding).toBe(1);
  });

  test('of frames with results drawn on them says what is drawn, and ends where that fails', async () => {
    const [north, south] = [bench.cameras.add('north'), bench.cameras.add('south')];
    const client = await CamerasClient.open(bench.url());
    south.mayAnnotate = false;
    client.view(1, 'north', ['annotated', 'results']);
    client.view(2, 'north');
    client.view(3, 'south', ['annotated']);
    client.view(4, 'north', ['raw', 'annotated']);
    await client.settled();
    expect(client.of('error').map(({ id, code }) => [id, code])).toEqual([
      [3, 'ANNOTATE_LIMIT_REACHED'],
      [4, 'MESSAGE_FIELD_BAD'],
    ]);
    for (const boxes of ['none', 'own', 'predicted'] as const) {
      north.boxes = boxes;
      await bench.play('north', 1, [client]);
    }
    north.lose(2);
    await bench.play('north', 1, [client]);
    expect(client.of('fragment', 1).map(({ boxes }) => boxes)).toEqual(['none', 'own', 'predicted', 'predicted']);
    expect(client.of('fragment', 2).map(({ boxes }) => boxes)).toEqual(['none', 'none', 'none']);
    expect(client.of('init', 1)).toMatchObject([{ isTranscoded: true }]);
    expect(client.of('gap', 1)).toMatchObject([{ channel: 'annotated', count: 2, cause: 'source' }]);
    expect(bench.figure('sightline_camera_raw_channels', { form: 'annotated' })).toBe(1);
    expect(bench.figure('sightline_camera_views_delivered_total', { channel: 'annotated' })).toBe(4);
    // Who may see the camera with its masks may see this, too.
    bench.cameras.mask('north');
    north.failAnnotate();
    await client.settled();
    expect(client.of('closed')).toMatchObject([{ id: 1, code: 'ANNOTATE_FAILED' }]);
  });

  test('has outcomes by the names of their frames, before fragments', async () => {
    const north = bench.cameras.add('north');
    const client = await CamerasClient.open(bench.url());
    client.view(1, 'north', ['raw', 'results']);
    await client.settled();
    north.play(3);
    north.find(0, FOUND);
    north.find(1, { kind: 'dropped', cause: 'superseded' });
    north.find(2, { kind: 'error', code: 'INFERENCE_FAILED', message: 'no' });
    await client.until(() => client.of('fragment').length === 3 && client.of('result').length === 3);
    const { epoch } = north.next;
    const common = { id: 1, epoch, clock: 'arrival', capture_time: bench.clock.now() - 5, pipeline: 'objects' };
    expect(client.of('result')).toMatchObject([
      { ...common, seq: 0, outcome: 'result', width: 320, detections: [{ label: 'car', class_id: 2, score: 0.5 }] },
      { ...common, seq: 1, outcome: 'dropped', cause: 'superseded' },
      { ...common, seq: 2, outcome: 'error', code: 'INFERENCE_FAILED', message: 'no' },
    ]);
    expect(client.of('result')[0]).not.toHaveProperty('client_id');
    const order = client.messages.map(({ type }) => type).filter((type) => type === 'result' || type === 'fragment');
    expect(order).toEqual(['result', 'result', 'result', 'fragment', 'fragment', 'fragment']);
    // Of those that are results.
    await expect.poll(() => [bench.encoded.length, bench.transmitted.length]).toEqual([1, 1]);
  });

  test('is told of changes of the state, the newest of those that come at once', async () => {
    const north = bench.cameras.add('north');
    const client = await CamerasClient.open(bench.url());
    client.view(1, 'north', ['state']);
    client.view(2, 'north', ['raw']);
    await client.settled();
    north.become('stalled');
    north.become('backing_off');
    await client.settled();
    north.become('live');
    await client.settled();
    expect(client.of('state').map(({ id, state }) => [id, state])).toEqual([
      [1, 'backing_off'],
      [1, 'live'],
    ]);
  });

  test('whose delivery was held up does not keep what its client says waiting, such as that fragments have arrived', async () => {
    const north = bench.cameras.add('north');
    const client = await CamerasClient.open(bench.url());
    client.view(1, 'north', ['state']);
    await client.settled();
    const report = north.report.bind(north);
    // The machine has something else to do for a while, just as the session delivers.
    north.report = () => {
      bench.clock.advance(1_500);
      return report();
    };
    north.become('stalled');
    await client.until(() => client.of('state').length === 1);
    // The clock stands still from here on: whoever has to wait for a turn waits for ever.
    await client.settled();
    expect(bench.fences.turns.waiting).toBe(0);
  });

  test('ends when it is closed, and its number is free', async () => {
    const north = bench.cameras.add('north');
    const client = await CamerasClient.open(bench.url());
    client.view(1, 'north');
    await client.settled();
    await bench.play('north', 2, [client]);
    client.send({ type: 'close', id: 1 });
    await client.settled();
    expect(client.of('closed')).toEqual([{ type: 'closed', id: 1 }]);
    await bench.play('north', 2, [client]);
    expect(client.of('fragment')).toHaveLength(2);
    client.view(1, 'north');
    await client.until(() => client.of('fragment').length === 6);
    expect(client.names(1).slice(2)).toEqual(range(0, 4));
    expect(north.watched).toBe(1);
  });

  test('ends when its camera is removed; the others go on', async () => {
    bench.cameras.add('north');
    bench.cameras.add('south');
    const client = await CamerasClient.open(bench.url());
    client.view(1, 'north');
    client.view(2, 'south');
    client.view(3, 'north', ['state']);
    await client.settled();
    bench.cameras.remove('north');
    await client.settled();
    expect(client.of('closed').map(({ id, code }) => [id, code])).toEqual([
      [1, 'CAMERA_UNKNOWN'],
      [3, 'CAMERA_UNKNOWN'],
    ]);
    await bench.play('south', 1, [client]);
    expect(client.of('fragment', 2)).toHaveLength(1);
    // Another camera of this name is another one.
    bench.cameras.add('north').play(1);
    client.view(1, 'north');
    await client.until(() => client.of('fragment', 1).length === 1);
  });
});

describe('a client that reads slowly', () => {
  test('skips to a key frame, is told so, and holds up nobody', async () => {
    const north = bench.cameras.add('north');
    bench.cameras.add('south');
    const [slow, fast] = [await CamerasClient.open(bench.url()), await CamerasClient.open(bench.url())];
    slow.view(1, 'north');
    fast.view(1, 'north');
    await slow.settled();
    await fast.settled();
    await bench.play('north', 5, [slow, fast]);
    slow.socket.pause();
    await bench.play('north', 60, [fast]);
    // More than half a second is never on its way, and more than a second never waits.
    const before = slow.of('fragment').length;
    slow.socket.resume();
    await bench.play('north', 20, [fast, slow]);
    expect(fast.names(1)).toEqual(range(0, 85));
    expect(fast.of('gap')).toEqual([]);
    expect(before).toBe(5);
    const gaps = slow.of('gap');
    expect(gaps).toMatchObject([{ id: 1, channel: 'raw', cause: 'behind' }]);
    const [{ from, to, count } = gaps[0]!] = gaps;
    const { epoch } = north.next;
    expect(from).toEqual({ epoch, seq: expect.any(Number) });
    // Half a second of frames was on its way, and one frame with the mark that was the last one.
    expect(from.seq).toBeGreaterThanOrEqual(5 + 12);
    expect(from.seq).toBeLessThanOrEqual(5 + 15);
    expect(to.seq).toBe(60);
    expect(count).toBe(to.seq - from.seq);
    expect(slow.names(1)).toEqual([...range(0, from.seq), ...range(60, 85)]);
    expect(bench.figure('sightline_camera_views_skipped_total', { channel: 'raw', cause: 'behind' })).toBe(count);
    expect(bench.figure('sightline_camera_view_gaps_total', { cause: 'behind' })).toBe(1);
  });

  test('that had more to wait for than the server keeps is told of that', async () => {
    bench.cameras.add('north');
    const slow = await CamerasClient.open(bench.url());
    slow.view(1, 'north', ['raw'], { budget_ms: 60_000 });
    await slow.settled();
    slow.socket.pause();
    await bench.play('north', RING + 60, []);
    slow.socket.resume();
    await slow.until(() => slow.of('fragment').at(-1)?.seq === RING + 59);
    expect(slow.of('gap')).toMatchObject([{ channel: 'raw', cause: 'overflow', to: { seq: 60 } }]);
    expect(slow.names(1).slice(slow.of('fragment').findIndex(({ seq }) => seq === 60))).toEqual(range(60, RING + 60));
  });

  test('gets outcomes all the same as far as the socket takes them, and the newest of those that waited', async () => {
    const north = bench.cameras.add('north');
    const slow = await CamerasClient.open(bench.url());
    slow.view(1, 'north', ['raw', 'results']);
    await slow.settled();
    slow.socket.pause();
    await bench.play('north', 30, []);
    for (let seq = 0; seq < 30; seq++) north.find(seq, FOUND);
    await new Promise(setImmediate);
    // Fragments wait for the client, outcomes do not.
    expect(bench.figure('sightline_camera_views_delivered_total', { channel: 'results' })).toBe(30);
    expect(bench.figure('sightline_camera_views_delivered_total', { channel: 'raw' })).toBeLessThan(20);
    slow.socket.resume();
    await slow.until(() => slow.of('result').length === 30);
  });

  test('what waits for too long is left out also while nothing can be sent', async () => {
    bench.cameras.add('north');
    const slow = await CamerasClient.open(bench.url());
    slow.view(1, 'north');
    await slow.settled();
    slow.socket.pause();
    await bench.play('north', 50, []);
    await expect
      .poll(() => bench.figure('sightline_camera_views_skipped_total', { channel: 'raw', cause: 'behind' }))
      .toBeGreaterThan(0);
    expectFiguresBalanced(bench.figures.read());
    slow.socket.resume();
    await slow.settled();
  });

  test('who does not answer a ping for long is gone', async () => {
    bench.cameras.add('north');
    const client = await CamerasClient.open(bench.url());
    client.view(1, 'north');
    await client.settled();
    client.socket.pause();
    bench.clock.advance(SETTINGS.pingIntervalMs);
    await expect.poll(() => bench.clock.advance(1_000) ?? bench.lane.connected, { interval: 100 }).toBe(0);
    client.socket.resume();
    await client.until(() => client.closed !== undefined);
    expect(client.closed).toBe(4408);
  });
});

describe('who may what', () => {
  const principal = (...permissions: string[]) =>
    new Principal({ id: 'key:1', name: 'guard', grants: permissions.map(parseGrant) });

  test('is asked for each view', async () => {
    bench.principal = principal('subscribe:cameras/north', 'read:cameras/south');
    bench.cameras.add('north');
    bench.cameras.add('south');
    const client = await CamerasClient.open(bench.url());
    client.view(1, 'north', ['raw', 'results', 'state']);
    client.view(2, 'south', ['raw']);
    client.view(3, 'east', ['state']);
    // Nobody learns whether there is a camera that it may not see.
    client.view(4, 'west', ['raw']);
    client.view(5, '#', ['state']);
    await client.settled();
    expect(client.of('opened').map(({ id }) => id)).toEqual([1, 2]);
    expect(client.of('error').map(({ id, code }) => [id, code])).toEqual(
      [3, 4, 5].map((id) => [id, 'PERMISSION_DENIED']),
    );
  });

  test('the own frames of a camera with masks are for those alone who may see it without', async () => {
    const north = bench.cameras.add('north');
    bench.principal = principal('read:cameras/#', 'subscribe:cameras/#');
    const plain = await CamerasClient.open(bench.url());
    bench.principal = principal('read:cameras/#', 'unmasked:cameras/north');
    const trusted = await CamerasClient.open(bench.url());
    for (const client of [plain, trusted]) {
      client.view(1, 'north', ['raw', 'results']);
      client.view(2, 'north', ['raw'], { transcode: true });
      client.view(3, 'north', ['results', 'state']);
      await client.settled();
    }
    await bench.play('north', 2, [plain, trusted]);
    // What has not gone out yet does not go any more.
    north.play(3);
    bench.cameras.mask('north');
    await bench.play('north', 2, [plain, trusted]);
    expect(plain.of('closed')).toMatchObject([{ id: 1, code: 'CAMERA_MASKED' }]);
    expect([plain.names(1).length, plain.names(2).length]).toEqual([2, 7]);
    expect([trusted.of('closed'), trusted.names(1).length]).toEqual([[], 7]);
    for (const channels of [['raw'], ['raw', 'results', 'state']] as const) {
      plain.view(4, 'north', channels);
      plain.view(5, 'north', channels, { transcode: false });
    }
    trusted.view(4, 'north', ['raw']);
    for (const client of [plain, trusted]) await client.settled();
    expect(plain.of('error').map(({ id, code }) => [id, code])).toEqual(
      [4, 5, 4, 5].map((id) => [id, 'CAMERA_MASKED']),
    );
    expect(trusted.of('error')).toEqual([]);
    bench.cameras.mask('north', false);
    plain.view(4, 'north', ['raw']);
    await plain.settled();
    expect(plain.of('opened', 4)).toHaveLength(1);
  });

  test('views end with the credential', async () => {
    bench.principal = principal('subscribe:cameras/#');
    bench.cameras.add('north');
    const client = await CamerasClient.open(bench.url());
    client.view(1, 'north');
    await client.settled();
    bench.principal.end(new SightlineError('CREDENTIALS_EXPIRED', 'the key has expired'));
    await client.until(() => client.closed !== undefined);
    expect(client.closed).toBe(4401);
    expect(client.of('error')).toMatchObject([{ code: 'CREDENTIALS_EXPIRED' }]);
    expect(bench.lane.views).toBe(0);
  });
});

describe('bad input', () => {
  test('is refused by name, and nothing else is lost', async () => {
    bench.cameras.add('north');
    const client = await CamerasClient.open(bench.url());
    client.view(1, 'north');
    await client.settled();
    const cases: [string | Uint8Array | object, string, number?][] = [
      [{ type: 'open', id: 2, camera: 'nowhere', channels: ['raw'] }, 'CAMERA_UNKNOWN', 2],
      [{ type: 'open', id: 1, camera: 'north', channels: ['raw'] }, 'MESSAGE_FIELD_BAD', 1],
      [{ type: 'open', id: 70_000, camera: 'north', channels: ['raw'] }, 'MESSAGE_FIELD_BAD', 70_000],
      [{ type: 'open', id: 2, camera: 'north', channels: ['sound'] }, 'MESSAGE_FIELD_BAD', 2],
      [{ type: 'open', id: 2, camera: '../north', channels: ['raw'] }, 'CAMERA_UNKNOWN', 2],
      [{ type: 'open', id: '2', camera: 'north', channels: ['raw'] }, 'MESSAGE_FIELD_BAD'],
      [{ type: 'close', id: 9 }, 'SUBSCRIPTION_UNKNOWN', 9],
      [{ type: 'subscribe', id: 3 }, 'MESSAGE_TYPE_UNKNOWN', 3],
      ['{"type":"open","id":4', 'MESSAGE_NOT_JSON', 4],
      ['', 'MESSAGE_NOT_JSON'],
      [Buffer.from('{"type":"close","id":1}'), 'MESSAGE_NOT_JSON'],
      [{ type: 'close', id: 1, pad: 'x'.repeat(20_000) }, 'MESSAGE_TOO_LARGE', 1],
      ['['.repeat(9_000), 'MESSAGE_NOT_JSON'],
    ];
    for (const [message] of cases) client.send(message);
    await client.settled();
    expect(client.of('error').map(({ code, id }) => [code, id])).toEqual(cases.map(([, code, id]) => [code, id]));
    await bench.play('north', 3, [client]);
    expect(client.names(1)).toEqual(range(0, 3));
    expect(client.closed).toBeUndefined();
  });

  test('a query that says something is refused', async () => {
    const client = await CamerasClient.open(bench.url('?camera=north'));
    await client.until(() => client.closed !== undefined);
    expect(client.of('error')).toMatchObject([{ code: 'QUERY_BAD' }]);
    expect(client.closed).toBe(4400);
  });

  test('views beyond the bound of a client, and clients beyond that of the lane', async () => {
    bench.cameras.add('north');
    const client = await CamerasClient.open(bench.url());
    for (let id = 0; id < 70; id++) client.view(id, 'north', ['state']);
    await client.settled();
    expect(client.of('opened')).toHaveLength(SETTINGS.viewsMax);
    expect(new Set(client.of('error').map(({ code }) => code))).toEqual(new Set(['SUBSCRIPTION_LIMIT_REACHED']));
    expect(client.of('error')).toHaveLength(70 - SETTINGS.viewsMax);
    const others = await Promise.all(
      Array.from({ length: SETTINGS.sessionsMax }, () => CamerasClient.open(bench.url())),
    );
    expect(others.map((other) => other.messages[0]!.type).toSorted()).toEqual([
      'error',
      ...others.slice(1).map(() => 'welcome'),
    ]);
  });

  test('views that open and close by the thousand turn no raw channel on and off, and leave nothing behind', async () => {
    const north = bench.cameras.add('north');
    const [client, other] = [await CamerasClient.open(bench.url()), await CamerasClient.open(bench.url())];
    other.view(1, 'north');
    await other.settled();
    for (let i = 0; i < 3_000; i++) {
      client.view(i % 2, 'north', ['raw', 'results', 'state']);
      client.send({ type: 'close', id: i % 2 });
    }
    await bench.play('north', 3, [other]);
    await client.settled();
    expect(other.names(1)).toEqual(range(0, 3));
    expect(client.of('opened')).toHaveLength(3_000);
    expect(client.of('closed')).toHaveLength(3_000);
    expect(north.watched).toBe(1);
    expect(bench.lane.views).toBe(1);
    other.send({ type: 'close', id: 1 });
    await other.settled();
    expect(north.watching).toBe(1);
    bench.clock.advance(2_000);
    await expect.poll(() => north.watching).toBe(0);
  });
});

describe('the lane', () => {
  test('lets nobody in while it drains; open views go on, and end with it', async () => {
    bench.cameras.add('north');
    const client = await CamerasClient.open(bench.url());
    client.view(1, 'north');
    await client.settled();
    bench.lane.drain();
    const late = await CamerasClient.open(bench.url());
    await late.until(() => late.closed !== undefined);
    expect(late.of('error')).toMatchObject([{ code: 'SHUTTING_DOWN', retry_after_ms: expect.any(Number) }]);
    expect(late.closed).toBe(1001);
    await bench.play('north', 2, [client]);
    expect(client.of('fragment')).toHaveLength(2);
    bench.lane.close();
    await client.until(() => client.closed !== undefined);
    expect(client.closed).toBe(1001);
  });

  test('a client without views that says nothing is idle; one that watches is not', async () => {
    bench.cameras.add('north');
    const [idle, busy] = [await CamerasClient.open(bench.url()), await CamerasClient.open(bench.url())];
    busy.view(1, 'north', ['state']);
    await busy.settled();
    // Pings are answered, which is no reason to stay.
    bench.clock.advance(SETTINGS.idleTimeoutMs - 1_000);
    await idle.settled();
    bench.clock.advance(SETTINGS.idleTimeoutMs - 1_000);
    await busy.settled();
    bench.clock.advance(1_000);
    await idle.until(() => idle.closed !== undefined);
    expect(idle.of('error')).toMatchObject([{ code: 'SESSION_IDLE' }]);
    expect(bench.lane.connected).toBe(1);
  });
});
