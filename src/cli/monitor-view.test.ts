import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readDocument, type MonitorDocument } from './monitor-document.ts';
import { monitorLine, monitorView, type MonitorState, type Screen } from './monitor-view.ts';
import { clean, widthOf } from './text.ts';

const stage = (p95_ms: number, count = 900) => ({ count, p50_ms: p95_ms / 2, p95_ms, p99_ms: p95_ms * 2 });

function session(client_id: string, results: number, more: object = {}) {
  return {
    client_id,
    pipeline: 'objects',
    model: 'ssd-oidv4',
    connected: true,
    age_s: 65,
    accounts: {
      received: results + 3,
      results,
      errors: 0,
      dropped: { queue_full: 0, stale: 0 },
      queued: 1,
      in_flight: 1,
      unsent: 0,
    },
    ...more,
  };
}

const topic = (name: string, published: number) => ({
  stats: { topic: name, epoch: 1, published, published_bytes: published * 100, readers: 2 },
});

const HEALTH = { status: 'ok', issues: [], version: '1.2.3', uptime_s: 3_723 };
const METRICS = {
  time: 1_700_000_000_000,
  latency: {
    recent: {
      stages: {
        capture: stage(1),
        queue: stage(6),
        decode: stage(4.5),
        preprocess: stage(2),
        inference: stage(30),
        postprocess: stage(0.5),
        encode: stage(0.1),
        transmit: stage(0, 0),
        total: stage(45),
      },
      bottlenecks: { capture: 0, queue: 90, decode: 1, inference: 809 },
    },
  },
  event_loop_delay: { p50_ms: 0.1, p99_ms: 1.5, max_ms: 12 },
  process: {
    uptime_s: 3_723,
    cpu_percent: 34.4,
    rss_bytes: 512 * 2 ** 20,
    heap_used_bytes: 40 * 2 ** 20,
    heap_total_bytes: 1.5 * 2 ** 30,
    heap_resident_bytes: 2 ** 30,
  },
  connections: { open: 4, max: 1000 },
  streams: 7,
  callback_faults: 0,
  sessions: [session('cam-a', 1_000), session('cam-b', 20)],
  engine: {
    workerSlots: 2,
    workers: 2,
    busy: 1,
    backlog: 3,
    restarts: 0,
    completed: 1_020,
    failed: 0,
    models: [{ id: 'ssd-oidv4', providers: { effective: 'cpu' } }],
  },
  telemetry: {
    sessions: [
      { client_id: 't-1', connected: true, accounts: { delivered: 4_000, dropped: { overflow: 0 }, queued: 0 } },
    ],
    topics: [topic('rover/1/pose', 400), topic('rover/1/state', 8_000)],
    history_bytes: 3_355_443,
  },
  foxglove: [],
};

function document(metrics: object = {}, health: object = {}): MonitorDocument {
  return readDocument({ ...HEALTH, ...health }, { ...METRICS, ...metrics })!;
}

/** Two seconds after `METRICS`. */
const LATER = {
  time: METRICS.time + 2_000,
  sessions: [session('cam-a', 1_030), session('cam-b', 20)],
  engine: { ...METRICS.engine, completed: 1_050 },
  telemetry: {
    ...METRICS.telemetry,
    sessions: [
      { client_id: 't-1', connected: true, accounts: { delivered: 6_400, dropped: { overflow: 0 }, queued: 0 } },
    ],
    topics: [topic('rover/1/pose', 420), topic('rover/1/state', 8_400)],
  },
};

function view(change: Partial<MonitorState> = {}, screen: Partial<Screen> = {}): string[] {
  const state: MonitorState = {
    url: 'http://127.0.0.1:8080',
    budgetMs: 75,
    now: document(LATER),
    before: document(),
    trouble: undefined,
    isPaused: false,
    hasKeys: true,
    ...change,
  };
  return monitorView(state, { columns: 80, rows: 24, colour: false, ...screen });
}

/** What stands in a table behind the name of a row. */
function row(lines: readonly string[], name: string): string[] {
  const line = lines.find((one) => one.startsWith(`${name} `));
  return line === undefined ? [] : line.slice(name.length).trim().split(/\s+/);
}

