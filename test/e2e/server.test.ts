import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { decodeJpeg, encodeJpeg, readJpegHeader } from '../../src/media/jpeg.ts';
import { orientationOfExif, turnUpright } from '../../src/media/orient.ts';
import type { HealthDocument } from '../../src/observe/metrics.ts';
import { encodeFrame } from '../../src/protocol/video-codec.ts';
import type { ResultMessage, ServerMessage } from '../../src/protocol/video.ts';
import type { VideoSessionReport } from '../../src/observe/metrics.ts';
import { exifOf, withBytesBefore, withSegment } from '../support/jpegs.ts';
import { photograph } from '../support/pictures.ts';
import { ALL_WORKERS, ServerProcess } from '../support/server-process.ts';
import { SocketClient } from '../support/socket-client.ts';

/** A frame that a busy machine leaves out as too late is not what these tests are about. */
const PATIENT = ['serve', '--set', 'performance.target_latency_ms=30000'];

let car: Uint8Array;
let server: ServerProcess;

beforeAll(async () => {
  car = await photograph('car2.jpg');
  server = await ServerProcess.start(PATIENT, ALL_WORKERS);
});
afterAll(() => server?.stop());

async function sessions(): Promise<VideoSessionReport[]> {
  return (await server.json<{ sessions: VideoSessionReport[] }>('/api/performance/metrics')).sessions;
}

function expectBalanced({ accounts }: VideoSessionReport): void {
  const { received, results, errors, dropped, queued, in_flight, unsent } = accounts;
  const lost = Object.values(dropped).reduce((sum, n) => sum + n, 0);
  expect(received).toBe(results + errors + lost + queued + in_flight + unsent);
}

/** Nothing is wrong with the server itself; that the machine may be slow is not this test's business. */
function expectWell({ issues }: HealthDocument): void {
  const ofTheMachine = ['LATENCY_HIGH', 'EVENT_LOOP_SLOW', 'MEMORY_HIGH'];
  expect(issues.filter(({ code }) => !ofTheMachine.includes(code))).toEqual([]);
}

/** The car fills the middle of the photograph. */
function expectCar(result: ResultMessage): void {
  const found = result.detections.find(({ label }) => label === 'Car' || label === 'Vehicle')!;
  expect(found).toBeDefined();
  expect(found.score).toBeGreaterThan(0.4);
  expect(found.box.x).toBeLessThan(0.25);
  expect(found.box.x + found.box.width).toBeGreaterThan(0.8);
}

