import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { request, type RequestOptions } from 'node:https';
import { connect as connectPlain, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { collectingLog } from '../../test/support/log.ts';
import {
  AUTHORITY,
  BIG_BYTES,
  LOCAL,
  openTlsServer,
  TestCertificates,
  type TlsServerChanges,
} from '../../test/support/tls-server.ts';
import { ManualClock } from '../base/clock.ts';
import type { Identity } from '../tls/identity.ts';
import { SOCKETS_PER_ADDRESS } from './listeners.ts';
import type { HttpServer } from './server.ts';

/** The server's sockets by TLS, with real connections. */

let told = collectingLog();
let server: HttpServer;
let certificates: TestCertificates;
let sockets: Socket[];

async function start(changes: TlsServerChanges = {}): Promise<void> {
  server = await openTlsServer(certificates, told.log, changes);
}

beforeEach(() => {
  told = collectingLog();
  certificates = new TestCertificates();
  sockets = [];
});
afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  await server.close();
});

const port = () => Number(new URL(server.url).port);

async function get(path: string, options: RequestOptions = {}) {
  const own = { host: '127.0.0.1', port: port(), path, ca: AUTHORITY.certificate, agent: false, ...options };
  const [response] = await once(request(own).end(), 'response');
  return { status: response.statusCode as number, headers: response.headers, text: await text(response) };
}

/** One without TLS. */
function dialPlain(bytes: string | Buffer = ''): { readonly socket: Socket; text: string; isClosed: boolean } {
  const socket = connectPlain(port(), '127.0.0.1');
  const dialled = { socket, text: '', isClosed: false };
  socket.on('error', () => {});
  socket.on('data', (data) => (dialled.text += data.toString('latin1')));
  socket.on('close', () => (dialled.isClosed = true));
  if (bytes !== '') socket.write(bytes);
  sockets.push(socket);
  return dialled;
}

async function dial(options: ConnectionOptions = {}): Promise<TLSSocket> {
  const socket = connect({ host: '127.0.0.1', port: port(), ca: AUTHORITY.certificate, ...options });
  sockets.push(socket);
  await once(socket, 'secureConnect');
  return socket;
}

const serial = ({ certificate }: Identity) => new X509Certificate(certificate).serialNumber;
const serialOf = (socket: TLSSocket) => socket.getPeerCertificate().serialNumber;
const report = () => server.socketsReport();
const causes = () =>
  told.entries.filter(({ event }) => event === 'handshake_failed').map(({ fields }) => fields['cause']);

describe('requests', () => {
  test('are answered, and are secure', async () => {
    await start();
    expect(server.url).toMatch(/^https:/);
    const { status, text: body, headers } = await get('/secure');
    expect([status, body]).toEqual([200, 'true']);
    expect(headers['strict-transport-security']).toBeUndefined();
    await expect.poll(() => report().ended.closed).toBe(1);
    expect(report()).toMatchObject({ accepted: 1, open: { waiting: 0, request: 0 } });
    const { received_bytes: received, sent_bytes: sent } = server.traffic;
    // A handshake is more than the request and its answer.
    expect(received).toBeGreaterThan(300);
    expect(sent).toBeGreaterThan(800);
  });

  test('browsers are told to use TLS alone where the settings say so', async () => {
    await start({ hstsS: 3_600 });
    expect((await get('/secure')).headers['strict-transport-security']).toBe('max-age=3600');
    expect((await get('/nowhere')).headers['strict-transport-security']).toBe('max-age=3600');
  });

  test.each([
    ['the page itself', () => `https://127.0.0.1:${port()}`, 200],
    ['a page that did not come by TLS', () => `http://127.0.0.1:${port()}`, 403],
    ['another one', () => 'https://evil.example', 403],
  ])('of %s', async (_, origin, status) => {
    await start();
    expect((await get('/secure', { headers: { Origin: origin() } })).status).toBe(status);
  });

  test('the default port may be left out on either side', async () => {
    await start();
    const headers = { Host: '127.0.0.1:443', Origin: 'https://127.0.0.1' };
    expect((await get('/secure', { headers })).status).toBe(200);
  });

  test('a proxy that is trusted says what its client speaks', async () => {
    await start({ trustedProxies: LOCAL });
    expect((await get('/secure', { headers: { 'X-Forwarded-Proto': 'http' } })).text).toBe('false');
    expect((await get('/secure')).text).toBe('true');
  });

  test('a client that reads slowly, and does read, gets a large answer whole', async () => {
    await start({ unreadTimeoutMs: 1_000 });
    const socket = await dial();
    socket.on('error', () => {});
    let bytes = 0;
    socket.on('data', (data) => {
      bytes += data.length;
      socket.pause();
      setTimeout(() => socket.resume(), 1);
    });
    socket.write('GET /big HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n');
    await expect.poll(() => bytes, { timeout: 30_000 }).toBeGreaterThan(BIG_BYTES);
    expect(report().ended.unread).toBe(0);
  }, 30_000);

  test('a client that reads nothing is cut', async () => {
    await start({ unreadTimeoutMs: 100 });
    const socket = await dial();
    socket.on('error', () => {});
    socket.pause();
    socket.write('GET /big HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n');
    await expect.poll(() => report().ended.unread).toBe(1);
    expect(report()).toMatchObject({ answer_bytes: 0, open: { request: 0 } });
  });
});

