import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { systemClock } from '../base/clock.ts';
import { loadConfig } from '../config/load.ts';
import type { CliContext } from './context.ts';
import { main } from './main.ts';
import { monitor, type MonitorFlags } from './monitor-run.ts';
import type { Terminal, TerminalListener } from './monitor-terminal.ts';
import { serverUrl } from './monitor.ts';

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

/** A server that says what a test wants, and can be away for a while. */
class FakeServer {
  readonly requests: IncomingMessage[] = [];
  answer: Answer = wellAnswer;
  #server: Server | undefined;
  #port = 0;

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  async start(): Promise<void> {
    this.#server = createServer((request, response) => {
      this.requests.push(request);
      this.answer(request, response);
    });
    this.#server.listen(this.#port, '127.0.0.1');
    await once(this.#server, 'listening');
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    this.#server = undefined;
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  }
}

const HEALTH = { status: 'ok', issues: [], version: '1.2.3', uptime_s: 60 };
let results = 0;

function wellAnswer({ url }: IncomingMessage, response: ServerResponse): void {
  if (url === '/health') response.end(JSON.stringify(HEALTH));
  else if (url === '/api/performance/metrics') {
    const sessions = [{ client_id: 'cam-a', connected: true, accounts: { results: (results += 10) } }];
    response.end(JSON.stringify({ time: Date.now(), sessions }));
  } else response.writeHead(404).end('nothing here');
}

/** A window that keeps what was drawn in it. */
class FakeTerminal implements Terminal {
  readonly columns = 80;
  readonly rows = 24;
  readonly colour = false;
  readonly canRedraw: boolean;
  listener: TerminalListener | undefined;
  frames: string[] = [];
  isClosed = false;
  /** Called with every frame. */
  onDraw: () => void = () => {};

  constructor(canRedraw = true) {
    this.canRedraw = canRedraw;
  }

  open(listener: TerminalListener): void {
    this.listener = listener;
  }

  draw(lines: readonly string[]): void {
    this.frames.push(lines.join('\n'));
    this.onDraw();
  }

  close(): void {
    this.isClosed = true;
  }

  /** The first frame from now on that holds these words; the test's own timeout ends it. */
  async shows(words: string | RegExp): Promise<string> {
    return await new Promise((resolve) => {
      this.onDraw = () => {
        const frame = this.frames.at(-1)!;
        if (frame.search(words) >= 0) resolve(frame);
      };
    });
  }
}

let server: FakeServer;
let leave: AbortController;
let out: string[];
beforeEach(async () => {
  server = new FakeServer();
  await server.start();
  leave = new AbortController();
  out = [];
});
afterEach(async () => {
  leave.abort();
  await server.stop();
});

function context(overrides: Partial<CliContext> = {}): CliContext {
  return {
    env: {},
    cwd: '/',
    out: (line) => void out.push(line),
    text: (line) => (overrides.out ?? ((one) => void out.push(one)))(line),
    err: () => {},
    logLine: () => true,
    isTerminal: false,
    isOutputTerminal: false,
    signal: leave.signal,
    onHangup: () => undefined,
    newPassword: async () => '',
    exitWith: () => undefined,
    endNow: () => undefined,
    config: () => loadConfig({ env: { HOME: '/home/somebody' } }),
    ...overrides,
  };
}

function run(flags: Partial<MonitorFlags>, terminal = new FakeTerminal(false), overrides: Partial<CliContext> = {}) {
  return monitor({ url: serverUrl(server.url), interval: 0.02, ...flags }, context(overrides), {
    clock: systemClock,
    terminal,
  });
}

