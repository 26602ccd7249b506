import { createHash } from 'node:crypto';
import { createServer, type Server, type Socket } from 'node:net';

/**
 * The control's place of the server: takes every connection, answers handshakes and requests as far as attacks wait for it, and then
 * reads and discards. What an attack costs beside it is what the attacker itself costs.
 */

const HEAD_BYTES_MAX = 65_536;
const HEAD_END = '\r\n\r\n';
/** RFC 6455 §4.2.2. */
const ACCEPT_SALT = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
const TEXT_FRAME = 0x81;
const NO_CONTENT = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}';
const EVENTS = 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n';

/** What a client of each lane waits for first. */
const WELCOME = JSON.stringify({ type: 'welcome', client_id: 'sink', token: 'sink', resumed: false });
const SERVER_INFO = JSON.stringify({ op: 'serverInfo', name: 'sink', capabilities: [], sessionId: 'sink' });

export function openSink(): Server {
  return createServer({ allowHalfOpen: true }, take);
}

function take(socket: Socket): void {
  let head = '';
  const onData = (bytes: Buffer): void => {
    head += bytes.toString('latin1');
    if (head.length < HEAD_BYTES_MAX && !head.includes(HEAD_END)) return;
    socket.off('data', onData);
    socket.resume();
    socket.write(answerTo(head));
    head = '';
  };
  socket.on('data', onData);
  socket.on('error', () => undefined);
  socket.on('end', () => socket.end());
}

function answerTo(head: string): string | Buffer {
  const path = /^GET (\S+)/.exec(head)?.[1] ?? '';
  const key = headerOf(head, 'sec-websocket-key');
  if (key === undefined) return path.startsWith('/stream/events') ? EVENTS : NO_CONTENT;
  const protocol = headerOf(head, 'sec-websocket-protocol')?.split(',')[0];
  const lines = [
    'HTTP/1.1 101 Switching Protocols',
    'Upgrade: websocket',
    'Connection: Upgrade',
    `Sec-WebSocket-Accept: ${createHash('sha1')
      .update(key + ACCEPT_SALT)
      .digest('base64')}`,
    ...(protocol === undefined ? [] : [`Sec-WebSocket-Protocol: ${protocol}`]),
  ];
  const text = Buffer.from(path.startsWith('/ws/foxglove') ? SERVER_INFO : WELCOME);
  return Buffer.concat([Buffer.from(lines.join('\r\n') + HEAD_END), Buffer.of(TEXT_FRAME, text.length), text]);
}

function headerOf(head: string, name: string): string | undefined {
  return new RegExp(`^${name}: *(.*?)\\r$`, 'im').exec(head)?.[1];
}
