import { once } from 'node:events';
import { connect, createServer, type AddressInfo } from 'node:net';
import { networkInterfaces } from 'node:os';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import {
  bitsBetween,
  drainLeastMs,
  drainMs,
  joinPassages,
  latencyLine,
  queueLine,
  queueMaxMs,
  rateLine,
  riseMs,
  runFigures,
  steadyFigures,
  utilisation,
  type Run,
  type SentFrame,
} from '../bench/quality/analysis.ts';
import { Capacity, withStalls, type CapacityStep } from '../bench/quality/capacity.ts';
import type { Film, FilmedFrame, Told } from '../bench/quality/film.ts';
import { Namespace } from '../bench/quality/namespaces.ts';
import { MessageScanner, PassageLog, type MessagePlace, type Passage } from '../bench/quality/passages.ts';
import { tracePlots } from '../bench/quality/plots.ts';
import type { LinkPlan, ShaperApi } from '../bench/quality/shaper-process.ts';
import { ShapedPath, type Parcel, type PathOptions } from '../bench/quality/shaper.ts';
import { capacityOf, phasesOf, tracesOf, type Phase, type Trace, type TraceSpans } from '../bench/quality/traces.ts';
import { Helper } from '../bench/support/children.ts';
import { SharedClock } from '../bench/support/shared-clock.ts';
import { seededRandom } from '../src/base/random.ts';

// ── The link ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Bits a second. */
const KBPS = 1_000;
const anySteps = fc
  .array(fc.record({ forMs: fc.integer({ min: 1, max: 500 }), bps: fc.constantFrom(0, 8_000, 80_000, 8_000_000) }), {
    minLength: 1,
    maxLength: 8,
  })
  .map((parts): CapacityStep[] => {
    let fromMs = 0;
    const steps = parts.map(({ forMs, bps }): CapacityStep => {
      const step = { fromMs, bps };
      fromMs += forMs;
      return step;
    });
    // Everything gets through in the end.
    steps.push({ fromMs, bps: 800_000 });
    return steps;
  });

describe('the capacity of a link', () => {
  const steps = [
    { fromMs: 0, bps: 8 * KBPS },
    { fromMs: 1_000, bps: 0 },
    { fromMs: 1_500, bps: 16 * KBPS },
  ];

  test('what is begun goes on at each rate in turn, and waits where there is none', () => {
    const capacity = new Capacity(steps);
    expect(capacity.doneMs(0, 4_000)).toBe(500);
    expect(capacity.doneMs(500, 4_000)).toBe(1_000);
    expect(capacity.doneMs(500, 12_000)).toBe(2_000);
    expect(capacity.doneMs(1_200, 1_600)).toBe(1_600);
    expect(capacity.doneMs(-500, 4_000)).toBe(0);
    expect(new Capacity([{ fromMs: 0, bps: 0 }]).doneMs(3, 1)).toBe(Infinity);
    expect(new Capacity([{ fromMs: 0, bps: Infinity }]).doneMs(3, 1e9)).toBe(3);
  });

  test('bits between two moments', () => {
    const capacity = new Capacity(steps);
    expect(capacity.bitsBetween(0, 2_000)).toBe(16_000);
    expect(capacity.bitsBetween(900, 1_600)).toBe(2_400);
    expect(capacity.bitsBetween(-1_000, 0)).toBe(8_000);
    expect(capacity.bpsAt(-1)).toBe(8 * KBPS);
    expect(capacity.bpsAt(1_500)).toBe(16 * KBPS);
  });

  test('a change holds from its moment on; what was planned for later is forgotten', () => {
    const capacity = new Capacity(steps);
    capacity.change(500, 80 * KBPS);
    expect(capacity.doneMs(0, 12_000)).toBe(600);
    expect(capacity.bpsAt(5_000)).toBe(80 * KBPS);
  });

  test('property: as many bits get through as the link carries meanwhile', () => {
    fc.assert(
      fc.property(
        anySteps,
        fc.integer({ min: 0, max: 3_000 }),
        fc.integer({ min: 1, max: 1e6 }),
        (steps, from, bits) => {
          const capacity = new Capacity(steps);
          expect(capacity.bitsBetween(from, capacity.doneMs(from, bits))).toBeCloseTo(bits, 3);
        },
      ),
    );
  });

  test('stalls interrupt whatever the rate is', () => {
    const stalled = withStalls(
      [
        { fromMs: 0, bps: 10 },
        { fromMs: 100, bps: 20 },
      ],
      [{ fromMs: 80, forMs: 40 }],
    );
    expect(stalled).toEqual([
      { fromMs: 0, bps: 10 },
      { fromMs: 80, bps: 0 },
      { fromMs: 100, bps: 0 },
      { fromMs: 120, bps: 20 },
    ]);
  });

  test('no capacity, and steps out of order, are refused', () => {
    expect(() => new Capacity([])).toThrow(RangeError);
    expect(() => new Capacity([steps[1]!, steps[0]!])).toThrow(RangeError);
  });
});