describe('a window', () => {
  test('of 80 × 24', () => {
    expect(view()).toEqual([
      'sightline  1.2.3 · http://127.0.0.1:8080                     p pauses, q leaves',
      'status     ok · up 1:02:03 · 4 of 1,000 connections · 7 streams',
      'latency, ms   p50   p95   p99  p95 of 75 ms',
      'capture      0.50  1.00  2.00  ░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░',
      'queue        3.00  6.00  12.0  ██░░░░░░░░░░░░░░░░░░░░░░░░░░░░',
      'decode       2.25  4.50  9.00  ██░░░░░░░░░░░░░░░░░░░░░░░░░░░░',
      'preprocess   1.00  2.00  4.00  █░░░░░░░░░░░░░░░░░░░░░░░░░░░░░',
      'inference    15.0  30.0  60.0  ████████████░░░░░░░░░░░░░░░░░░',
      'postprocess  0.25  0.50  1.00  ░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░',
      'encode       0.05  0.10  0.20  ░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░',
      'transmit        –     –     –',
      'total        22.5  45.0  90.0  ██████████████████░░░░░░░░░░░░',
      'bottleneck inference 90 % · queue 10 %',
      'engine     1 of 2 workers busy · backlog 3 · 15.0 frames/s · ssd-oidv4 on cpu',
      'process    cpu 34 % · memory 512 MiB · heap 40 MiB of 1.5 GiB',
      'event loop p50 0.10 ms · p99 1.50 ms · max 12.0 ms',
      'sessions 2  pipeline  link  results/s  dropped  queued   age  model',
      'cam-a       objects   on         15.0        0       1  1:05  ssd-oidv4',
      'cam-b       objects   on            0        0       1  1:05  ssd-oidv4',
      'telemetry  1 connection · 2 topics · 210 msg/s in · 1,200 out · history 3.2 MiB',
      'topics 2       msg/s  bytes/s  readers  messages',
      'rover/1/state    200   20 KiB        2     8,400',
      'rover/1/pose    10.0  1.0 KiB        2       420',
    ]);
  });

  test('of 40 × 20 keeps what matters most', () => {
    expect(view({}, { columns: 40, rows: 20 })).toEqual([
      'sightline http://127.0.0.1:8080',
      'status ok · up 1:02:03 · 4 connections',
      'latency, ms  p50  p95  p99 of 75 ms',
      'inference   15.0 30.0 60.0 █████░░░░░░░',
      'total       22.5 45.0 90.0 ███████░░░░░',
      '… and 7 more',
      'bottleneck inference 90 % · queue 10 %',
      'engine 1 of 2 workers busy · backlog 3',
      '  15.0 frames/s',
      'process cpu 34 % · memory 512 MiB',
      'event loop p99 1.50 ms · max 12.0 ms',
      'sessions 2 link results/s dropped',
      'cam-a      on        15.0       0',
      'cam-b      on           0       0',
      'telemetry 1 connection · 2 topics',
      '  210 msg/s in · 1,200 out',
      '  history 3.2 MiB',
      'topics 2      msg/s bytes/s readers',
      'rover/1/state   200  20 KiB       2',
      'rover/1/pose   10.0 1.0 KiB       2',
    ]);
  });

  test('of 160 × 50 has room for everything, and air between', () => {
    const grant = { rate_fps: 12.5, width: 512, height: 384, quality: 60, level: 'medium', reason: 'link' };
    const accounts = { results: 1_010, errors: 2, queued: 4, dropped: { queue_full: 1_200, stale: 3, expired: 0 } };
    const sessions = [session('cam-a', 0, { quality: { grant }, accounts, connected: false })];
    const lines = view({ now: document({ ...LATER, sessions }) }, { columns: 160, rows: 50 });
    expect(lines).toContain('');
    const [titles, cells] = ['sessions', 'cam-a'].map((start) => lines.find((line) => line.startsWith(start))!);
    expect(titles!.split(/  +/)).toEqual(
      'sessions 1|pipeline|0 on|results/s|dropped|by cause|queued|errors|grant|level|reason|age|model'.split('|'),
    );
    expect(cells!.split(/  +/)).toEqual(
      'cam-a|objects|lost|5.0|1,203|queue_full 1,200, stale 3|4|2|12.5/s 512×384 q60|medium|link|1:05|ssd-oidv4'.split(
        '|',
      ),
    );
  });

  test.each([
    [80, 24],
    [40, 20],
    [160, 50],
    [20, 4],
  ])('of %d × %d cuts long lists and says how much more there is', (columns, rows) => {
    const sessions = Array.from({ length: 500 }, (_, i) => session(`cam-${i}`, i));
    const topics = Array.from({ length: 3_000 }, (_, i) => topic(`site/${i}`, i));
    const now = document({ sessions, telemetry: { ...METRICS.telemetry, topics } });
    const lines = view({ now, before: undefined }, { columns, rows });
    expect(lines).toHaveLength(rows);
    const shown = lines.filter((line) => line.startsWith('cam-')).length;
    if (rows >= 20) {
      expect(shown).toBeGreaterThan(0);
      expect(lines).toContain(`… and ${500 - shown} more`);
    }
  });
});