describe('a window', () => {
  let terminal: FakeTerminal;
  beforeEach(() => void (terminal = new FakeTerminal()));

  test('shows the server, that it has gone, and that it is back', async () => {
    const shown = terminal.shows('cam-a');
    const ended = run({}, terminal);
    expect(await shown).toContain(`1.2.3 · ${server.url}`);
    expect(terminal.frames[0]).toContain('asking');
    await terminal.shows('results/s');

    await server.stop();
    const gone = await terminal.shows('no answer for');
    expect(gone).toContain('ECONNREFUSED');
    expect(gone).toContain('cam-a');

    await server.start();
    await terminal.shows(/status +ok/);
    terminal.listener!.onKey('q');
    await ended;
    expect(terminal.isClosed).toBe(true);
  });

  test('waits for a server that is not there yet', async () => {
    await server.stop();
    const shown = terminal.shows('no answer for 0:00');
    const ended = run({}, terminal);
    await shown;
    await server.start();
    await terminal.shows('cam-a');
    leave.abort();
    await ended;
    expect(terminal.isClosed).toBe(true);
  });

  test('asks nothing while it is paused, and at once afterwards', async () => {
    const shown = terminal.shows('cam-a');
    const ended = run({ interval: 3_600 }, terminal);
    await shown;
    expect(server.requests).toHaveLength(2);
    terminal.listener!.onKey('p');
    expect(terminal.frames.at(-1)).toContain('paused');
    terminal.listener!.onResize();
    expect(terminal.frames.at(-1)).toContain('paused');
    expect(server.requests).toHaveLength(2);
    const again = terminal.shows('results/s');
    terminal.listener!.onKey('p');
    await again;
    expect(server.requests).toHaveLength(4);
    terminal.listener!.onKey('\u0003');
    await ended;
  });

  test('can be left while the server does not answer', async () => {
    const asked = new Promise<void>((done) => (server.answer = () => done()));
    const ended = run({}, terminal);
    await asked;
    terminal.listener!.onKey('Q');
    await ended;
    expect(terminal.isClosed).toBe(true);
  });

  test('that has gone ends it', async () => {
    const shown = terminal.shows('cam-a');
    const ended = run({}, terminal);
    await shown;
    terminal.listener!.onGone();
    await ended;
    expect(terminal.isClosed).toBe(true);
  });

  test.each([
    ['a reading', 0.02, 'results/s', () => {}],
    // No other picture is due that could fail as well.
    ['a change of size', 3_600, 'cam-a', (terminal: FakeTerminal) => terminal.listener!.onResize()],
  ])('is given back when drawing fails after %s', async (_, interval, words, provoke) => {
    const shown = terminal.shows(words);
    const ended = run({ interval }, terminal);
    await shown;
    terminal.onDraw = () => {
      throw new TypeError('broken on purpose');
    };
    provoke(terminal);
    await expect(ended).rejects.toThrow('broken on purpose');
    expect(terminal.isClosed).toBe(true);
  });

  test('tells a refusal in the words of the server, and goes on', async () => {
    server.answer = (_, response) =>
      response.writeHead(500).end('{"error":{"code":"INTERNAL","message":"on \\u001b[31mfire"}}');
    const shown = terminal.shows('/health: on fire');
    const ended = run({}, terminal);
    expect(await shown).toContain('no answer for 0:00, trying again');
    server.answer = wellAnswer;
    expect(await terminal.shows('cam-a')).not.toContain('fire');
    terminal.listener!.onKey('q');
    await ended;
  });
});

describe('a pipe', () => {
  test('gets a line at every interval, until the signal', async () => {
    await run({}, undefined, {
      out: (line) => {
        out.push(line);
        if (out.length === 3) leave.abort();
      },
    });
    expect(out).toHaveLength(3);
    expect(out[0]).toMatch(/^\d{4}-.*Z {2}ok {2}1 session$/);
    expect(out[1]).toMatch(/ {2}ok {2}[\d.,]+ results\/s {2}1 session$/);
  });

  test('--json gets both documents as they were sent', async () => {
    const health = { ...HEALTH, more: ['\u009B31m', null] };
    server.answer = (request, response) =>
      request.url === '/health' ? response.end(JSON.stringify(health)) : wellAnswer(request, response);
    await run({ json: true, once: true });
    expect(out).toHaveLength(1);
    expect(JSON.parse(out[0]!)).toEqual({
      health,
      metrics: { time: expect.any(Number), sessions: [expect.objectContaining({ client_id: 'cam-a' })] },
    });
    expect(out[0]).not.toContain('\u009B');
  });

  test('--once gets one view, with rates', async () => {
    await run({ once: true });
    expect(server.requests).toHaveLength(4);
    expect(out[0]).toBe(`sightline  1.2.3 · ${server.url}`);
    expect(out.join('\n')).toMatch(/results\/s.*\ncam-a/);
  });

  test.each([[{ once: true }], [{ once: true, json: true }]])(
    '%j that a signal stopped has not done its work',
    async (flags) => {
      server.answer = () => leave.abort();
      await expect(run(flags)).rejects.toThrow('aborted');
      expect(out).toEqual([]);
    },
  );

  test.each([[{}], [{ json: true }]])('%j ends when the server goes away', async (flags) => {
    const ended = run(flags, undefined, { out: () => void server.stop() });
    await expect(ended).rejects.toMatchObject({ code: 'CONNECTION_LOST' });
    await expect(ended).rejects.toThrow(/^the server has gone: http/);
  });

  const no = (status: number, text: string): Answer => {
    return (_, response) => void response.writeHead(status).end(text);
  };
  test.each<[string, Answer, string, RegExp]>([
    [
      'a refusal',
      no(403, '{"error":{"code":"HOST_FORBIDDEN","message":"not\\u0007 you"}}'),
      'HOST_FORBIDDEN',
      /: not you$/,
    ],
    ['an unknown refusal', no(400, '{"error":{"code":"toString","message":"x"}}'), 'CONNECTION_FAILED', /status 400$/],
    ['no page', no(404, '<html>'), 'CONNECTION_FAILED', /health: it answers with HTTP status 404$/],
    ['a page', no(200, '<html>'), 'CONNECTION_FAILED', /health: the answer is not JSON$/],
    ['null', no(500, 'null'), 'CONNECTION_FAILED', /status 500$/],
    ['another server', no(200, '{"status":200}'), 'CONNECTION_FAILED', /the answer is not from a Sightline server$/],
    ['a cut answer', (_, response) => void response.destroy(), 'CONNECTION_FAILED', /health: |metrics: /],
  ])('%s is an error', async (_, answer, code, message) => {
    server.answer = answer;
    const ended = run({ once: true });
    await expect(ended).rejects.toMatchObject({ code });
    await expect(ended).rejects.toThrow(message);
    expect(out).toEqual([]);
  });

  test('an endless answer is not taken', async () => {
    const mebibyte = Buffer.alloc(2 ** 20, ' ');
    server.answer = (_, response) => {
      const more = (): void => {
        while (!response.destroyed && response.write(mebibyte));
      };
      response.on('drain', more);
      more();
    };
    await expect(run({ once: true })).rejects.toThrow(/larger than 67108864 bytes$/);
  });
});