const path = (more: Partial<PathOptions> = {}): ShapedPath<string> =>
  new ShapedPath<string>({
    capacity: new Capacity([{ fromMs: 0, bps: 8_000 * KBPS }]),
    delayMs: 20,
    jitterMs: 0,
    queueBytesMax: 10_000,
    random: seededRandom(1),
    ...more,
  });
/** A thousand bytes take a millisecond at 8 Mbit/s. */
const bytes = (count: number): Uint8Array => new Uint8Array(count).map((_, i) => i % 251);

describe('a shaped path', () => {
  test('bytes trickle through at the rate, then take the propagation', () => {
    const one = path();
    one.send('a', bytes(4_000), 100);
    expect(one.backlogBytes).toBe(4_000);
    expect(one.nextMs).toBeCloseTo(101.448);
    const { served, delivered } = one.advance(102);
    expect(served.map(({ bytes, beginMs, endMs }) => [bytes.length, beginMs, endMs])).toEqual([[1_448, 100, 101.448]]);
    expect(delivered).toEqual([]);
    expect(one.advance(104).served).toHaveLength(2);
    expect(one.backlogBytes).toBe(0);
    expect(one.nextMs).toBeCloseTo(121.448);
    expect(one.advance(122).delivered.map(({ dueMs }) => dueMs)).toEqual([121.448]);
    expect(one.advance(124).delivered.map(({ bytes }) => bytes.length)).toEqual([1_448, 1_104]);
    expect(one.nextMs).toBe(Infinity);
  });

  test('who comes later waits behind everybody', () => {
    const one = path();
    one.send('a', bytes(1_000), 0);
    one.send('b', bytes(500), 0.5);
    one.send('a', bytes(500), 10);
    const { served } = one.advance(100);
    expect(served.map(({ owner, beginMs, endMs }) => [owner, beginMs, endMs])).toEqual([
      ['a', 0, 1],
      ['b', 1, 1.5],
      ['a', 10, 10.5],
    ]);
  });

  test('a rate that changes while a packet is in the bottleneck holds for the rest of it', () => {
    const capacity = new Capacity([{ fromMs: 0, bps: 8_000 * KBPS }]);
    const one = path({ capacity });
    one.send('a', bytes(1_000), 0);
    expect(one.advance(0.5).served).toEqual([]);
    capacity.change(0.5, 800 * KBPS);
    expect(one.nextMs).toBeCloseTo(5.5);
    expect(one.advance(6).served[0]!.endMs).toBeCloseTo(5.5);
  });

  test('nothing moves while the link stalls, and what was in the air arrives', () => {
    const steps = withStalls([{ fromMs: 0, bps: 8_000 * KBPS }], [{ fromMs: 1, forMs: 250 }]);
    const one = path({ capacity: new Capacity(steps) });
    one.send('a', bytes(1_000), 0);
    one.send('a', bytes(1_000), 0);
    expect(one.advance(200).delivered).toHaveLength(1);
    expect(one.nextMs).toBe(252);
    expect(one.advance(272).delivered.map(({ dueMs }) => dueMs)).toEqual([272]);
  });

  test('it is full at its bound, and takes what comes all the same', () => {
    const one = path({ queueBytesMax: 2_000 });
    one.send('a', bytes(1_999), 0);
    expect(one.isFull).toBe(false);
    one.send('a', bytes(1), 0);
    expect(one.isFull).toBe(true);
    one.send('a', bytes(5_000), 0);
    expect(one.backlogBytes).toBe(7_000);
    one.advance(6.5);
    expect(one.isFull).toBe(false);
  });

  test('the end of a stream comes behind its bytes', () => {
    const one = path();
    one.send('a', bytes(3_000), 0);
    one.send('a', new Uint8Array(), 0);
    const lengths = one.advance(100).delivered.map(({ bytes }) => bytes.length);
    expect(lengths).toEqual([1_448, 1_448, 104, 0]);
  });

  const sendings = fc.array(
    fc.record({
      owner: fc.constantFrom('a', 'b'),
      atMs: fc.integer({ min: 0, max: 2_000 }),
      count: fc.integer({ min: 0, max: 6_000 }),
    }),
    { minLength: 1, maxLength: 20 },
  );

  test('property: nothing is lost, nobody overtakes, and nothing is early, however the packets jitter', () => {
    fc.assert(
      fc.property(anySteps, sendings, fc.integer({ min: 0, max: 50 }), (steps, sent, jitterMs) => {
        const one = path({ capacity: new Capacity(steps), jitterMs });
        const sorted = sent.toSorted((a, b) => a.atMs - b.atMs);
        for (const { owner, atMs, count } of sorted) one.send(owner, bytes(count), atMs);
        const { delivered } = one.advance(1e9);
        for (const owner of ['a', 'b']) {
          const expected = sorted.filter((one) => one.owner === owner).map(({ count }) => Buffer.from(bytes(count)));
          const got = delivered.filter((parcel) => parcel.owner === owner).map((parcel) => parcel.bytes);
          expect(Buffer.concat(got).equals(Buffer.concat(expected))).toBe(true);
        }
        let last: Parcel<string> | undefined;
        for (const parcel of delivered) {
          expect(parcel.beginMs).toBeGreaterThanOrEqual(Math.max(parcel.arrivedMs, last?.endMs ?? 0));
          expect(parcel.dueMs).toBeGreaterThanOrEqual(Math.max(parcel.endMs + 20, last?.dueMs ?? 0));
          last = parcel;
        }
        expect(one.backlogBytes).toBe(0);
      }),
    );
  });

  test('property: when things happen does not depend on how often, or how late, somebody looks', () => {
    const looks = fc.array(fc.integer({ min: 0, max: 3_000 }), { maxLength: 30 });
    fc.assert(
      fc.property(anySteps, sendings, looks, (steps, sent, looks) => {
        const timesOf = (looksMs: readonly number[]): unknown[] => {
          const one = path({ capacity: new Capacity(steps) });
          const seen: unknown[] = [];
          const look = (ms: number): void => {
            for (const { owner, endMs, dueMs } of one.advance(ms).delivered) seen.push([owner, endMs, dueMs]);
          };
          const events = [
            ...looksMs.map((atMs) => ({ atMs, run: () => look(atMs) })),
            ...sent.map(({ atMs, owner, count }) => ({ atMs, run: () => one.send(owner, bytes(count), atMs) })),
          ];
          for (const { run } of events.toSorted((a, b) => a.atMs - b.atMs)) run();
          look(1e9);
          return seen;
        };
        expect(timesOf(looks)).toEqual(timesOf([]));
      }),
    );
  });
});

