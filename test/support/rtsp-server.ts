import { createSocket } from 'node:dgram';
import type { Socket as DatagramSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { seededRandom } from '../../src/base/random.ts';
import type { Random } from '../../src/base/random.ts';
import { RtspCamera } from './rtsp/camera.ts';
import type { RtspCameraOptions } from './rtsp/camera.ts';
import { INTERLEAVED_BYTES } from './rtsp/packets.ts';
import { RtspPlayer } from './rtsp/player.ts';
import type { PlayerLink } from './rtsp/player.ts';
import { challengeOf, isAllowed, RequestReader } from './rtsp/requests.ts';
import type { RtspRequest } from './rtsp/requests.ts';

export interface RtspServerOptions {
  /** By name: the path under which each is. */
  readonly cameras: Readonly<Record<string, RtspCameraOptions>>;
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** Default 0: any that is free. */
  readonly port?: number;
  /** Of phases, first timestamps, losses. Default 1. */
  readonly seed?: number;
}

/** What a client that does not read may make the server keep. */
const WAITING_BYTES_MAX = 4 * 2 ** 20;
const CONNECTIONS_MAX = 1000;
const SESSION_TIMEOUT_S = 60;

/** Cameras over RTSP 1.0 (RFC 2326, RFC 3550), interleaved over TCP or by UDP, each under a path of its own. What each does wrong is set on its `RtspCamera`. */
export class RtspServer implements AsyncDisposable {
  readonly #server: Server;
  readonly #udp: UdpPair;
  readonly #random: Random;
  readonly #cameras = new Map<string, RtspCamera>();
  readonly #connections = new Set<Connection>();
  readonly #host: string;

  private constructor(server: Server, udp: UdpPair, host: string, random: Random) {
    this.#server = server;
    this.#udp = udp;
    this.#host = host;
    this.#random = random;
    server.maxConnections = CONNECTIONS_MAX;
    server.on('connection', (socket) => this.#accept(socket));
  }

  static async open({ cameras, host = '127.0.0.1', port = 0, seed = 1 }: RtspServerOptions): Promise<RtspServer> {
    const server = createServer({ noDelay: true });
    const udp = await openUdpPair(host);
    const rtsp = new RtspServer(server, udp, host, seededRandom(seed));
    for (const [name, options] of Object.entries(cameras)) rtsp.add(name, options);
    try {
      server.listen(port, host);
      await once(server, 'listening');
    } catch (error) {
      udp.close();
      throw error;
    }
    return rtsp;
  }

  add(name: string, options: RtspCameraOptions): RtspCamera {
    const camera = new RtspCamera(name, options, this.#random);
    this.#cameras.set(name, camera);
    return camera;
  }

  camera(name: string): RtspCamera {
    const camera = this.#cameras.get(name);
    if (!camera) throw new Error(`there is no camera ${name}`);
    return camera;
  }

  /** `credentials`: `user:password`, to be put into the address. */
  url(camera: string, credentials?: string): string {
    return `rtsp://${credentials === undefined ? '' : `${credentials}@`}${this.#host}:${this.port}/${camera}`;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get connections(): number {
    return this.#connections.size;
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const connection of this.#connections) connection.close();
    this.#udp.close();
    await closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #accept(socket: Socket): void {
    const connection = new Connection(socket, this.#udp, this.#random, (url) => this.#cameraOf(url));
    this.#connections.add(connection);
    socket.on('close', () => this.#connections.delete(connection));
  }

  #cameraOf(url: string): RtspCamera | undefined {
    const [, name] = /^rtsp:\/\/[^/]+\/([^/?]+)/.exec(url) ?? [];
    return name === undefined ? undefined : this.#cameras.get(name);
  }
}

class Connection {
  readonly #socket: Socket;
  readonly #udp: UdpPair;
  readonly #random: Random;
  readonly #cameraOf: (url: string) => RtspCamera | undefined;
  readonly #reader = new RequestReader();
  readonly #nonce: string;
  readonly #session: string;
  #camera: RtspCamera | undefined;
  #player: RtspPlayer | undefined;

  constructor(socket: Socket, udp: UdpPair, random: Random, cameraOf: (url: string) => RtspCamera | undefined) {
    this.#socket = socket;
    this.#udp = udp;
    this.#random = random;
    this.#cameraOf = cameraOf;
    this.#nonce = Math.floor(random() * 2 ** 48).toString(16);
    this.#session = Math.floor(random() * 2 ** 32).toString(16);
    socket.on('data', (bytes) => this.#take(bytes));
    socket.on('close', () => this.#stop());
    // It closes as well.
    socket.on('error', () => undefined);
  }

  close(): void {
    this.#socket.destroy();
  }

  #take(bytes: Buffer): void {
    const requests = this.#reader.take(bytes);
    if (!requests || this.#socket.writableLength > WAITING_BYTES_MAX) this.close();
    for (const request of requests ?? []) this.#answer(request);
  }

  #answer(request: RtspRequest): void {
    const { method, url } = request;
    const camera = this.#cameraOf(url);
    if (camera) camera.counts.requests += 1;
    if (camera?.mode === 'hang') return;
    if (camera?.mode === 'close') this.close();
    else if (camera?.mode === 'garbage')
      this.#socket.write(Buffer.from(Array.from({ length: 4096 }, () => this.#random() * 256)));
    else if (method === 'OPTIONS')
      this.#reply(request, '200 OK', { Public: 'DESCRIBE, SETUP, PLAY, PAUSE, TEARDOWN, GET_PARAMETER' });
    else if (!camera || camera.mode === 'not_found') this.#reply(request, '404 Not Found');
    else if (!this.#isLetIn(camera, request)) this.#refuse(camera, request);
    else if (camera.redirectTo !== null) this.#reply(request, '302 Moved Temporarily', { Location: camera.redirectTo });
    else this.#serve(camera, request);
  }

  #isLetIn(camera: RtspCamera, request: RtspRequest): boolean {
    if (camera.mode === 'unauthorized') return false;
    return camera.credentials === null || isAllowed(request, camera.credentials, this.#nonce);
  }

  #refuse({ credentials }: RtspCamera, request: RtspRequest): void {
    const challenge = challengeOf(credentials ?? { scheme: 'digest', user: '', password: '' }, this.#nonce);
    this.#reply(request, '401 Unauthorized', { 'WWW-Authenticate': challenge });
  }

  #serve(camera: RtspCamera, request: RtspRequest): void {
    const { method, url } = request;
    const session = { Session: `${this.#session};timeout=${SESSION_TIMEOUT_S}` };
    if (method === 'DESCRIBE') {
      const headers = { 'Content-Type': 'application/sdp', 'Content-Base': `${url}/` };
      this.#reply(request, '200 OK', headers, camera.description());
    } else if (method === 'SETUP') {
      const transport = this.#setUp(camera, request.headers.get('transport') ?? '');
      if (transport === undefined) this.#reply(request, '461 Unsupported Transport');
      else this.#reply(request, '200 OK', { ...session, Transport: transport });
    } else if (method === 'PLAY') {
      const player = this.#player;
      if (!player || this.#camera !== camera) return this.#reply(request, '455 Method Not Valid In This State');
      const info = `url=${url.replace(/\/$/, '')}/track1;seq=${player.sequence};rtptime=${camera.timestamp}`;
      this.#reply(request, '200 OK', { ...session, Range: 'npt=now-', 'RTP-Info': info });
      camera.play(player, () => this.close());
    } else if (method === 'TEARDOWN' || method === 'PAUSE') {
      this.#reply(request, '200 OK', session);
      if (this.#player) camera.stop(this.#player);
    } else if (method === 'GET_PARAMETER' || method === 'SET_PARAMETER') {
      this.#reply(request, '200 OK', session);
    } else this.#reply(request, '501 Not Implemented');
    return undefined;
  }

  /** Returns what is told of the transport; undefined: there is no such one here. */
  #setUp(camera: RtspCamera, asked: string): string | undefined {
    const [, channel] = /^RTP\/AVP\/TCP;.*interleaved=(\d{1,3})-\d+/.exec(asked) ?? [];
    const [, port] = /^RTP\/AVP(?:\/UDP)?;.*client_port=(\d{1,5})-\d+/.exec(asked) ?? [];
    const link =
      channel === undefined
        ? port && new UdpLink(this.#udp, camera, this.#socket, Number(port))
        : new TcpLink(this.#socket, Number(channel));
    if (!link) return undefined;
    this.#stop();
    this.#camera = camera;
    this.#player = new RtspPlayer(link, this.#random);
    const server = port === undefined ? '' : `;server_port=${this.#udp.port}-${this.#udp.port + 1}`;
    return `${asked}${server};ssrc=${this.#player.ssrc.toString(16).padStart(8, '0').toUpperCase()}`;
  }

  #stop(): void {
    if (this.#player) this.#camera!.stop(this.#player);
  }

  #reply(request: RtspRequest, status: string, headers: Readonly<Record<string, string>> = {}, body = ''): void {
    const lines = [`RTSP/1.0 ${status}`, `CSeq: ${request.headers.get('cseq') ?? 0}`];
    for (const [name, value] of Object.entries(headers)) lines.push(`${name}: ${value}`);
    if (body !== '') lines.push(`Content-Length: ${Buffer.byteLength(body)}`);
    this.#socket.write(`${lines.join('\r\n')}\r\n\r\n${body}`);
  }
}

class TcpLink implements PlayerLink {
  readonly channel: number;
  readonly #socket: Socket;

  constructor(socket: Socket, channel: number) {
    this.#socket = socket;
    this.channel = channel;
  }

  get hasRoom(): boolean {
    return this.#socket.writableLength < WAITING_BYTES_MAX;
  }

  send(bytes: Buffer): void {
    this.#socket.write(bytes);
  }

  sendReport(report: Buffer): void {
    this.#socket.write(report);
  }
}

class UdpLink implements PlayerLink {
  readonly channel = 0;
  readonly #pair: UdpPair;
  readonly #camera: RtspCamera;
  readonly #address: string;
  readonly #port: number;

  constructor(pair: UdpPair, camera: RtspCamera, { remoteAddress }: Socket, port: number) {
    this.#pair = pair;
    this.#camera = camera;
    this.#address = remoteAddress!;
    this.#port = port;
  }

  get hasRoom(): boolean {
    return this.#pair.media.getSendQueueSize() < WAITING_BYTES_MAX;
  }

  send(bytes: Buffer, starts: readonly number[]): void {
    for (const [index, start] of starts.entries()) {
      if (this.#camera.loses()) continue;
      const packet = bytes.subarray(start + INTERLEAVED_BYTES, starts[index + 1] ?? bytes.length);
      this.#pair.media.send(packet, this.#port, this.#address, ignore);
    }
  }

  sendReport(report: Buffer): void {
    this.#pair.reports.send(report.subarray(INTERLEAVED_BYTES), this.#port + 1, this.#address, ignore);
  }
}

/** A client that is gone answers by ICMP. */
function ignore(): void {}

interface UdpPair {
  readonly media: DatagramSocket;
  readonly reports: DatagramSocket;
  /** Even, as RFC 3550 11 wants it; the reports' is the next one. */
  readonly port: number;
  close(): void;
}

async function openUdpPair(host: string): Promise<UdpPair> {
  const TRIES = 50;
  for (let tried = 0; tried < TRIES; tried += 1) {
    const media = await bindUdp(host, 0);
    const { port } = media!.address();
    const reports = port % 2 === 0 ? await bindUdp(host, port + 1) : undefined;
    if (reports) {
      const close = () => {
        media!.close();
        reports.close();
      };
      return { media: media!, reports, port, close };
    }
    media!.close();
  }
  throw new Error(`no two UDP ports beside each other are free on ${host}`);
}

/** Undefined: the port is taken. */
async function bindUdp(host: string, port: number): Promise<DatagramSocket | undefined> {
  const socket = createSocket('udp4');
  try {
    socket.bind(port, host);
    await once(socket, 'listening');
    socket.on('error', () => undefined);
    return socket;
  } catch (error) {
    socket.close();
    if (port !== 0) return undefined;
    throw error;
  }
}