describe('the address', () => {
  test('is that of the configuration', async () => {
    const { port } = new URL(server.url);
    for (const host of ['127.0.0.1', '0.0.0.0']) {
      const config = () => {
        const all = loadConfig({ env: { HOME: '/h' }, flags: { 'server.port': port } });
        return { ...all, server: { ...all.server, host } };
      };
      await monitor({ interval: 0.1, json: true, once: true }, context({ config }));
    }
    expect(out).toHaveLength(2);
  });

  test('a port that is only known to the server has to be said', async () => {
    const config = () => loadConfig({ env: { HOME: '/h' }, flags: { 'server.port': 0 } });
    await expect(monitor({ interval: 1 }, context({ config }))).rejects.toMatchObject({ code: 'USAGE' });
  });

  test('credentials go into a header, and are not shown', async () => {
    const url = serverUrl(server.url.replace('//', '//me:s%40cret@'));
    await run({ url, once: true });
    expect(server.requests[0]!.headers.authorization).toBe(`Basic ${btoa('me:s@cret')}`);
    expect(out.join('\n')).not.toContain('cret');
    await server.stop();
    await expect(run({ url, once: true })).rejects.toThrow(/^http:\/\/127\.0\.0\.1:\d+\/health: /);
  });

  test.each([
    ['http://rover:8080', 'http://rover:8080/'],
    ['https://rover/cameras/', 'https://rover/cameras/'],
    ['http://rover/rover.html?a=b', 'http://rover/'],
    ['ws://rover:8080/ws/video', 'http://rover:8080/'],
    ['wss://rover/ws/telemetry', 'https://rover/'],
    ['https://rover/cameras?a=b', 'https://rover/cameras/'],
    ['https://rover/cameras/rover.html', 'https://rover/cameras/'],
    ['ws://rover:8080', 'http://rover:8080/'],
    ['wss://rover/cameras', 'https://rover/cameras/'],
    ['wss://rover/cameras/stream/detection', 'https://rover/cameras/'],
  ])('%s leads to %s', (given, folder) => expect(serverUrl(given).href).toBe(folder));
});

describe('the words', () => {
  test.each([
    ['monitor --url rover', "argument 'rover' is invalid. It is not the address of a server"],
    ['monitor --url ftp://rover', 'It begins with neither http:'],
    ['monitor --interval 0', 'It must be a number of seconds from 0.1 to 3600.'],
    ['monitor --interval soon', "argument 'soon' is invalid"],
    ['monitor --interval', 'argument missing'],
    ['monitor rover', "too many arguments for 'monitor'"],
    ['monitr', 'Did you mean monitor?'],
  ])('%s is a mistake of usage', async (words, message) => {
    const err: string[] = [];
    const code = await main(words.split(' '), context({ err: (line) => void err.push(line) }));
    expect(code).toBe(64);
    expect(out).toEqual([]);
    expect(err).toHaveLength(1);
    expect(err[0]).toContain(message);
  });
});