// ── Messages in the stream ───────────────────────────────────────────────────────────────────────────────────────────────

const REQUEST = Buffer.from('GET /ws/video HTTP/1.1\r\nHost: x\r\n\r\r\n\r\n');
const BINARY = 0x82;
const TEXT = 0x81;

/** A masked frame, as clients send it. */
function wsFrame(first: number, payload: number): Buffer {
  const size = payload < 126 ? [0x80 | payload] : payload < 65_536 ? [0x80 | 126, 0, 0] : [0x80 | 127, ...bytes(8)];
  const header = Buffer.from([first, ...size]);
  if (size.length === 3) header.writeUInt16BE(payload, 2);
  if (size.length > 3) header.writeBigUInt64BE(BigInt(payload), 2);
  return Buffer.concat([header, Buffer.from([9, 9, 9, 9]), Buffer.alloc(payload, first)]);
}

describe('messages in the stream', () => {
  const sizes = [0, 5, 125, 126, 4_000, 65_535, 65_536, 100_000];
  const frames = sizes.map((size, i) => wsFrame(i % 3 === 0 ? TEXT : BINARY, size));
  const stream = Buffer.concat([REQUEST, ...frames]);
  const expected: MessagePlace[] = [];
  let from = REQUEST.length;
  for (const [i, { length }] of frames.entries()) {
    expected.push({ from, to: from + length, isBinary: i % 3 !== 0, payloadBytes: sizes[i]! });
    from += length;
  }

  test('all are found in one piece', () => {
    expect(new MessageScanner().scan(stream)).toEqual(expected);
  });

  test('property: however the stream is cut', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(stream.length), { maxLength: 60 }), (cuts) => {
        const places = [0, ...cuts.toSorted((a, b) => a - b), stream.length];
        const scanner = new MessageScanner();
        const found = places.slice(1).flatMap((to, i) => scanner.scan(stream.subarray(places[i], to)));
        expect(found).toEqual(expected);
      }),
    );
  });

  test('a message in several frames is refused', () => {
    const scanner = new MessageScanner();
    scanner.scan(REQUEST);
    expect(() => scanner.scan(wsFrame(0x02, 4))).toThrow('several frames');
  });

  test('each message has its first byte in the bottleneck and its last byte out of it', () => {
    const log = new PassageLog();
    const [text, binary] = [wsFrame(TEXT, 4), wsFrame(BINARY, 994)];
    log.arrived(Buffer.concat([REQUEST, text]), 0);
    log.arrived(binary.subarray(0, 500), 10);
    log.served(REQUEST.length, 0, 5);
    log.served(text.length, 5, 6);
    expect(log.passages).toEqual([
      { isBinary: false, payloadBytes: 4, arrivedMs: 0, beginMs: 5, endMs: 6 },
      { isBinary: true, payloadBytes: 994, arrivedMs: 10, beginMs: Infinity, endMs: Infinity },
    ]);
    log.served(500, 50, 55);
    log.arrived(binary.subarray(500), 60);
    log.served(binary.length - 500, 80, 90);
    expect(log.passages[1]).toMatchObject({ arrivedMs: 10, beginMs: 50, endMs: 90 });
  });

  test('messages that pass in one packet share its time by their places', () => {
    const log = new PassageLog();
    const [one, other] = [wsFrame(BINARY, 94), wsFrame(BINARY, 294)];
    log.arrived(Buffer.concat([REQUEST, one, other]), 0);
    log.served(REQUEST.length, 0, 0);
    const all = one.length + other.length;
    log.served(all, 0, all);
    expect(log.passages.map(({ beginMs, endMs }) => [beginMs, endMs])).toEqual([
      [0, one.length],
      [one.length, all],
    ]);
  });
});