describe('what is not told', () => {
  test('is left out, not shown as zero', () => {
    const now = readDocument({ status: 'ok' }, {})!;
    expect(view({ now, before: undefined, hasKeys: false })).toEqual([
      'sightline  http://127.0.0.1:8080',
      'status     ok',
    ]);
    expect(monitorLine(now, undefined)).toBe('ok');
  });

  test('is left out of a table too', () => {
    const sessions = [{ client_id: 'cam-a', accounts: { results: 5 } }];
    const lines = view({ now: document({ sessions }) });
    expect(lines.find((line) => line.startsWith('sessions'))).toBe('sessions 1');
  });

  test('what is of another kind is as if it were not there', () => {
    const now = document({
      process: 5,
      sessions: 'none',
      engine: { busy: '1', workers: 2 },
      time: 1e300,
      latency: null,
    });
    const lines = view({ now, before: undefined });
    expect(lines).toContain('engine     2 workers');
    expect(lines.join(' ')).not.toMatch(/process|sessions|latency/);
    expect(monitorLine(now, undefined)).toMatch(/^ok {2}/);
  });

  test('a server that says nothing of its health is none', () => {
    expect(readDocument({ state: 'ok' }, {})).toBeUndefined();
    expect(readDocument({ status: 'ok' }, [])).toBeUndefined();
    expect(readDocument(null, null)).toBeUndefined();
  });

  test('no recent frames, no sessions', () => {
    const stages = { total: stage(0, 0), queue: stage(0, 0) };
    const lines = view({ now: document({ latency: { recent: { stages, bottlenecks: {} } }, sessions: [] }) });
    expect(lines).toContain('latency    no recent frames');
    expect(lines).toContain('sessions   none');
  });
});

describe('rates', () => {
  const rateOf = (now: MonitorDocument, before: MonitorDocument | undefined) =>
    row(view({ now, before }, { columns: 160, rows: 50 }), 'cam-a');

  test('are what came between two readings', () => {
    expect(rateOf(document(LATER), document())).toContain('15.0');
    expect(rateOf(document(LATER), undefined)).not.toContain('15.0');
    // The same reading twice: no time has gone by.
    expect(view({ now: document(), before: document() }).join(' ')).not.toMatch(/(results|msg|frames)\/s/);
  });

  test('there are none over a new start of the server', () => {
    const now = document({ ...LATER, process: { uptime_s: 3 } });
    expect(rateOf(now, document())).not.toContain('15.0');
    expect(monitorLine(now, document())).not.toContain('/s');
  });

  test('a session of the same name that began anew has none yet', () => {
    const now = document({ ...LATER, sessions: [session('cam-a', 1_030, { age_s: 1 })] });
    expect(rateOf(now, document())).not.toContain('15.0');
  });

  test('sums take in what has come and what began anew', () => {
    const topics = [topic('rover/1/state', 8_100), topic('rover/1/pose', 50), topic('new', 10)];
    const now = document({ ...LATER, telemetry: { ...LATER.telemetry, topics } });
    // 100 more, 50 anew, 10 new ones in two seconds.
    expect(view({ now }).join(' ')).toContain('80.0 msg/s in');
  });

  test('drops are marked while they go on', () => {
    const dropping = (count: number) =>
      document({ sessions: [session('cam-a', 1, { accounts: { dropped: { stale: count } } })] });
    const marked = (now: MonitorDocument, before: MonitorDocument | undefined) =>
      view({ now, before }, { colour: true }).some((line) => line.startsWith('cam-a') && line.includes('\u001B[33m'));
    expect(marked(dropping(7), dropping(5))).toBe(true);
    expect(marked(dropping(7), dropping(7))).toBe(false);
    expect(marked(dropping(7), undefined)).toBe(false);
  });
});

