import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { stripVTControlCharacters } from 'node:util';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readDocument } from '../../src/cli/monitor-document.ts';
import { photograph } from '../support/pictures.ts';
import { ServerProcess } from '../support/server-process.ts';
import { SocketClient } from '../support/socket-client.ts';
import { TelemetryTestClient } from '../support/telemetry-client.ts';

const COMMAND = fileURLToPath(new URL('../../bin/sightline.js', import.meta.url));
/** Runs a command in a terminal of its own (util-linux); elsewhere these tests are skipped. */
const SCRIPT = '/usr/bin/script';
const hasTerminal = process.platform === 'linux' && existsSync(SCRIPT);

function start(...words: string[]): ChildProcess {
  return spawn(process.execPath, [COMMAND, 'monitor', ...words], { stdio: ['ignore', 'pipe', 'pipe'] });
}

async function run(...words: string[]): Promise<{ code: number | null; out: string; err: string }> {
  const child = start(...words);
  const [out, err, [code]] = await Promise.all([text(child.stdout!), text(child.stderr!), once(child, 'exit')]);
  return { code: code as number | null, out, err };
}

/** The command in a terminal: what it has written, and how it ended. */
class TerminalRun implements AsyncDisposable {
  readonly #child: ChildProcess;
  #written = '';
  #wake: (() => void)[] = [];
  readonly ended: Promise<unknown>;