// ── For real ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

const SHAPER = new URL('../bench/quality/shaper-process.ts', import.meta.url);
const direction = (bps: number, delayMs: number) => ({ steps: [{ fromMs: 0, bps }], delayMs, jitterMs: 0 });

describe('the link as a process', () => {
  const withLink = async (
    more: Partial<LinkPlan>,
    use: (ports: readonly number[], shaper: Helper<ShaperApi>, now: () => number) => Promise<void>,
  ): Promise<void> => {
    const clockDistanceMs = SharedClock.distanceMs();
    const clock = new SharedClock(clockDistanceMs);
    const startTimeMs = clock.now();
    await using shaper = new Helper<ShaperApi>(SHAPER, new AbortController().signal);
    const ports = await shaper.call('open', {
      host: '127.0.0.1',
      targetPort: 0,
      clients: 1,
      clockDistanceMs,
      startTimeMs,
      seed: 1,
      up: direction(8_000 * KBPS, 20),
      down: direction(80_000 * KBPS, 20),
      ...more,
    });
    await use(ports, shaper, () => clock.now() - startTimeMs);
  };

  test('WebSocket messages take their time and come through unharmed, there and back', async () => {
    const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false });
    server.on('connection', (socket) =>
      socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary })),
    );
    await once(server, 'listening');
    try {
      await withLink({ targetPort: (server.address() as AddressInfo).port }, async ([port], shaper, now) => {
        const socket = new WebSocket(`ws://127.0.0.1:${port}`, { perMessageDeflate: false });
        await once(socket, 'open');
        const sent = [100_000, 50_000].map((count) => Buffer.from(bytes(count)));
        const sentMs = now();
        for (const data of sent) socket.send(data);
        const got: Buffer[] = [];
        while (got.length < sent.length) got.push(((await once(socket, 'message')) as [Buffer])[0]);
        const takenMs = now() - sentMs;
        expect(got.map((data, i) => data.equals(sent[i]!))).toEqual([true, true]);
        // 150 kB at 8 Mbit/s and a round trip of 40 ms at the least.
        expect(takenMs).toBeGreaterThan(190);
        const { passages } = await shaper.call('close', undefined);
        const [first, second] = passages[0]!.filter(({ isBinary }) => isBinary);
        expect([first!.payloadBytes, second!.payloadBytes]).toEqual([100_000, 50_000]);
        expect(first!.endMs - first!.beginMs).toBeGreaterThan(99.9);
        expect(second!.beginMs).toBeCloseTo(first!.endMs, 3);
        expect(second!.endMs - second!.beginMs).toBeCloseTo((50_008 * 8) / 8_000, 3);
        socket.terminate();
      });
    } finally {
      server.close();
    }
  });

  test('what does not fit into its queue stays with the sender; the rate changes when it is told', async () => {
    const server = createServer((socket) => socket.resume().on('error', () => undefined));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    try {
      const targetPort = (server.address() as AddressInfo).port;
      await withLink({ targetPort, up: direction(80 * KBPS, 0) }, async ([port], shaper) => {
        const socket = connect(port!, '127.0.0.1');
        socket.on('error', () => undefined);
        await once(socket, 'connect');
        let received = 0;
        server.on('connection', (accepted) => accepted.on('data', ({ length }) => (received += length)));
        socket.write(Buffer.alloc(1_000_000));
        socket.end();
        // At 10 kB/s the megabyte would take 100 s.
        await shaper.call('change', { direction: 'up', bps: 80_000 * KBPS });
        await once(socket, 'close');
        const { backlogBytesMax } = await shaper.call('close', undefined);
        expect(backlogBytesMax).toBeGreaterThan(100_000);
        // The bound, and what one reading may bring.
        expect(backlogBytesMax).toBeLessThan(128 * 1024 + 128 * 1024);
      });
    } finally {
      server.close();
    }
  });
});