describe('status', () => {
  const ISSUES = [
    { code: 'LATENCY_HIGH', message: '95 % of the frames took up to 123.5 ms, over 75.0 ms' },
    { code: 'MEMORY_HIGH', message: 'resident memory is 1500 MiB, over 1024 MiB' },
  ];

  test('issues are told in full, on more lines where they must', () => {
    const now = document({}, { status: 'degraded', issues: ISSUES });
    expect(view({ now }).slice(1, 4)).toEqual([
      'status     degraded · up 1:02:03 · 4 of 1,000 connections · 7 streams',
      `  LATENCY_HIGH: ${ISSUES[0]!.message}`,
      `  MEMORY_HIGH: ${ISSUES[1]!.message}`,
    ]);
    const narrow = view({ now }, { columns: 40, rows: 40 });
    expect(narrow).toContain('  LATENCY_HIGH: 95 % of the frames took');
    expect(narrow).toContain('  up to 123.5 ms, over 75.0 ms');
    expect(monitorLine(now, undefined)).toContain('degraded (LATENCY_HIGH, MEMORY_HIGH)');
  });

  test('many issues are cut', () => {
    const issues = Array.from({ length: 30 }, (_, i) => ({ code: `C${i}`, message: 'is wrong' }));
    const lines = view({ now: document({}, { issues }) });
    expect(lines).toHaveLength(24);
    expect(lines).toContain('  C0: is wrong');
    expect(lines.some((line) => /^… and 2\d more$/.test(line))).toBe(true);
  });

  test('a server that is away', () => {
    const trouble = { message: 'http://127.0.0.1:8080/health: connect ECONNREFUSED', lastsS: 83 };
    expect(view({ now: undefined, before: undefined, trouble })).toEqual([
      'sightline  http://127.0.0.1:8080                             p pauses, q leaves',
      'status     no answer for 1:23, trying again',
      '  http://127.0.0.1:8080/health: connect ECONNREFUSED',
    ]);
    const gone = view({ trouble });
    expect(gone[1]).toBe('status     no answer for 1:23, trying again · the rest is older');
    expect(gone.length).toBeGreaterThan(10);
  });

  test('asking, and paused', () => {
    expect(view({ now: undefined })[1]).toBe('status     asking');
    expect(view({ isPaused: true })[1]).toMatch(/^status {5}paused · ok/);
  });

  test('missing workers and failures are told', () => {
    const engine = { workerSlots: 4, workers: 1, busy: 0, failed: 2, restarts: 3 };
    const lines = view({ now: document({ engine, callback_faults: 1 }) });
    expect(lines).toContain('engine     0 of 1 worker busy · 3 missing · 2 failed · 3 restarts');
    expect(lines).toContain('           1 callback fault');
  });

  test('a bar over the budget says so without colour', () => {
    const inference = view({ budgetMs: 20 }).find((line) => line.startsWith('inference'))!;
    expect(inference).toMatch(/█!$/);
    expect(view({ budgetMs: 20 }, { colour: true }).find((line) => line.includes('inference'))).toContain('\u001B[31m');
  });
});