describe('the server as a process', () => {
  test('ten lines of plain ws get results for bare JPEGs', async () => {
    const results: ResultMessage[] = [];
    const ws = new WebSocket(server.ws('/ws/video?pipeline=objects'));
    ws.on('open', () => ws.send(car));
    ws.on('message', (data) => {
      const message = JSON.parse(String(data)) as ServerMessage;
      if (message.type !== 'result') return;
      results.push(message);
      if (results.length < 3) ws.send(car);
      else ws.close();
    });
    await once(ws, 'close');
    expect(results.map((result) => result.seq)).toEqual([1, 2, 3]);
    for (const result of results) {
      expectCar(result);
      expect(result).toMatchObject({ pipeline: 'objects', width: 1500, height: 938 });
      const { total, ...parts } = result.stages_ms;
      expect(parts.inference).toBeGreaterThan(0);
      expect(total).toBeGreaterThanOrEqual(Object.values(parts).reduce((sum, ms) => sum + ms, 0) - 0.01);
    }
  });

  test('the detection API has the same lane under its own name, in MessagePack too', async () => {
    const client = await SocketClient.open(server.ws('/stream/detection?format=msgpack&confidence=0.3'));
    client.send({ type: 'frame', seq: 5, image_data: Buffer.from(car).toString('base64') });
    await client.until(() => client.of('result').length === 1);
    expectCar(client.of('result')[0]!);
    await client.close();
  });

  test('the boxes of a JPEG that lies on its side are those of the picture as its EXIF turns it', async () => {
    const { width, height } = readJpegHeader(car);
    const upright = decodeJpeg(car, new Uint8Array(width * height * 3));
    const lying = new Uint8Array(upright.data.length);
    turnUpright(upright.data, width, height, orientationOfExif(8), lying);
    const jpeg = encodeJpeg({ data: lying, width: height, height: width }, 95);
    const client = await SocketClient.open(server.ws('/ws/video?confidence=0.3'));
    client.send(withSegment(jpeg, 0xe1, exifOf(6)));
    client.send(withBytesBefore(car, 0xd9, [1, 2, 3]));
    client.send(car.subarray(0, car.length >> 1));
    await client.until(() => client.of('result').length === 2 && client.of('error').length === 1);
    for (const result of client.of('result')) {
      expectCar(result);
      expect(result).toMatchObject({ width, height });
    }
    expect(client.of('error')).toMatchObject([{ code: 'FRAME_TRUNCATED', seq: 3 }]);
    await client.close();
  });

  test('health names the model and what runs it', async () => {
    const health = await server.json<HealthDocument>('/health');
    expectWell(health);
    expect(health.models).toMatchObject([
      { id: 'ssd-oidv4', providers: { effective: 'cpu' }, licence: { spdx: 'Apache-2.0' } },
    ]);
  });

  test('a JPEG that only the decoder can find broken is its frame’s error; the next one is processed', async () => {
    const client = await SocketClient.open(server.ws('/ws/video?client_id=broken'));
    const broken = Uint8Array.from(car);
    // Inside the compressed data: a marker that has no business there.
    const middle = Math.floor(broken.length / 2);
    broken.set([0xff, 0xc4, 0x00, 0x03, 0xff], middle);
    const header = broken.slice(0, 700);
    client.send(broken);
    client.send(Uint8Array.from([...header, 0xff, 0xd9]));
    client.send(car);
    await client.until(() => client.answers().length === 3);
    expect(client.answers().at(-1)).toBe('3:result');
    expectWell(await server.json<HealthDocument>('/health'));
    for (const session of await sessions()) expectBalanced(session);
    await client.close();
  });

  test('server-sent events carry a session’s results to its owner only, and resume', async () => {
    const client = await SocketClient.open(server.ws('/ws/video?client_id=watched'));
    const url = `${server.url}/stream/events/watched`;
    expect((await fetch(url)).status).toBe(401);
    expect((await fetch(`${server.url}/stream/events/nobody`)).status).toBe(404);

    const abort = new AbortController();
    const headers = { Authorization: `Bearer ${client.welcome.token}` };
    const response = await fetch(url, { headers, signal: abort.signal });
    expect(response.headers.get('content-type')).toContain('text/event-stream');
    client.send(car);
    const event = await readUntil(response, /^event: result$/m);
    const data = JSON.parse(/^data: (.*)$/m.exec(event)![1]!) as ResultMessage;
    expectCar(data);
    abort.abort();

    client.send(car);
    await client.until(() => client.of('result').length === 2);
    const id = /^id: (\S+)$/m.exec(event)![1]!;
    const again = await fetch(`${url}?token=${client.welcome.token}`, { headers: { 'Last-Event-ID': id } });
    expect(await readUntil(again, /^event: result$/m)).toContain('"seq":2');
    await again.body?.cancel();
    await client.close();
  });

  test('an unknown model is refused by name; one that is not here says how to get it; a path opens no file', async () => {
    for (const [model, code] of [
      ['nonsense', 'MODEL_UNKNOWN'],
      ['hand-lite', 'MODEL_UNSUPPORTED'],
      ['/etc/passwd', 'MODEL_UNKNOWN'],
    ] as const) {
      const client = await SocketClient.open(server.ws(`/ws/video?model=${encodeURIComponent(model)}`));
      await client.until(() => client.closed !== undefined);
      expect(client.answers()).toEqual([`-:${code}`]);
    }
  });

  test('eight clients that ignore their window: every frame is answered, results rise, the accounts balance', async () => {
    const clients = await Promise.all(
      Array.from({ length: 8 }, (_, i) => SocketClient.open(server.ws(`/ws/video?client_id=load${i}`))),
    );
    const FRAMES = 30;
    for (let seq = 1; seq <= FRAMES; seq++) {
      for (const client of clients) client.send(encodeFrame({ seq, captureTimeMs: Date.now(), jpeg: car }));
    }
    await Promise.all(clients.map((client) => client.until(() => client.answers().length === FRAMES)));
    for (const client of clients) {
      expect(new Set(client.answers().map((answer) => answer.split(':')[0])).size).toBe(FRAMES);
      const seqs = client.of('result').map((result) => result.seq);
      expect(seqs).toEqual(seqs.toSorted((a, b) => a - b));
    }
    expect(clients.flatMap((client) => client.of('result')).length).toBeGreaterThan(0);
    // Who had none of the few that were in time has not been forgotten.
    for (const client of clients) {
      for (let seq = FRAMES + 1; !client.of('result').some((result) => result.seq > FRAMES); seq++) {
        client.send(encodeFrame({ seq, captureTimeMs: Date.now(), jpeg: car }));
        await client.until(() => client.answers().length === seq);
      }
    }
    for (const session of await sessions()) expectBalanced(session);
    await Promise.all(clients.map((client) => client.close()));
  });

  test('a client that vanishes mid-frame harms nobody; what it had sent whole is accounted for', async () => {
    const client = await SocketClient.open(server.ws('/ws/video?client_id=vanishes'));
    client.send(car);
    await client.until(() => client.of('result').length === 1);
    const { socket } = client as unknown as { socket: { _socket: { write(data: Uint8Array): void; destroy(): void } } };
    // The first bytes of a WebSocket frame that promises 60,000 bytes, then silence.
    socket._socket.write(Uint8Array.of(0x82, 0xfe, 0xea, 0x60, 1, 2, 3, 4, 0xff, 0xd8));
    socket._socket.destroy();
    await client.until(() => client.closed !== undefined);
    const other = await SocketClient.open(server.ws('/ws/video'));
    other.send(car);
    await other.until(() => other.of('result').length === 1);
    await other.close();
    const vanished = async () => (await sessions()).find(({ client_id }) => client_id === 'vanishes')!;
    await expect.poll(vanished).toMatchObject({
      connected: false,
      refused_messages: 0,
      accounts: { received: 1, results: 1, errors: 0, queued: 0, in_flight: 0, unsent: 0 },
    });
    expectBalanced(await vanished());
  });

  test('on SIGTERM it tells its clients and ends well', async () => {
    await using own = await ServerProcess.start(PATIENT);
    const client = await SocketClient.open(own.ws('/ws/video'));
    client.send(car);
    await client.until(() => client.of('result').length === 1);
    const code = await own.stop('SIGTERM');
    // `close` of its pipes may come after its end.
    await expect.poll(() => own.err, { timeout: 10_000 }).toContain('server_stopped');
    const told = own.err
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { event: string });
    expect(told.map(({ event }) => event)).toEqual(['shutdown_started', 'server_stopped']);
    await client.until(() => client.closed !== undefined);
    expect(code).toBe(0);
    expect(client.closed).toBe(1001);
    expect(client.answers().at(-1)).toBe('-:SHUTTING_DOWN');
  });

  test('a thread that is in native code does not hold up a server that has stopped', async () => {
    const lingering = new URL('../support/lingering-thread.ts', import.meta.url).href;
    await using own = await ServerProcess.start(['serve'], { NODE_OPTIONS: `--import ${lingering}` });
    expect(await own.stop('SIGTERM')).toBe(0);
    await expect.poll(() => own.err, { timeout: 10_000 }).toContain('server_stopped');
    expect(own.err).not.toContain('shutdown_forced');
  });

  test('on SIGTERM it ends in time, by the signal itself, when a worker is stuck in native code', async () => {
    const stuck = new URL('../support/stuck-worker.ts', import.meta.url).href;
    await using own = await ServerProcess.start([...PATIENT, '--set', 'server.shutdown_timeout_ms=100'], {
      NODE_OPTIONS: `--import ${stuck}`,
    });
    const client = await SocketClient.open(own.ws('/ws/video'));
    client.send(car);
    const inFlight = async () => {
      const { sessions: all } = await own.json<{ sessions: VideoSessionReport[] }>('/api/performance/metrics');
      return all[0]?.accounts.in_flight;
    };
    await expect.poll(inFlight, { timeout: 10_000 }).toBe(1);
    expect(await own.stop('SIGTERM')).toBeNull();
    expect(own.child.signalCode).toBe('SIGTERM');
    await expect.poll(() => own.err, { timeout: 10_000 }).toContain('shutdown_forced');
    const told = own.err.trimEnd().split('\n');
    expect(JSON.parse(told.at(-1)!)).toMatchObject({ event: 'shutdown_forced', step: 'engine', after_ms: 900 });
  });
});

/** Reads a stream of events until one block matches. */
async function readUntil(response: Response, pattern: RegExp): Promise<string> {
  let text = '';
  const decoder = new TextDecoder();
  const reader = response.body!.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) throw new Error(`the stream ended before ${pattern}`);
    text += decoder.decode(value, { stream: true });
    const block = text
      .split('\n\n')
      .slice(0, -1)
      .find((part) => pattern.test(part));
    if (block !== undefined) {
      reader.releaseLock();
      return block;
    }
  }
}
