import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FF_ENCODER_MPEG4 } from 'node-av/constants';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { writeClip } from '../../../test/support/clips.ts';
import { sourceOf } from './open-source.ts';
import { withoutRedirects } from './rtsp-relay.ts';
import type { PacketSource } from './source.ts';

const SIZE = { width: 64, height: 48 };
const INPUT = {
  transport: 'tcp',
  loop: false,
  pace: 'live',
  allowedNetworks: [],
  openTimeoutMs: 10_000,
  stallTimeoutMs: 10_000,
  pixelsMax: 4_000_000,
  rateFpsMax: 200,
  masks: [],
} as const;

/** MPEG-4 Visual, which our own client does not read: its header, and its frames. */
let header: Buffer;
let frames: Buffer[];

beforeAll(async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sightline-relay-'));
  const path = join(folder, 'clip.m4v');
  await writeClip(path, { codec: FF_ENCODER_MPEG4, format: 'm4v', ...SIZE, frames: 25 });
  const bytes = await readFile(path);
  await rm(folder, { recursive: true });
  const begins: number[] = [];
  const mark = Buffer.of(0, 0, 1, 0xb6);
  for (let at = bytes.indexOf(mark); at >= 0; at = bytes.indexOf(mark, at + 4)) begins.push(at);
  header = bytes.subarray(0, begins[0]);
  frames = begins.map((begin, i) => bytes.subarray(begin, begins[i + 1]));
});

const sources: PacketSource[] = [];
afterAll(async () => {
  for (const source of sources) await source.close();
});

/** A server that answers its connections, counted from 0, as the test says. */
async function serve(
  onConnection: (socket: Socket, connection: number) => void,
): Promise<{ port: number; connections: () => number }> {
  let connections = 0;
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket.on('error', () => undefined));
    onConnection(socket, connections++);
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, connections: () => connections };
}

/** RTSP of MPEG-4; `redirect`: to be led there by the answer to this connection's description. */
function play(socket: Socket, redirect?: string): void {
  const sdp = [
    'v=0',
    'o=- 1 1 IN IP4 0.0.0.0',
    's=-',
    't=0 0',
    'm=video 0 RTP/AVP 96',
    'a=rtpmap:96 MP4V-ES/90000',
    `a=fmtp:96 profile-level-id=1;config=${header.toString('hex')}`,
    'a=control:track',
    '',
  ].join('\r\n');
  let rest = '';
  let timer: NodeJS.Timeout | undefined;
  socket.on('close', () => clearInterval(timer));
  const answer = (request: string): void => {
    const method = request.slice(0, request.indexOf(' '));
    const sequence = /cseq: *(\d+)/i.exec(request)![1];
    const say = (status: string, headers: readonly string[] = [], body = '') => {
      const length = body === '' ? [] : [`Content-Length: ${body.length}`];
      socket.write([`RTSP/1.0 ${status}`, `CSeq: ${sequence}`, ...headers, ...length, '', body].join('\r\n'));
    };
    if (method === 'DESCRIBE' && redirect !== undefined) return say('302 Found', [`Location: ${redirect}`]);
    if (method === 'DESCRIBE') return say('200 OK', ['Content-Type: application/sdp'], sdp);
    if (method === 'SETUP') return say('200 OK', ['Session: 1', 'Transport: RTP/AVP/TCP;unicast;interleaved=0-1']);
    say('200 OK', ['Session: 1', 'Public: OPTIONS, DESCRIBE, SETUP, PLAY']);
    if (method === 'PLAY') timer = setInterval(send, 20);
  };
  let sent = 0;
  const send = (): void => {
    const payload = frames[sent % frames.length]!;
    const packet = Buffer.alloc(16);
    packet.set([0x24, 0, (payload.length + 12) >> 8, (payload.length + 12) & 0xff, 0x80, 0x80 | 96]);
    packet.writeUInt16BE(sent & 0xffff, 6);
    packet.writeUInt32BE((sent * 3_600) >>> 0, 8);
    packet.writeUInt32BE(7, 12);
    sent++;
    socket.write(Buffer.concat([packet, payload]));
  };
  socket.on('data', (chunk: Buffer) => {
    // What FFmpeg reports of its receiving stands between.
    rest += chunk.toString('latin1');
    for (let end = rest.indexOf('\r\n\r\n'); end >= 0; end = rest.indexOf('\r\n\r\n')) {
      const begin = rest.search(/[A-Z_]+ rtsp/);
      const request = rest.slice(Math.max(0, begin), end);
      rest = rest.slice(end + 4);
      answer(request);
    }
  });
}

function sourceAt(port: number): PacketSource {
  const source = sourceOf({ ...INPUT, url: `rtsp://me:sekret@127.0.0.1:${port}/live?channel=1` });
  sources.push(source);
  return source;
}

test('a codec that is not ours comes over the relay', { timeout: 30_000 }, async () => {
  const camera = await serve((socket) => play(socket));
  const source = sourceAt(camera.port);
  expect(await source.open()).toMatchObject({ format: 'rtsp', codec: 'mpeg4', ...SIZE });
  const packets = [await source.read(), await source.read(), await source.read()];
  expect(packets.every((packet) => packet !== undefined && packet.bytes.length > 0)).toBe(true);
  // Ours, and that of the relay.
  expect(camera.connections()).toBe(2);
});

test(
  'a camera that leads only its second client elsewhere is refused, and nobody is called there',
  { timeout: 30_000 },
  async () => {
    const victim = await serve((socket) => play(socket));
    const camera = await serve((socket, connection) =>
      play(socket, connection === 0 ? undefined : `rtsp://127.0.0.1:${victim.port}/secret`),
    );
    await expect(sourceAt(camera.port).open()).rejects.toMatchObject({ code: 'CAMERA_FORBIDDEN' });
    expect([camera.connections(), victim.connections()]).toEqual([2, 0]);
  },
);

test('one that does not answer the second time says why', { timeout: 30_000 }, async () => {
  const camera = await serve((socket, connection) =>
    connection === 0 ? play(socket) : socket.end('SSH-2.0-x\r\n\r\n'),
  );
  await expect(sourceAt(camera.port).open()).rejects.toMatchObject({ code: 'CAMERA_FORMAT' });
});

test('what a camera says is put together anew: nothing in it is an answer that was none', async () => {
  const said = [
    'RTSP/1.0 200 OK\r\nCSeq: 3\r\nLocation: rtsp://10.0.0.1/\r\nX: a\n\nRTSP/1.0 302 Found\nLocation: rtsp://10.0.0.1/\r\n',
    'Content-Type: application/sdp\r\nContent-Length: 4\r\n\r\nv=0\n$\u0000\u0000\u0003abc',
    'OPTIONS rtsp://x/ RTSP/1.0\r\nCSeq: 9\r\n\r\n',
  ].join('');
  const chunks = async function* () {
    for (const byte of Buffer.from(said, 'latin1')) yield Buffer.of(byte);
  };
  const passed: string[] = [];
  for await (const part of withoutRedirects(chunks())) passed.push(part.toString('latin1'));
  expect(passed).toEqual([
    'RTSP/1.0 200 OK\r\nCSeq: 3\r\ncontent-type: application/sdp\r\nContent-Length: 4\r\n\r\nv=0\n',
    '$\u0000\u0000\u0003abc',
  ]);
});