describe('what a terminal would obey', () => {
  const EVIL = '\u001B[2J\u001B]0;title\u0007a\u0000b\u009B31m\r\nc\u202E\u200Bd\u{E0041}\uD800';

  test('is taken out of all text of the server', () => {
    const sessions = [
      session(EVIL, 1, { pipeline: EVIL, model: EVIL, quality: { grant: { level: EVIL, reason: EVIL } } }),
    ];
    const engine = { ...METRICS.engine, models: [{ id: EVIL, providers: { effective: EVIL } }] };
    const telemetry = { topics: [topic(EVIL, 1)] };
    const latency = { recent: { stages: { [EVIL]: stage(1) }, bottlenecks: { [EVIL]: 1 } } };
    const now = document(
      { sessions, engine, telemetry, latency },
      { status: EVIL, version: EVIL, issues: [{ code: EVIL, message: EVIL }] },
    );
    const shown = [
      ...view({ now }, { columns: 300, rows: 60 }),
      ...view({ now, trouble: { message: EVIL, lastsS: 1 } }),
      monitorLine(now, undefined),
    ];
    for (const line of shown) expect(line).toMatch(/^[^\p{C}]*$/u);
    expect(shown.filter((line) => line.includes('ab cd')).length).toBeGreaterThan(6);
  });

  test('of text nothing else is lost', () => {
    expect(clean('Füße, 車 and 🚗')).toBe('Füße, 車 and 🚗');
    expect(clean('x'.repeat(10_000))).toHaveLength(300);
  });

  test('a long name keeps its end', () => {
    const sessions = [1, 2].map((n) => session(`the-camera-over-the-gate-to-the-yard-${n}`, 1));
    const lines = view({ now: document({ sessions }) }, { columns: 40 });
    const names = lines.filter((line) => line.startsWith('the-')).map((line) => line.split(' ')[0]);
    expect(names).toEqual(['the-came…e-yard-1', 'the-came…e-yard-2']);
  });

  test('wide characters take two columns, marks none', () => {
    expect(widthOf('車载🚗a')).toBe(7);
    expect(widthOf('e\u0301')).toBe(1);
    const topics = [topic('車'.repeat(40), 1), topic('site/plain', 1)];
    const lines = view({ now: document({ telemetry: { topics } }) }, { columns: 60, rows: 50 });
    const [wide, narrow] = ['車', 'site/'].map((start) => lines.find((line) => line.startsWith(start))!);
    expect(widthOf(wide!)).toBe(widthOf(narrow!));
    expect(wide).toContain('…');
  });
});

test('colours only where they are wanted', () => {
  expect(view({}, { colour: true }).join('\n')).toContain('\u001B[32m');
  expect(view({}, { colour: true }).map((line) => clean(line).trim())).toEqual(view().map((line) => clean(line)));
});

test('the line for a pipe', () => {
  expect(monitorLine(document(LATER), document())).toBe(
    '2023-11-14T22:13:22.000Z  ok  p95 45.0 ms  15.0 results/s  2 sessions  0 dropped  cpu 34 %  memory 512 MiB  ' +
      'event loop p99 1.50 ms  2 topics  210 msg/s in  1,200 msg/s out',
  );
});

test('whatever a server says, and however small the window: it fits', () => {
  /** `METRICS` or `HEALTH` with some of their values replaced by others. */
  const bent = (value: unknown): fc.Arbitrary<unknown> => {
    const other = { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 2 }) };
    if (Array.isArray(value)) {
      const items = fc.tuple(...value.map(bent)).chain((all) => fc.constantFrom(all, [...all, ...all], []));
      return fc.oneof(other, { weight: 9, arbitrary: items });
    }
    if (typeof value === 'object' && value !== null) {
      const fields = Object.fromEntries(Object.entries(value).map(([key, of]) => [key, bent(of)]));
      return fc.oneof(other, { weight: 19, arbitrary: fc.record(fields) });
    }
    const odd = typeof value === 'number' ? fc.constantFrom(-1, 0, 1e300, 0.1) : fc.string({ unit: 'binary' });
    return fc.oneof(other, { weight: 3, arbitrary: odd }, { weight: 20, arbitrary: fc.constant(value) });
  };
  const documents = fc
    .tuple(bent({ ...HEALTH, issues: [{ code: 'A', message: 'b' }] }), bent(METRICS))
    .map(([health, metrics]) => readDocument(health, metrics));
  const size = { columns: fc.integer({ min: 1, max: 200 }), rows: fc.integer({ min: 1, max: 60 }) };
  // A message with two spaces, in a window of one column.
  const spaced = readDocument({ ...HEALTH, issues: [{ code: 'A', message: 'b  c' }] }, METRICS);
  fc.assert(
    fc.property(documents, documents, fc.record(size), (now, before, { columns, rows }) => {
      const lines = view({ now, before }, { columns, rows });
      expect(lines.length).toBeLessThanOrEqual(rows);
      for (const line of lines) {
        expect(widthOf(line)).toBeLessThanOrEqual(Math.max(1, columns - 1));
        expect(line).toMatch(/^[^\p{C}]*$/u);
      }
      if (now) expect(monitorLine(now, before)).toMatch(/^[^\p{C}]*$/u);
    }),
    { examples: [[spaced, undefined, { columns: 1, rows: 1 }]] },
  );
});