  constructor(
    size: { readonly columns: number; readonly rows: number },
    env: Record<string, string>,
    ...words: string[]
  ) {
    const monitor = [process.execPath, COMMAND, 'monitor', ...words].map((word) => `'${word}'`).join(' ');
    const shell = [
      `stty cols ${size.columns} rows ${size.rows}`,
      `sh -c "echo pid \\$\\$; exec ${monitor}"`,
      'echo "code $?"',
      'stty -a',
    ].join('; ');
    this.#child = spawn(SCRIPT, ['-qec', shell, '/dev/null'], {
      stdio: ['pipe', 'pipe', 'inherit'],
      // A terminal's own: NO_COLOR, FORCE_COLOR or CI around the tests would decide over its colours.
      env: { PATH: process.env['PATH'], HOME: process.env['HOME'], TERM: 'xterm-256color', ...env },
    });
    this.#child.stdout!.on('data', (chunk: Buffer) => {
      this.#written += chunk.toString();
      for (const wake of this.#wake.splice(0)) wake();
    });
    this.ended = once(this.#child, 'exit');
  }

  get written(): string {
    return this.#written;
  }

  get pid(): number {
    return Number(/pid (\d+)/.exec(this.#written)![1]);
  }

  /** The newest whole picture. */
  get lines(): string[] {
    const frame = this.#written.split('\u001B[?2026l').at(-2)?.split('\u001B[?2026h').at(-1) ?? '';
    return stripVTControlCharacters(frame).split(/[\r\n]+/);
  }

  press(key: string): void {
    this.#child.stdin!.write(key);
  }

  /** Waits for a condition on what is shown; the test's own timeout ends it. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#wake.push(resolve));
  }

  /** Of a test that failed half-way. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.ended;
  }
}

let server: ServerProcess;
let camera: SocketClient;
let publisher: TelemetryTestClient;
let timer: NodeJS.Timeout;
beforeAll(async () => {
  const car = await photograph('car2.jpg');
  server = await ServerProcess.start();
  camera = await SocketClient.open(server.ws('/ws/video?client_id=front-camera'));
  publisher = await TelemetryTestClient.open(server.ws('/ws/telemetry'));
  let n = 0;
  let tick = 0;
  timer = setInterval(() => {
    // One frame at a time, whatever the machine can do, and no more of them than a view needs.
    if (tick++ % 5 === 0 && camera.answers().length === n) {
      camera.send(car);
      n++;
    }
    publisher.send({ type: 'publish', topic: 'site/gate', data: { n } });
  }, 50);
  await camera.until(() => camera.of('result').length >= 3);
});
afterAll(async () => {
  clearInterval(timer);
  camera?.socket.terminate();
  publisher?.socket.terminate();
  await server?.stop();
});

describe('piped', () => {
  test('--json: both documents, in which everything is found that the view shows', async () => {
    const { code, out, err } = await run('--url', server.url, '--json', '--once');
    expect({ code, err }).toEqual({ code: 0, err: '' });
    const { health, metrics } = JSON.parse(out) as { health: object; metrics: object };
    const number = expect.any(Number) as number;
    const latency = { count: number, p50_ms: number, p95_ms: number, p99_ms: number };
    expect(readDocument(health, metrics)).toMatchObject({
      health: { status: expect.any(String), issues: expect.any(Array), version: expect.any(String), uptime_s: number },
      metrics: {
        time: number,
        latency: {
          recent: { stages: { queue: latency, inference: latency, total: latency }, bottlenecks: { queue: number } },
        },
        event_loop_delay: { p50_ms: number, p99_ms: number, max_ms: number },
        process: {
          uptime_s: number,
          cpu_percent: number,
          rss_bytes: number,
          heap_used_bytes: number,
          heap_total_bytes: number,
          heap_resident_bytes: number,
        },
        connections: { open: 2, max: number },
        streams: number,
        callback_faults: 0,
        sessions: [
          {
            client_id: 'front-camera',
            pipeline: 'objects',
            model: expect.any(String),
            connected: true,
            age_s: number,
            accounts: { results: number, errors: 0, dropped: { stale: number }, queued: number, in_flight: number },
          },
        ],
        engine: {
          workerSlots: number,
          workers: number,
          busy: number,
          backlog: number,
          restarts: number,
          completed: number,
          failed: number,
          models: [{ id: expect.any(String), providers: { effective: 'cpu' } }],
        },
        telemetry: {
          sessions: [{ connected: true, accounts: { delivered: number, dropped: { overflow: 0 }, queued: number } }],
          topics: [
            { stats: { topic: 'site/gate', epoch: number, published: number, published_bytes: number, readers: 0 } },
          ],
          history_bytes: number,
        },
        foxglove: [],
      },
    });
  });

  test('--once: a view with rates', async () => {
    const { code, out, err } = await run('--url', server.ws('/ws/video'), '--once', '--interval', '0.7');
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(out).toContain(`sightline  0.`);
    expect(out).toContain(server.url);
    expect(out).toMatch(/^total +\d+\.\d+ +\d+\.\d+ +\d+\.\d+ +[█░]+!?$/m);
    expect(out).toMatch(/^bottleneck [a-z]+ \d+ %/m);
    expect(out).toMatch(/^front-camera +objects +on +\d+(\.\d)? /m);
    expect(out).toMatch(/^site\/gate +\d+\.\d /m);
    expect(out).not.toContain('\u001B');
  });

  test('a line at every interval, until its server goes away', async () => {
    await using own = await ServerProcess.start();
    const child = start('--url', own.url, '--interval', '0.1');
    const err = text(child.stderr!);
    let out = '';
    for await (const chunk of child.stdout!) {
      out += String(chunk);
      if (out.split('\n').length > 3) await own.stop();
    }
    expect(out).toMatch(/^(\d{4}-\S+Z {2}(ok|degraded|starting).* {2}0 sessions .* {2}event loop p99 \d.*\n){3,}$/);
    expect(await err).toMatch(/^sightline: the server has gone: http.* \(CONNECTION_LOST\)\n$/);
    expect(child.exitCode ?? (await once(child, 'exit'))[0]).toBe(69);
    expect(await run('--url', own.url)).toMatchObject({
      code: 69,
      out: '',
      err: expect.stringContaining('CONNECTION_FAILED'),
    });
  });
});

describe.skipIf(!hasTerminal)('in a terminal', () => {
  /** A terminal that was given back is in its own lines again, with a cursor, and shows what is typed. */
  function expectGivenBack(run: TerminalRun): void {
    expect(run.written).toContain('\u001B[?7h\u001B[?25h\u001B[?1049lcode 0');
    expect(run.written.split('code 0')[1]).toMatch(/ icanon/);
    expect(run.written.split('code 0')[1]).toMatch(/ echo /);
  }

  test.each([
    [80, 24],
    [40, 20],
    [160, 50],
  ])('%d × %d: draws in place within the window', async (columns, rows) => {
    await using run = new TerminalRun({ columns, rows }, {}, '--url', server.url, '--interval', '0.2');
    await run.until(
      () => run.lines.some((line) => line.startsWith('front-camera')) && run.lines.join(' ').includes('msg/s in'),
    );
    const { lines } = run;
    expect(lines.length).toBeLessThanOrEqual(rows);
    expect(Math.max(...lines.map((line) => line.length))).toBeLessThan(columns);
    expect(lines[0]).toContain(server.url);
    // Nothing scrolls and nothing is wiped: the picture before is drawn over.
    expect(run.written).not.toContain('\u001B[2J');
    expect(run.written).toContain('\u001B[1m');
    run.press('q');
    await run.ended;
    expectGivenBack(run);
  });

  test('pauses, and ends with Ctrl+C, which comes as a key; NO_COLOR is heeded', async () => {
    await using run = new TerminalRun(
      { columns: 80, rows: 24 },
      { NO_COLOR: '1' },
      '--url',
      server.url,
      '--interval',
      '0.1',
    );
    await run.until(() => run.lines.some((line) => line.startsWith('front-camera')));
    run.press('p');
    await run.until(() => run.lines[1]!.startsWith('status     paused'));
    run.press('\u0003');
    await run.ended;
    expectGivenBack(run);
    expect(run.written).not.toContain('\u001B[1m');
  });

  test('SIGTERM gives the terminal back', async () => {
    await using run = new TerminalRun({ columns: 80, rows: 24 }, {}, '--url', server.url);
    await run.until(() => run.lines.some((line) => line.startsWith('front-camera')));
    process.kill(run.pid, 'SIGTERM');
    await run.ended;
    expectGivenBack(run);
  });

  test('a terminal that can do nothing gets lines', async () => {
    await using run = new TerminalRun(
      { columns: 80, rows: 24 },
      { TERM: 'dumb' },
      '--url',
      server.url,
      '--interval',
      '0.1',
    );
    await run.until(() => run.written.includes('results/s'));
    process.kill(run.pid, 'SIGTERM');
    await run.ended;
    expect(run.written).not.toContain('\u001B');
  });
});
