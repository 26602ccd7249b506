import { once } from 'node:events';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { inflateSync } from 'node:zlib';
import { afterEach, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { unbalanced, type AccountsDocument } from '../bench/fences/accounts.ts';
import {
  barsOf,
  figuresOf,
  punishments,
  tableOf,
  type Case,
  type Limits,
  type Seen,
} from '../bench/fences/analysis.ts';
import { ATTACKS, attackNamed } from '../bench/fences/attacks/catalogue.ts';
import {
  Codec,
  constantColumns,
  craftBatch,
  messagesBody,
  packedLists,
  Packing,
  readdressed,
  schemaOf,
} from '../bench/fences/batches.ts';
import { boundedMb, residentMbMax } from '../bench/fences/bounds.ts';
import { timesOf } from '../bench/fences/innocents.ts';
import { flatJpeg, progressiveJpeg } from '../bench/fences/jpegs.ts';
import { chargedBytes, publishedBoundBytes } from '../bench/fences/ledger.ts';
import { openSink } from '../bench/fences/sink.ts';
import { Target } from '../bench/fences/target.ts';
import { frame, frameHead, Opcode, Wire } from '../bench/fences/wire.ts';
import { loadConfig } from '../src/config/load.ts';
import { decodeJpeg, readJpegHeader } from '../src/media/jpeg.ts';
import { decodeBatch, decodeColumns } from '../src/protocol/batch.ts';
import { decompressLz4 } from '../src/protocol/lz4.ts';
import type { SchemaField } from '../src/protocol/telemetry.ts';

const open: { close(): void }[] = [];
afterEach(() => {
  for (const one of open.splice(0).toReversed()) one.close();
});

async function listening(server: Server): Promise<number> {
  open.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

// ── Figures and bars ─────────────────────────────────────────────────────────────────────────────────────────────────────

const seen = (more: Partial<Seen> = {}): Seen => ({
  camera: {
    shown: 300,
    sent: 300,
    results: 300,
    held: { rate: 0, window: 0, buffer: 0, not_open: 0 },
    dropped: {},
    ms: { p50: 10, p95: 20, p99: 30, max: 40 },
    faults: [],
  },
  reader: {
    published: 6_000,
    received: 6_000,
    lost: 0,
    wrong: 0,
    ms: { p50: 1, p95: 2, p99: 3, max: 4 },
    faults: [],
  },
  health: { asked: 300, failed: 0, failures: {}, ms: { p50: 2, p95: 3, p99: 4, max: 5 } },
  tally: { connections: 1, refused: 0, cut: 0, bytes: 8e6 },
  residentPeakMb: 400,
  mainCores: 0.1,
  otherCores: 0.2,
  ...more,
});
const kept: Case = {
  name: 'clock_flood',
  control: seen(),
  attacked: seen(),
  workersLost: 0,
  unbalanced: [],
  afterwards: [],
  memoryLeftMb: 3,
  chargedBytes: undefined,
  settledS: 60,
  healthAfter: undefined,
  stopMs: 200,
  ended: undefined,
};
const limits: Limits = { longestRunMs: 500, residentMbMax: 900, stopMsMax: 6_000 };
const shortOf = (one: Case): string[] => barsOf(figuresOf(one), limits).flatMap(({ name, ok }) => (ok ? [] : [name]));

describe('figures and bars of an attack', () => {
  test('nobody noticed anything: every bar is kept', () => {
    expect(shortOf(kept)).toEqual([]);
    expect(barsOf(figuresOf(kept), limits)).toHaveLength(14);
  });

  test.each<[string, Partial<Case>, string[]]>([
    ['fewer results', { attacked: seen({ camera: { ...seen().camera, results: 284 } }) }, ['camera_share']],
    [
      'later results',
      { attacked: seen({ camera: { ...seen().camera, ms: { p50: 10, p95: 521, p99: 600, max: 600 } } }) },
      ['camera_p95_over_ms'],
    ],
    ['a lost message', { attacked: seen({ reader: { ...seen().reader, lost: 1 } }) }, ['reader_lost']],
    ['a wrong number', { attacked: seen({ reader: { ...seen().reader, wrong: 1 } }) }, ['reader_lost']],
    [
      'later messages',
      { attacked: seen({ reader: { ...seen().reader, ms: { p50: 1, p95: 2, p99: 23.1, max: 30 } } }) },
      ['reader_p99_over_ms'],
    ],
    [
      'no answer of /health',
      { attacked: seen({ health: { ...seen().health, failed: 1, failures: { ECONNRESET: 1 } } }) },
      ['health_failed'],
    ],
    [
      'late answers of /health',
      { attacked: seen({ health: { ...seen().health, ms: { p50: 2, p95: 3, p99: 55, max: 60 } } }) },
      ['health_p99_over_ms'],
    ],
    ['too much memory', { attacked: seen({ residentPeakMb: 901 }) }, ['resident_peak_mb']],
    ['memory that stays', { memoryLeftMb: 51 }, ['memory_left_mb']],
    ['charges that stay', { chargedBytes: 1 }, ['charged_bytes']],
    ['a server that answers nobody any more', { healthAfter: 'ECONNRESET' }, ['health_after_failed']],
    ['a lost worker', { workersLost: 1 }, ['workers_lost']],
    [
      'an innocent that was muted',
      { attacked: seen({ reader: { ...seen().reader, faults: ['reader: mute'] } }) },
      ['punished'],
    ],
    ['a name that is banned', { afterwards: ['rover7 itself: banned'] }, ['punished']],
    ['books that do not balance', { unbalanced: ['session a: received 2, accounted for 1'] }, ['unbalanced']],
    ['a server that tells nothing', { unbalanced: undefined, workersLost: Number.NaN }, ['workers_lost', 'unbalanced']],
    ['a server that ended', { ended: 'was ended by SIGABRT', stopMs: Number.NaN }, ['ended', 'stop_ms']],
    ['a server that does not stop', { stopMs: 6_001 }, ['stop_ms']],
  ])('%s', (_, change, short) => {
    expect(shortOf({ ...kept, ...change })).toEqual(short);
  });

  test('without a result on either side nothing is promised', () => {
    const none = seen({ camera: { ...seen().camera, results: 0, ms: timesOf([]) } });
    expect(shortOf({ ...kept, control: none, attacked: none })).toEqual(['camera_share', 'camera_p95_over_ms']);
  });

  test('a ledger at zero is one more bar', () => {
    const bars = barsOf(figuresOf({ ...kept, chargedBytes: 0 }), limits);
    expect(bars).toHaveLength(15);
    expect(bars.every(({ ok }) => ok)).toBe(true);
  });

  test('what was done to innocents is told in words', () => {
    const attacked = seen({ camera: { ...seen().camera, faults: ['camera: closed'] } });
    expect(punishments({ ...kept, attacked, afterwards: ['banned'] })).toEqual(['camera: closed', 'banned']);
  });

  test('the table shows both sides, the bar, and whether it is kept', () => {
    const figures = figuresOf({ ...kept, attacked: seen({ camera: { ...seen().camera, results: 30 } }) });
    const lines = tableOf('clock_flood: asks', figures, barsOf(figures, limits), ['a remark']).split('\n');
    expect(lines[0]).toBe('clock_flood: asks');
    expect(lines).toHaveLength(17);
    const camera = lines.find((line) => line.includes('camera_share'))!;
    expect(camera.split(/ +/).filter((word) => word !== '')).toEqual([
      'camera_share',
      '300',
      '30',
      '0.1',
      '0.95',
      'SHORT',
    ]);
    expect(lines.find((line) => line.includes('workers_lost'))).toMatch(/0 +0 +kept$/);
    expect(lines.at(-1)).toBe('  a remark');
  });
});

describe('the sum of bounds', () => {
  test('follows the configuration', () => {
    const config = loadConfig({ env: {} });
    const bounded = boundedMb(config, 2);
    expect(bounded).toBeCloseTo(256 + 16 + 2 * 128);
    expect(residentMbMax(bounded)).toBeCloseTo(1.5 * bounded + 100);
  });
});

describe('the ledger', () => {
  const document = {
    ledger: {
      bounded_bytes: 1_000,
      clients: [
        { client_id: 'attacker-1', bytes: 5 },
        { client_id: 'attacker-2', bytes: 7 },
        { client_id: 'innocent-camera', bytes: 11 },
      ],
    },
  };
  test('is summed over the clients that are asked for', () => {
    expect(chargedBytes(document, 'attacker-')).toBe(12);
    expect(chargedBytes(document, 'nobody')).toBe(0);
    expect(publishedBoundBytes(document)).toBe(1_000);
  });
  test.each([[undefined], [{}], [{ ledger: {} }]])('may be missing: %j', (document) => {
    expect(chargedBytes(document, 'attacker-')).toBeUndefined();
    expect(publishedBoundBytes(document)).toBeUndefined();
  });
});

describe('accounts', () => {
  const frames = {
    received: 10,
    results: 4,
    errors: 1,
    dropped: { expired: 2, stale: 1 },
    queued: 1,
    in_flight: 1,
    unsent: 0,
  };
  const messages = { published: 9, delivered: 5, conflated: 1, dropped: { overflow: 1 }, expired: 1, queued: 1 };
  const viewer = { client_id: 'f', published: 4, delivered: 1, lost: 1, expired: 1, queued: 1 };
  const document = (): AccountsDocument => ({
    sessions: [{ client_id: 'a', accounts: frames, pipelines: [{ pipeline: 'objects', accounts: frames }] }],
    telemetry: {
      sessions: [{ client_id: 'b', accounts: messages }],
      topics: [{ stats: { topic: 't' }, accounts: messages }],
    },
    foxglove: [viewer],
  });

  test('balance', () => expect(unbalanced(document())).toEqual([]));

  test('each that does not is named', () => {
    const whole = document();
    const wrong: AccountsDocument = {
      sessions: [{ ...whole.sessions[0]!, accounts: { ...frames, received: 11 } }],
      telemetry: {
        sessions: [{ client_id: 'b', accounts: { ...messages, queued: 0 } }],
        topics: [{ stats: { topic: 't' }, accounts: { ...messages, dropped: {} } }],
      },
      foxglove: [{ ...viewer, lost: 0 }],
    };
    expect(unbalanced(wrong)).toEqual([
      'session a: received 11, accounted for 10',
      'client b: published 9, accounted for 8',
      'topic t: published 9, accounted for 8',
      'viewer f: published 4, accounted for 3',
    ]);
  });
});

// ── Attacks ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

describe('the catalogue', () => {
  test('has names of figures, each once, and a sentence for each', () => {
    const names = ATTACKS.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    for (const { name, what } of ATTACKS) {
      expect(name).toMatch(/^[a-z0-9]+(_[a-z0-9]+)*$/);
      expect(what.length, name).toBeGreaterThan(20);
      expect(attackNamed(name).what).toBe(what);
    }
    expect(() => attackNamed('none')).toThrow(RangeError);
  });
});

describe('crafted pictures are sound', () => {
  test.each([
    ['baseline', flatJpeg({ width: 64, height: 32 })],
    ['one pass', progressiveJpeg({ width: 64, height: 32 }, 1)],
    ['every bit of every coefficient', progressiveJpeg({ width: 64, height: 32 }, 882)],
    ['over and over', progressiveJpeg({ width: 64, height: 32 }, 900)],
  ])('%s', (_, jpeg) => {
    expect(readJpegHeader(jpeg)).toMatchObject({ width: 64, height: 32 });
    const pixels = new Uint8Array(64 * 32 * 3);
    decodeJpeg(jpeg, pixels);
    expect(new Set(pixels)).toEqual(new Set([128]));
  });

  test('a large one weighs little', () => {
    const size = { width: 8_192, height: 4_096 };
    const jpeg = progressiveJpeg(size, 630);
    expect(readJpegHeader(jpeg)).toMatchObject(size);
    expect(jpeg.length).toBeLessThan(110_000);
  });
});

describe('crafted batches are what they say', () => {
  const decompressors = {
    lz4: decompressLz4,
    zlib: (packed: Uint8Array, plainSize: number) => inflateSync(packed, { maxOutputLength: plainSize }),
  };

  test('messages', () => {
    const payloads = ['1', '[2]'].map((text) => Buffer.from(text));
    const batch = craftBatch({
      codec: Codec.json,
      sections: [{ alias: 7, count: 2, firstSeq: 3 }],
      body: messagesBody(payloads),
    });
    const { envelope, messages } = decodeBatch(batch, () => undefined, {});
    expect(envelope.sections).toEqual([{ topicId: 7, epoch: 0, firstSeq: 3, count: 2 }]);
    expect(messages.map(({ payload }) => payload.value())).toEqual([1, [2]]);
  });

  test.each([
    ['lz4', Packing.lz4, 40_000],
    ['zlib', Packing.zlib, 9_000],
  ] as const)('lists in %s: small as they come, 8 MB where they are unpacked', (_, packing, bytesMax) => {
    const batch = packedLists(packing, 1);
    expect(batch.length).toBeLessThan(bytesMax);
    const { envelope, messages } = decodeBatch(readdressed(batch, 5), () => undefined, decompressors);
    expect(envelope.plainSize).toBeGreaterThan(7_900_000);
    expect(envelope.sections[0]!.topicId).toBe(5);
    expect((messages[0]!.payload.value() as unknown[]).length).toBeGreaterThan(300_000);
  });

  test('constant columns', () => {
    const { fields } = JSON.parse(schemaOf(1, 3)) as { fields: SchemaField[] };
    const batch = constantColumns(2, 1, 3, 4);
    const { columns } = decodeColumns(batch, () => fields, {});
    expect(columns.objects()).toEqual(Array.from({ length: 4 }, () => ({ f0: 1, f1: 1, f2: 1 })));
  });
});

// ── Bytes ────────────────────────────────────────────────────────────────────────────────────────────────────────────────

describe('frames of a client', () => {
  test.each([
    [5, [0x81, 0x85]],
    [125, [0x81, 0xfd]],
    [126, [0x81, 0xfe, 0, 126]],
    [65_535, [0x81, 0xfe, 0xff, 0xff]],
    [65_536, [0x81, 0xff, 0, 0, 0, 0, 0, 1, 0, 0]],
  ])('of %d bytes', (length, head) => {
    expect([...frameHead(Opcode.text, length)]).toEqual([...head, 0, 0, 0, 0]);
  });

  test('a fragment has no end', () => {
    expect([...frame(Opcode.continuation, 'ab', false)]).toEqual([0, 0x82, 0, 0, 0, 0, 97, 98]);
  });
});

describe('the sink', () => {
  test('a WebSocket client is taken and welcomed; what it sends is discarded', async () => {
    const port = await listening(openSink());
    const socket = new WebSocket(`ws://127.0.0.1:${port}/ws/telemetry`, ['sightline.v1.json']);
    const [data] = (await once(socket, 'message')) as [Buffer];
    expect(JSON.parse(data.toString())).toMatchObject({ type: 'welcome', token: expect.any(String) });
    expect(socket.protocol).toBe('sightline.v1.json');
    socket.send('x'.repeat(100_000));
    socket.terminate();
    await once(socket, 'close');
  });

  test('a request is answered; an event stream begins', async () => {
    const port = await listening(openSink());
    const response = await fetch(`http://127.0.0.1:${port}/health`);
    expect(await response.json()).toEqual({});
    const events = await fetch(`http://127.0.0.1:${port}/stream/events/a?token=b`);
    expect(events.headers.get('content-type')).toBe('text/event-stream');
    await events.body!.cancel();
  });
});

describe('a wire', () => {
  test('shakes hands, gets the welcome, and leaves unread what it does not want', async () => {
    const port = await listening(openSink());
    const wire = await Wire.open({ port, reads: false });
    open.push({ close: () => wire.destroy() });
    expect(await wire.upgrade('/ws/video')).toBe(true);
    expect(JSON.parse((await wire.firstText())!)).toMatchObject({ type: 'welcome' });
    expect(wire.isOpen).toBe(true);
  });

  test('a refused handshake is none', async () => {
    const server = createServer((socket) => socket.end('HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n'));
    const wire = await Wire.open({ port: await listening(server) });
    expect(await wire.upgrade('/nothing')).toBe(false);
    wire.destroy();
  });

  test('has room as long as the other side takes what is sent, and the time is not over', async () => {
    const taken: Socket[] = [];
    const port = await listening(createServer({ pauseOnConnect: true }, (socket) => taken.push(socket)));
    open.push({ close: () => taken.forEach((socket) => socket.destroy()) });
    const wire = await Wire.open({ port });
    open.push({ close: () => wire.destroy() });
    let sent = 0;
    // More than any socket buffers by itself.
    while ((await wire.hasRoom(performance.now() + 50)) && sent < 1_000) {
      wire.write(Buffer.alloc(1_000_000));
      sent += 1;
    }
    expect(sent).toBeLessThan(1_000);
    expect(wire.inFlightBytes).toBeGreaterThan(0);
  });
});

describe('a target', () => {
  test('counts what was made, refused, cut and sent', async () => {
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.once('data', () => socket.destroy());
    });
    const target = new Target({ port: await listening(server), from: undefined }, performance.now() + 250);
    await target.insist(
      () => target.connect(),
      async (wire) => wire.write('word'),
    );
    target.close();
    const { connections, cut, refused, bytes } = target.tally;
    expect(connections).toBeGreaterThan(0);
    expect(cut).toBeGreaterThan(0);
    expect(cut).toBeLessThanOrEqual(connections);
    expect(refused).toBe(0);
    expect(bytes).toBe(4 * connections);
  });

  test('where nobody listens everything is refused', async () => {
    const server = createServer();
    const port = await listening(server);
    server.close();
    await once(server, 'close');
    open.length = 0;
    const target = new Target({ port, from: undefined }, performance.now() + 100);
    expect(await target.connect()).toBeUndefined();
    expect(target.tally).toEqual({ connections: 0, refused: 1, cut: 0, bytes: 0 });
  });
});