test('a network namespace shapes with the kernel, and nothing is left of it', async ({ skip }) => {
  const namespace = await Namespace.make(10_000 * KBPS);
  if (typeof namespace === 'string') skip(namespace);
  else {
    const isHere = (): boolean =>
      Object.values(networkInterfaces()).some((own) => own!.some(({ address }) => address === namespace.hostAddress));
    try {
      expect(isHere()).toBe(true);
      await namespace.shape(5_000 * KBPS);
      const { command, args } = namespace.command('tc', 'qdisc', 'show');
      expect([command, ...args].join(' ')).toMatch(/^ip netns exec sl-\w+ tc qdisc show$/);
    } finally {
      await namespace[Symbol.asyncDispose]();
    }
    expect(isHere()).toBe(false);
    // Idempotent.
    await namespace[Symbol.asyncDispose]();
  }
});

// ── Traces ───────────────────────────────────────────────────────────────────────────────────────────────────────────────

const SPANS: TraceSpans = {
  stepMs: 1_000,
  changeMs: [1_000, 2_000, 3_000],
  stallsMs: 8_000,
  wifiMs: 5_000,
  sharedMs: 1_000,
  narrowMs: 1_000,
};

describe('traces', () => {
  const traces = tracesOf(SPANS, 7);
  const of = (name: string): Trace => traces.find((trace) => trace.name === name)!;

  test('capacities are those of the plan', () => {
    expect(traces.map(({ name }) => name)).toEqual(
      'steps steps_5ms steps_75ms change stalls wifi shared narrow'.split(' '),
    );
    expect(of('steps').steps.map(({ fromMs, bps }) => [fromMs, bps / 1e6])).toEqual([
      [0, 10],
      [1_000, 25],
      [2_000, 6],
      [3_000, 10],
    ]);
    expect(phasesOf(of('change'))).toEqual([
      { fromMs: 0, toMs: 1_000, bps: 10e6, beforeBps: undefined },
      { fromMs: 1_000, toMs: 3_000, bps: 5e6, beforeBps: 10e6 },
      { fromMs: 3_000, toMs: 6_000, bps: 10e6, beforeBps: 5e6 },
    ]);
    expect(of('steps_75ms')).toMatchObject({ delayMs: 75, senders: ['sightline'] });
    expect(of('shared').clients).toBe(2);
  });

  test('stalls come every few seconds, within the span', () => {
    expect(of('stalls').stalls.map(({ fromMs }) => fromMs)).toEqual([1_000, 4_000, 7_000]);
    expect(capacityOf(of('stalls')).bitsBetween(1_000, 1_250)).toBe(0);
  });

  test('bursts stay within their bounds, and are the same for the same seed', () => {
    const { steps } = of('wifi');
    expect(steps.length).toBeGreaterThan(10);
    for (const [i, { fromMs, bps }] of steps.entries()) {
      expect(bps).toBeGreaterThanOrEqual(5e6);
      expect(bps).toBeLessThanOrEqual(20e6);
      const heldMs = (steps[i + 1]?.fromMs ?? fromMs + 100) - fromMs;
      expect(heldMs).toBeGreaterThanOrEqual(100);
      expect(heldMs).toBeLessThanOrEqual(400);
    }
    expect(tracesOf(SPANS, 7).find(({ name }) => name === 'wifi')!.steps).toEqual(steps);
    expect(tracesOf(SPANS, 8).find(({ name }) => name === 'wifi')!.steps).not.toEqual(steps);
  });

  test('a trace without a span is left out', () => {
    expect(tracesOf({ ...SPANS, stepMs: 0, stallsMs: 0 }, 7).map(({ name }) => name)).toEqual(
      'change wifi shared narrow'.split(' '),
    );
  });
});