describe('WebSockets', () => {
  const open = (origin?: string) =>
    new WebSocket(`${server.url.replace('https', 'wss')}/ws`, {
      ca: AUTHORITY.certificate,
      ...(origin !== undefined && { origin }),
    });

  test('carry messages, also after the certificate has changed', async () => {
    await start();
    const socket = open(server.url);
    await once(socket, 'open');
    expect(report().open.websocket).toBe(1);
    certificates.replace();
    socket.send('still here');
    expect(String((await once(socket, 'message'))[0])).toBe('still here');
    socket.close();
    await expect.poll(() => report().ended.closed).toBe(1);
  });

  test('a page that did not come by TLS opens none', async () => {
    await start();
    const [error] = await once(open(server.url.replace('https', 'http')), 'error');
    expect(error.message).toContain('403');
  });
});

describe('the certificate changes', () => {
  test('new connections get the new one, on every socket of the port', async () => {
    await start();
    const before = serial(certificates.identity);
    expect(serialOf(await dial())).toBe(before);
    certificates.replace();
    const after = serial(certificates.identity);
    expect(after).not.toBe(before);
    // The system spreads them by a number of their addresses and ports.
    const seen = await Promise.all(Array.from({ length: 8 * SOCKETS_PER_ADDRESS }, () => dial()));
    expect(new Set(seen.map(serialOf))).toEqual(new Set([after]));
  });

  test.each(['TLSv1.2', 'TLSv1.3'] as const)(
    'a session of %s goes on with a later connection, on any socket of the port, but not by another certificate',
    async (version) => {
      await start();
      const first = connect({ host: '127.0.0.1', port: port(), ca: AUTHORITY.certificate, maxVersion: version });
      sockets.push(first);
      const [session] = (await once(first, 'session')) as [Buffer];
      expect(first.isSessionReused()).toBe(false);
      const later = await Promise.all(Array.from({ length: 16 }, () => dial({ session, maxVersion: version })));
      expect(later.map((socket) => socket.isSessionReused())).toEqual(Array.from({ length: 16 }, () => true));
      certificates.replace();
      const anew = await dial({ session, maxVersion: version });
      expect(anew.isSessionReused()).toBe(false);
      expect(serialOf(anew)).toBe(serial(certificates.identity));
    },
  );
});

describe('a handshake that fails', () => {
  test('HTTP without TLS: its client is told', async () => {
    await start();
    const plain = dialPlain('GET /secure HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n');
    await expect.poll(() => plain.isClosed).toBe(true);
    expect(plain.text).toMatch(/^HTTP\/1\.1 400 REQUEST_BAD\r\n[^]*its address begins with https:\/\//);
    expect(report()).toMatchObject({ handshakes_failed: { plain_http: 1 }, ended: { handshake_failed: 1 } });
    expect(causes()).toEqual(['plain_http']);
  });

  test('something else than TLS', async () => {
    await start();
    const garbage = dialPlain(Buffer.alloc(5_000, 0x5a));
    await expect.poll(() => garbage.isClosed).toBe(true);
    expect(garbage.text).toBe('');
    expect(report()).toMatchObject({ handshakes_failed: { protocol: 1 }, ended: { handshake_failed: 1 } });
  });

  test('an old version', async () => {
    await start();
    const old: ConnectionOptions = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' };
    await expect(dial(old)).rejects.toThrow(/version/);
    await expect.poll(() => report().handshakes_failed.protocol).toBe(1);
  });

  test('one that does not end: it has a time', async () => {
    await start({ headerTimeoutMs: 150 });
    // The beginning of a record of a handshake.
    const hanging = dialPlain(Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01]));
    await expect.poll(() => report().open.waiting).toBe(1);
    await expect.poll(() => hanging.isClosed).toBe(true);
    expect(report()).toMatchObject({ handshakes_failed: { timeout: 1 }, open: { waiting: 0 } });
  });

  test('one that does not begin is a silent connection, as without TLS', async () => {
    await start({ headerTimeoutMs: 100 });
    const silent = dialPlain();
    await expect.poll(() => silent.isClosed).toBe(true);
    expect(report()).toMatchObject({ ended: { silent: 1, handshake_failed: 0 } });
  });

  test('a client that goes away meanwhile; one that sends nothing is none', async () => {
    await start();
    const leaving = dialPlain(Buffer.from([0x16, 0x03, 0x01]));
    await expect.poll(() => report().open.waiting).toBe(1);
    leaving.socket.destroy();
    await expect.poll(() => report().handshakes_failed.ended).toBe(1);
    dialPlain().socket.end();
    await expect.poll(() => report().ended.closed).toBe(1);
    expect(report()).toMatchObject({ accepted: 2, handshakes_failed: { ended: 1 } });
  });

  test('many of one address: it is dropped for a while, and others are not', async () => {
    const clock = new ManualClock();
    await start({ clock, unbounded: [] });
    const ATTEMPTS = 80;
    for (let i = 0; i < ATTEMPTS; i++) {
      const garbage = dialPlain('not TLS\r\n');
      await expect.poll(() => garbage.isClosed, { interval: 2 }).toBe(true);
    }
    const failed = report().handshakes_failed.protocol;
    expect(failed).toBe(64);
    expect(report()).toMatchObject({ accepted: ATTEMPTS, refused: { handshakes: ATTEMPTS - failed } });
    await expect(get('/secure')).rejects.toThrow(/disconnected|ECONNRESET|hang up/);
    expect((await get('/secure', { localAddress: '127.0.0.9' })).status).toBe(200);
    clock.advance(1_000);
    expect((await get('/secure')).status).toBe(200);
  });
});
