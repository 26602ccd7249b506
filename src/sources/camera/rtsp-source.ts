import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { randomBytes } from 'node:crypto';
import { AV_CODEC_ID_H264, AV_CODEC_ID_HEVC } from 'node-av/constants';
import { SightlineError } from '../../base/errors.ts';
import type { NalCodec } from '../../media/nal.ts';
import type { Reach } from '../../net/reach.ts';
import { authorizer, type AuthorizedRequest, type Credentials } from './credentials.ts';
import { connectionFault, statusFault } from './faults.ts';
import { receiverReport, RtpOrder } from './rtp.ts';
import { RtpQueue } from './rtp-queue.ts';
import { RtspReader, type RtspAnswer } from './rtsp-messages.ts';
import { videoOf, type VideoDescription } from './sdp.ts';
import { monotonicMs, type PacketSource, type SourcePacket, type TrackFacts } from './source.ts';

/**
 * H.264 and H.265 over RTSP 1.0. Not by FFmpeg's client: that gives a frame only when the next one has begun (80 ms later at 12.5 frames a second), and does not
 * tell when it came; it follows a redirect to any address; and each of its cameras holds a thread while it waits.
 */

export interface RtspOptions {
  /** Its user and password are not sent with it: `credentials` are. */
  readonly url: URL;
  readonly credentials: Credentials | undefined;
  readonly transport: 'tcp' | 'udp';
  readonly reach: Reach;
  /** For each step of the conversation, ms. */
  readonly timeoutMs: number;
}

const REDIRECTS_MAX = 3;
const KEEPALIVE_S_MAX = 30;
const REPORT_INTERVAL_MS = 5_000;
const PORT_TRIES = 20;
const UDP_BUFFER_BYTES = 1 << 20;
/** After a request that was refused for its transport: 461 Unsupported Transport. */
const TRANSPORT_REFUSED = 461;

const CODECS: Readonly<Record<string, NalCodec>> = { H264: 'h264', H265: 'hevc', HEVC: 'hevc' };

/** What the camera offers is not for this client: FFmpeg's may take it. */
export class OtherCodec extends Error {
  /** Where it is, after redirects; without user and password. */
  readonly url: string;

  constructor(encoding: string, url: string) {
    super(`RTP of ${encoding}`);
    this.name = 'OtherCodec';
    this.url = url;
  }
}

interface Waiting {
  readonly resolve: (answer: RtspAnswer) => void;
  readonly reject: (error: Error) => void;
}

export class RtspSource implements PacketSource {
  readonly #options: RtspOptions;
  readonly #abort = new AbortController();
  readonly #source = randomBytes(4).readUInt32BE();
  #url: string;
  #socket: Socket | undefined;
  #authorize: ((request: AuthorizedRequest) => string) | undefined;
  #sequence = 0;
  readonly #waiting = new Map<number, Waiting>();
  #session: string | undefined;
  #keepaliveMethod = 'GET_PARAMETER';
  readonly #timers: NodeJS.Timeout[] = [];
  #udp: { readonly rtp: UdpSocket; readonly rtcp: UdpSocket; serverPort: number } | undefined;
  #channel = 0;
  #queue: RtpQueue | undefined;
  #isPlaying = false;
  #fault: Error | undefined;
  #reordered: RtpOrder | undefined;

  constructor(options: RtspOptions) {
    this.#options = options;
    const url = new URL(options.url);
    url.username = '';
    url.password = '';
    this.#url = url.href.replace(/^rtsps:/, 'rtsp:');
  }