// ── Analysis ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

const filmed = (sentMs: number, more: Partial<FilmedFrame> = {}): FilmedFrame => ({
  capturedMs: sentMs - 2,
  sentMs,
  bytes: 1_000,
  width: 512,
  quality: 60,
  fate: 'result',
  answeredMs: sentMs + 98,
  ...more,
});
const film = (frames: readonly FilmedFrame[], more: Partial<Film> = {}): Film => ({
  frames,
  told: [],
  held: 0,
  missed: 0,
  lateMsP95: 1,
  isLost: false,
  ...more,
});
const passage = (beginMs: number, endMs: number, payloadBytes = 1_000): Passage => ({
  isBinary: true,
  payloadBytes,
  arrivedMs: beginMs,
  beginMs,
  endMs,
});
/** Sent at a moment, waits, and is served within a millisecond. */
const frame = (sentMs: number, queueMs = 0, more: Partial<SentFrame> = {}): SentFrame => ({
  ...filmed(sentMs),
  client: 0,
  queueMs,
  beginMs: sentMs + queueMs,
  endMs: sentMs + queueMs + 1,
  ...more,
});
const trace = (more: Partial<Trace> = {}): Trace => ({
  name: 'a_trace',
  what: 'for a test',
  delayMs: 20,
  clients: 1,
  spanMs: 2_000,
  steps: [{ fromMs: 0, bps: 80 * KBPS }],
  stalls: [],
  isSteady: true,
  senders: ['sightline', 'fixed'],
  ...more,
});
const run = (frames: readonly SentFrame[], more: Partial<Run> = {}): Run => ({
  trace: trace(),
  kind: 'sightline',
  frames,
  films: [film([])],
  polls: [],
  ...more,
});
const phase: Phase = { fromMs: 1_000, toMs: 4_000, bps: 80 * KBPS, beforeBps: 160 * KBPS };

describe('frames and their ways', () => {
  test('each frame of a client is one of its binary messages, in order', () => {
    const films = [film([filmed(0), filmed(100)]), film([filmed(50)])];
    const clock: Passage = { ...passage(0, 0, 40), isBinary: false };
    const frames = joinPassages(films, [[clock, passage(5, 10), passage(130, 140)], [passage(90, 95)]]);
    expect(frames.map(({ client, sentMs, queueMs, endMs }) => [client, sentMs, queueMs, endMs])).toEqual([
      [0, 0, 5, 10],
      [1, 50, 40, 95],
      [0, 100, 30, 140],
    ]);
  });

  test('a frame that never came to the link waits for ever; one of another size is a fault', () => {
    expect(joinPassages([film([filmed(0)])], [[]])[0]).toMatchObject({ queueMs: Infinity, endMs: Infinity });
    expect(() => joinPassages([film([filmed(0)])], [[passage(0, 1, 999)]])).toThrow('999');
  });
});

describe('figures of a run', () => {
  const figures = runFigures(
    run(
      [
        frame(0),
        frame(500, 30, { answeredMs: 614 }),
        frame(1_000, 10, { fate: 'expired' }),
        // Comes when the run is over: nobody has it.
        frame(1_950, Infinity, { answeredMs: 2_048, beginMs: Infinity, endMs: Infinity }),
      ],
      { films: [film([], { held: 7, missed: 1, isLost: true })] },
    ),
  );

  test('rates, results, latencies and waits', () => {
    expect(figures).toMatchObject({ sent_fps: 2, sent_mbps: 0.016, results: 2, results_in_time: 1 });
    expect(figures['p50_ms']).toBe(108);
    expect(figures).toMatchObject({ queue_ms_p50: 20, queue_ms_max: 2_000 });
    expect(figures).toMatchObject({ dropped: 1, held: 7, missed: 1, connections_lost: 1 });
    // Three frames of 8,000 bits that have passed, of 160,000.
    expect(figures['utilisation']).toBeCloseTo(0.15);
    expect(figures).not.toHaveProperty('jain');
  });

  test('without a result it was waited in vain', () => {
    expect(runFigures(run([]))).toMatchObject({ results: 0, p95_ms: 2_000, sent_fps: 0 });
  });

  test('clients that share a link are compared', () => {
    const frames = [frame(0), frame(100), frame(200, 0, { client: 1 }), frame(300)];
    const both = { trace: trace({ clients: 2 }), films: [film([]), film([])] };
    expect(runFigures(run(frames, both))['jain']).toBeCloseTo(16 / (2 * 10));
  });

  test('bits are counted where they passed', () => {
    const frames = [frame(0, 0, { beginMs: 0, endMs: 100 }), frame(0, 0, { beginMs: 100, endMs: 100 })];
    expect(bitsBetween(frames, 50, 100)).toBe(4_000);
    expect(bitsBetween(frames, 50, 101)).toBe(4_000 + 8_000);
    expect(utilisation(frames, trace(), 0, 100)).toBe(1);
  });
});

describe('after a step', () => {
  /** Ten frames a second, all through the phase and before it. */
  const frames = (queueOf: (ms: number) => number): SentFrame[] =>
    Array.from({ length: 40 }, (_, i) => frame(i * 100, queueOf(i * 100)));

  test('a queue that never grows is drained at once', () => {
    expect(
      drainMs(
        frames(() => 49),
        phase,
      ),
    ).toBe(0);
  });

  test('it is gone when the last frame that waited long has its turn', () => {
    // Sent at 1,600, it waits until 1,800.
    expect(
      drainMs(
        frames((ms) => (ms >= 1_200 && ms < 1_700 ? 200 : 5)),
        phase,
      ),
    ).toBe(800);
    // Silence while the queue drains is no short queue.
    expect(drainMs([frame(1_100, 900), frame(2_100, 5)], phase)).toBe(1_000);
  });

  test('a wait that comes back within a second was not over; one that comes later is another one', () => {
    const again = (atMs: number) => (ms: number) => (ms === 1_200 || ms === atMs ? 80 : 5);
    expect(drainMs(frames(again(2_200)), phase)).toBe(1_280);
    expect(drainMs(frames(again(2_400)), phase)).toBe(280);
    expect(
      drainMs(
        frames((ms) => (ms === 2_000 ? 80 : 5)),
        phase,
      ),
    ).toBe(0);
  });

  test('waits before the step do not count; what never has its turn takes all of the phase', () => {
    expect(
      drainMs(
        frames((ms) => (ms < 1_000 ? 500 : 5)),
        phase,
      ),
    ).toBe(0);
    expect(drainMs([frame(1_100, Infinity)], phase)).toBe(3_000);
    expect(drainMs([], phase)).toBe(0);
  });

  test('nobody can drain faster than a round trip allows', () => {
    // What is sent in 60 ms at twice the rate takes 120 ms, and its end waits for 60 ms; with 40 ms nothing waits long.
    expect(drainLeastMs({ delayMs: 30 }, phase)).toBe(120);
    expect(drainLeastMs({ delayMs: 20 }, phase)).toBe(0);
  });

  test('the longest wait within the phase', () => {
    expect(
      queueMaxMs(
        frames((ms) => (ms === 900 ? 700 : ms === 2_000 ? 120 : 5)),
        phase,
      ),
    ).toBe(120);
    expect(
      queueMaxMs(
        frames(() => Infinity),
        phase,
      ),
    ).toBe(3_000);
    expect(queueMaxMs([], phase)).toBe(0);
  });

  test('a link is used again when half a second of it is', () => {
    // Half of the capacity until 2 s, then all of it: a frame of 8,000 bits takes 100 ms.
    const used = Array.from({ length: 40 }, (_, i) => frame(i * 100, 0, { endMs: i * 100 + 100 })).filter(
      ({ sentMs }) => sentMs >= 2_000 || sentMs % 200 === 0,
    );
    expect(riseMs(used, phase, 0.9)).toBeGreaterThanOrEqual(1_300);
    expect(riseMs(used, phase, 0.9)).toBeLessThanOrEqual(1_500);
    expect(riseMs([], phase, 0.9)).toBe(3_000);
  });
});