  /** Errors: those of a camera; OtherCodec. */
  async open(): Promise<TrackFacts> {
    const { answer, base } = await this.#describe();
    const video = videoOf(answer.body);
    const codec = CODECS[video.encoding];
    if (codec === undefined || video.isInterleaved || video.clockRate !== 90_000) {
      throw new OtherCodec(video.encoding, this.#url);
    }
    this.#queue = new RtpQueue(codec, video.payloadType);
    await this.#setUp(trackUrl(base, video));
    this.#check(await this.#request('PLAY', base, { Range: 'npt=0.000-' }));
    this.#isPlaying = true;
    this.#timers.push(setInterval(() => this.#sendReport(), REPORT_INTERVAL_MS));
    return {
      format: 'rtsp',
      codec,
      codecId: codec === 'h264' ? AV_CODEC_ID_H264 : AV_CODEC_ID_HEVC,
      extradata: video.extradata,
      width: 0,
      height: 0,
      parameters: undefined,
      isStored: false,
    };
  }

  async read(): Promise<SourcePacket | undefined> {
    const packet = await this.#queue!.next();
    if (!this.#queue!.isCrowded && this.#socket?.isPaused() === true) this.#socket.resume();
    return packet;
  }

  async close(): Promise<void> {
    if (this.#abort.signal.aborted) return;
    this.#abort.abort();
    for (const timer of this.#timers) clearInterval(timer);
    const socket = this.#socket;
    if (socket && this.#session !== undefined && !socket.destroyed) {
      // The camera need not wait for its time-out; its answer is of no interest.
      socket.resume();
      socket.end(this.#text('TEARDOWN', this.#url, { Session: this.#session }));
      setTimeout(() => socket.destroy(), 200).unref();
    } else socket?.destroy();
    this.#udp?.rtp.close();
    this.#udp?.rtcp.close();
    this.#queue?.close();
    this.#fail(new SightlineError('CAMERA_ENDED', 'it was closed'));
  }

  async #describe(): Promise<{ readonly answer: RtspAnswer; readonly base: string }> {
    for (let redirects = 0; redirects <= REDIRECTS_MAX; redirects++) {
      await this.#connect();
      const answer = await this.#request('DESCRIBE', this.#url, { Accept: 'application/sdp' });
      const location = answer.headers.get('location')?.[0];
      if (answer.status < 300 || answer.status >= 400 || location === undefined) {
        this.#check(answer);
        const { headers } = answer;
        const base = (headers.get('content-base') ?? headers.get('content-location'))?.[0];
        return { answer, base: base ?? this.#url };
      }
      const target = URL.parse(location, this.#url);
      if (!target || !/^rtsps?:$/.test(target.protocol)) {
        throw new SightlineError('CAMERA_FORBIDDEN', 'it leads to an address that is none of RTSP');
      }
      // Credentials are for the host that was entered.
      if (target.host !== new URL(this.#url).host) this.#authorize = undefined;
      target.username = '';
      target.password = '';
      this.#url = target.href;
      this.#socket?.removeAllListeners('close').destroy();
    }
    throw new SightlineError('CAMERA_UNREACHABLE', 'it redirects without end');
  }

  async #connect(): Promise<void> {
    const { hostname, port, protocol } = new URL(this.#url);
    const isTls = protocol === 'rtsps:' || this.#options.url.protocol === 'rtsps:';
    const { reach, timeoutMs } = this.#options;
    const socket = await reach
      .connect({
        host: hostname,
        port: Number(port) || (isTls ? 322 : 554),
        isTls,
        timeoutMs,
        signal: this.#abort.signal,
      })
      .catch((thrown: unknown) => {
        throw connectionFault(thrown);
      });
    this.#socket = socket;
    socket.setKeepAlive(true, 30_000);
    const reader = new RtspReader();
    socket.on('data', (chunk: Buffer) => {
      try {
        for (const message of reader.push(chunk)) {
          if (message.kind === 'packet') this.#takePacket(message.channel, message.bytes);
          else if (message.kind === 'answer') this.#takeAnswer(message);
          else socket.write(`RTSP/1.0 501 Not Implemented\r\nCSeq: ${message.sequence}\r\n\r\n`);
        }
      } catch (thrown) {
        this.#fail(connectionFault(thrown));
        socket.destroy();
      }
    });
    socket.on('error', (error) => this.#fail(connectionFault(error)));
    const ended = () => {
      const code = this.#isPlaying ? 'CAMERA_ENDED' : 'CAMERA_UNREACHABLE';
      this.#fail(new SightlineError(code, 'it has closed the connection'));
    };
    socket.on('end', ended);
    socket.on('close', ended);
  }

  /** 401 is answered once. */
  async #request(method: string, uri: string, headers: Readonly<Record<string, string>>): Promise<RtspAnswer> {
    const answer = await this.#send(method, uri, headers);
    const { credentials, url } = this.#options;
    if (answer.status !== 401 || !credentials || new URL(this.#url).hostname !== url.hostname) return answer;
    const authorize = authorizer(answer.headers.get('www-authenticate') ?? [], credentials);
    // The same challenge again, unless the old one has become stale: the credentials are not the right ones.
    const isStale = /stale\s*=\s*"?true/i.test(answer.headers.get('www-authenticate')?.join() ?? '');
    if (!authorize || (this.#authorize !== undefined && !isStale && method === 'DESCRIBE')) return answer;
    this.#authorize = authorize;
    return await this.#send(method, uri, headers);
  }

  async #send(method: string, uri: string, headers: Readonly<Record<string, string>>): Promise<RtspAnswer> {
    if (this.#fault) throw this.#fault;
    const text = this.#text(method, uri, headers);
    const sequence = this.#sequence;
    const { promise, resolve, reject } = Promise.withResolvers<RtspAnswer>();
    const timer = setTimeout(
      () => reject(new SightlineError('CAMERA_UNREACHABLE', 'it does not answer in time')),
      this.#options.timeoutMs,
    );
    this.#waiting.set(sequence, { resolve, reject });
    this.#socket!.write(text);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(sequence);
    }
  }

  #text(method: string, uri: string, headers: Readonly<Record<string, string>>): string {
    this.#sequence += 1;
    const all: Record<string, string> = {
      CSeq: String(this.#sequence),
      'User-Agent': 'sightline',
      ...(this.#session !== undefined && { Session: this.#session }),
      ...(this.#authorize && { Authorization: this.#authorize({ method, uri }) }),
      ...headers,
    };
    const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
    return `${method} ${uri} RTSP/1.0\r\n${lines.join('')}\r\n`;
  }

  #takeAnswer(answer: RtspAnswer): void {
    this.#waiting.get(answer.sequence)?.resolve(answer);
  }

  #check(answer: RtspAnswer): void {
    if (answer.status >= 300 && answer.status < 400) {
      throw new SightlineError('CAMERA_FORBIDDEN', `it leads elsewhere (${answer.status})`);
    }
    if (answer.status !== 200) throw statusFault(answer.status, answer.words);
  }

  async #setUp(track: string): Promise<void> {
    let answer: RtspAnswer | undefined;
    if (this.#options.transport === 'udp') {
      this.#udp = await this.#openUdp();
      const port = this.#udp.rtp.address().port;
      answer = await this.#request('SETUP', track, { Transport: `RTP/AVP;unicast;client_port=${port}-${port + 1}` });
      if (answer.status === TRANSPORT_REFUSED) {
        this.#udp.rtp.close();
        this.#udp.rtcp.close();
        [this.#udp, answer] = [undefined, undefined];
      }
    }
    answer ??= await this.#request('SETUP', track, { Transport: 'RTP/AVP/TCP;unicast;interleaved=0-1' });
    this.#check(answer);
    const transport = answer.headers.get('transport')?.[0] ?? '';
    const [session = '', ...parameters] = (answer.headers.get('session')?.[0] ?? '').split(';');
    this.#session = session.trim();
    if (this.#udp) {
      this.#udp.serverPort = Number(/server_port=(\d+)/.exec(transport)?.[1] ?? 0);
      this.#sendReport();
    } else this.#channel = Number(/interleaved=(\d+)/.exec(transport)?.[1] ?? 0);
    const timeoutS = Number(/timeout=(\d+)/.exec(parameters.join(';'))?.[1] ?? 60);
    const intervalMs = Math.min(KEEPALIVE_S_MAX, Math.max(1, timeoutS / 2)) * 1000;
    this.#timers.push(setInterval(() => void this.#keepAlive(), intervalMs));
  }

  async #keepAlive(): Promise<void> {
    try {
      const answer = await this.#request(this.#keepaliveMethod, this.#url, {});
      // Not all know it.
      if (answer.status !== 200) this.#keepaliveMethod = 'OPTIONS';
    } catch {
      // Whether frames come decides.
    }
  }

  /** Two ports, the first one even (RFC 3550, 11). */
  async #openUdp(): Promise<{ rtp: UdpSocket; rtcp: UdpSocket; serverPort: number }> {
    const kind = this.#socket!.remoteFamily === 'IPv6' ? 'udp6' : 'udp4';
    const address = this.#socket!.localAddress;
    const bind = async (port: number): Promise<UdpSocket | undefined> => {
      const socket = createSocket({ type: kind, recvBufferSize: UDP_BUFFER_BYTES });
      try {
        socket.bind(port, address);
        await once(socket, 'listening');
        socket.on('error', () => undefined);
        return socket;
      } catch {
        socket.close();
        return undefined;
      }
    };
    for (let tries = 0; tries < PORT_TRIES; tries++) {
      const rtp = await bind(0);
      if (!rtp) break;
      const { port } = rtp.address();
      const rtcp = port % 2 === 0 ? await bind(port + 1) : undefined;
      if (rtcp) {
        const from = this.#socket!.remoteAddress;
        this.#reordered = new RtpOrder();
        // From the camera and nobody else.
        rtp.on('message', (bytes, { address: sender }) => {
          if (sender !== from) return;
          for (const packet of this.#reordered!.push(bytes, monotonicMs()))
            this.#takeRtp(packet.bytes, packet.arrivedMs);
        });
        rtcp.on('message', (bytes, { address: sender }) => void (sender === from && this.#takeRtcp(bytes)));
        return { rtp, rtcp, serverPort: 0 };
      }
      rtp.close();
    }
    throw new SightlineError('CAMERA_UNREACHABLE', 'there are no two ports of UDP for it');
  }

  #takePacket(channel: number, bytes: Buffer): void {
    if (channel === this.#channel) this.#takeRtp(bytes, monotonicMs());
    else if (channel === this.#channel + 1) this.#takeRtcp(bytes);
  }

  #takeRtp(bytes: Buffer, arrivedMs: number): void {
    this.#queue?.takeRtp(bytes, arrivedMs);
    // The rest of a chunk comes all the same.
    if (!this.#udp && this.#queue?.isCrowded === true) this.#socket!.pause();
  }

  #takeRtcp(bytes: Buffer): void {
    if (this.#queue?.takeRtcp(bytes) === true)
      this.#fail(new SightlineError('CAMERA_ENDED', 'it has ended the stream'));
  }

  #sendReport(): void {
    const report = receiverReport(this.#source);
    if (this.#udp) {
      const { rtp, rtcp, serverPort } = this.#udp;
      const address = this.#socket?.remoteAddress;
      if (serverPort === 0 || address === undefined) return;
      rtcp.send(report, serverPort + 1, address);
      // Opens the way back through a firewall.
      if (!this.#isPlaying) rtp.send(report, serverPort, address);
    } else this.#socket?.write(Buffer.concat([Buffer.of(0x24, this.#channel + 1, 0, report.length), report]));
  }

  #fail(error: Error): void {
    this.#fault ??= error;
    for (const { reject } of this.#waiting.values()) reject(this.#fault);
    this.#queue?.fail(this.#fault);
  }
}

/** As other clients do it: a relative address is put behind the base, whatever that ends with. */
function trackUrl(base: string, { control }: VideoDescription): string {
  if (control === '' || control === '*') return base;
  return /^rtsps?:\/\//i.test(control) ? control : `${base}${base.endsWith('/') ? '' : '/'}${control}`;
}