describe('steady state', () => {
  const steps = [
    { fromMs: 0, bps: 80 * KBPS },
    { fromMs: 8_000, bps: 160 * KBPS },
  ];
  const twoPhases = trace({ spanMs: 16_000, steps });
  /** 64 kbit/s, and the waits of the first second of each phase are long. */
  const frames = Array.from({ length: 128 }, (_, i) =>
    frame(i * 125, (i * 125) % 8_000 < 1_000 ? 400 : 10, { endMs: i * 125 + 100 }),
  );
  const told = (reason: string): Told => ({ ms: 0, fps: 15, width: 512, quality: 60, window: 2, reason });
  const figures = (more: Partial<Run>) => steadyFigures(run(frames, { trace: twoPhases, ...more }), 1_000);

  test('what happens just after a change of the capacity is left out', () => {
    expect(figures({})).toMatchObject({ steady_queue_ms_p50: 10, steady_queue_ms_p95: 10 });
    expect(steadyFigures(run(frames, { trace: twoPhases }), 0)['steady_queue_ms_p95']).toBe(400);
  });

  test('the phase that uses its link the least counts, but none that has the most there is', () => {
    expect(figures({})['steady_utilisation']).toBeCloseTo(0.4, 1);
    const most = film([], { told: [told('link'), { ...told('settings'), ms: 8_000 }] });
    expect(figures({ films: [most] })['steady_utilisation']).toBeCloseTo(0.8, 1);
    expect(figures({ films: [most] })['steady_phases_left_out']).toBe(1);
    const all = figures({ films: [film([], { told: [told('settings')] })] });
    expect(all).not.toHaveProperty('steady_utilisation');
    expect(figures({ films: [film([], { told: [told('compute')] })] })['steady_compute_share']).toBe(1);
  });

  test('moves on the ladder within any five seconds of a phase', () => {
    const polls = [0, 900, 1_100, 3_000, 7_000, 7_900, 9_500].map((ms, i) => ({ ms, ladderMoves: i }));
    // From 1,100 to 3,000 one; from 3,000 to 7,900 two. What lies across the change, or before it settles, is not counted.
    expect(figures({ polls })['steady_ladder_moves_5s']).toBe(2);
    expect(figures({ polls: [] })['steady_ladder_moves_5s']).toBe(0);
  });

  test('a client that sends nothing has no short queue', () => {
    expect(steadyFigures(run([]), 500)).toMatchObject({ steady_queue_ms_p50: 2_000, steady_utilisation: 0 });
  });
});

describe('lines over time', () => {
  const one = run([
    frame(0, 5, { endMs: 500, beginMs: 0, answeredMs: 100 }),
    frame(100, 30, { answeredMs: 700 }),
    frame(1_800, Infinity, { answeredMs: Infinity, fate: 'unanswered', beginMs: Infinity, endMs: Infinity }),
  ]);

  test('rate, waits and latencies in slices; what is unknown is a gap', () => {
    expect(rateLine(one, 500).map(({ y }) => y * 500_000)).toEqual([16_000, 0, 0, 0]);
    expect(queueLine(one, 1_000)).toEqual([
      { x: 500, y: 30 },
      { x: 1_500, y: Infinity },
    ]);
    expect(latencyLine(one, 500).map(({ y }) => y)).toEqual([102, 602, Number.NaN, Number.NaN]);
  });

  test('they are drawn, one file for each measure', () => {
    const other = { ...one, kind: 'fixed' } as const;
    const plots = tracePlots([one, other]);
    expect(Object.keys(plots)).toEqual(['rate', 'queue', 'latency'].map((what) => `quality-a_trace-${what}.svg`));
    for (const svg of Object.values(plots)) {
      expect(svg).toMatch(/^<svg [\s\S]*Sightline[\s\S]*fixed quality[\s\S]*<\/svg>\n$/);
      expect(svg).not.toMatch(/NaN|Infinity/);
    }
    expect(plots['quality-a_trace-rate.svg']).toContain('capacity');
  });
});
