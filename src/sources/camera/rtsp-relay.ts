import { once } from 'node:events';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { SightlineError } from '../../base/errors.ts';
import { OutboundError } from '../../net/outbound.ts';
import type { Reach } from '../../net/reach.ts';
import type { Credentials } from './credentials.ts';
import { connectionFault } from './faults.ts';
import { FfmpegSource } from './ffmpeg-source.ts';
import { RtspReader, type RtspAnswer } from './rtsp-messages.ts';
import type { PacketSource, SourcePacket, TrackFacts } from './source.ts';

/**
 * Codecs over RTSP that are not ours, by FFmpeg's client, which would follow a redirect to any address. So it never gets to the camera: it speaks to a relay on this machine,
 * whose connection is one that `Reach` allows, and which passes on no redirect. Frames come over TCP: over UDP FFmpeg would send to whatever address the camera names.
 */

export interface RtspRelayOptions {
  /** Without user and password. */
  readonly url: URL;
  readonly credentials: Credentials | undefined;
  readonly reach: Reach;
  readonly timeoutMs: number;
  readonly stallTimeoutMs: number;
}

const LOOPBACK = '127.0.0.1';
/** Words of an address that FFmpeg takes for orders to itself. */
const ORDERS = new Set(['udp', 'multicast', 'tcp', 'http']);
const PACKET_MARK = 0x24;

export class RtspRelay implements PacketSource {
  readonly #options: RtspRelayOptions;
  readonly #abort = new AbortController();
  #server: Server | undefined;
  #source: FfmpegSource | undefined;
  /** Why there is no connection any more, where FFmpeg cannot know it. */
  #fault: Error | undefined;

  constructor(options: RtspRelayOptions) {
    this.#options = options;
  }

  async open(): Promise<TrackFacts> {
    const server = createServer((client) => void this.#serve(client));
    this.#server = server;
    server.listen(0, LOOPBACK);
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const options = {
      rtsp_transport: 'tcp',
      allowed_media_types: 'video',
      timeout: String(this.#options.stallTimeoutMs * 1000),
      protocol_whitelist: 'rtsp,tcp',
    };
    this.#source = new FfmpegSource({ kind: 'address', url: relayedUrl(this.#options, port), options });
    if (this.#abort.signal.aborted) await this.#source.close();
    return await this.#orFault(this.#source.open());
  }

  async read(): Promise<SourcePacket | undefined> {
    return await this.#orFault(this.#source!.read());
  }

  async close(): Promise<void> {
    this.#abort.abort();
    this.#server?.close();
    await this.#source?.close();
  }

  async #orFault<T>(result: Promise<T>): Promise<T> {
    const found = await result.catch((thrown: unknown) => {
      throw this.#fault ?? thrown;
    });
    if (found === undefined && this.#fault) throw this.#fault;
    return found;
  }

  async #serve(client: Socket): Promise<void> {
    // FFmpeg connects once: whoever else finds the port comes too late.
    this.#server!.close();
    client.on('error', () => undefined);
    const { url, reach, timeoutMs } = this.#options;
    const { signal } = this.#abort;
    const isTls = url.protocol === 'rtsps:';
    const port = Number(url.port) || (isTls ? 322 : 554);
    try {
      const camera = await reach.connect({ host: url.hostname, port, isTls, timeoutMs, signal });
      await Promise.all([pipeline(client, camera, { signal }), pipeline(camera, withoutRedirects, client, { signal })]);
    } catch (thrown) {
      // What ends a connection that stood is told to FFmpeg by that.
      const isOurs = thrown instanceof SightlineError || thrown instanceof OutboundError;
      if (isOurs) this.#fault ??= connectionFault(thrown);
      client.destroy();
    }
  }
}

function relayedUrl({ url, credentials }: RtspRelayOptions, port: number): string {
  const user = credentials
    ? `${encodeURIComponent(credentials.user)}:${encodeURIComponent(credentials.password)}@`
    : '';
  const query = url.search.slice(1).split('&');
  const asked = query.filter((part) => part !== '' && !ORDERS.has(part)).join('&');
  return `rtsp://${user}${LOOPBACK}:${port}${url.pathname}${asked === '' ? '' : `?${asked}`}`;
}

/** What a camera sends, put together anew, so that FFmpeg reads nothing in it that we have not. Errors: CAMERA_FORBIDDEN, CAMERA_FORMAT. */
export async function* withoutRedirects(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void, undefined> {
  const reader = new RtspReader();
  for await (const chunk of chunks) {
    for (const message of reader.push(chunk)) {
      if (message.kind === 'packet') {
        const { channel, bytes } = message;
        yield Buffer.concat([Buffer.of(PACKET_MARK, channel, bytes.length >> 8, bytes.length & 0xff), bytes]);
      } else if (message.kind === 'answer') yield answerOf(message);
    }
  }
}

function answerOf({ status, words, sequence, headers, body }: RtspAnswer): Buffer {
  if (status >= 300 && status < 400) throw new SightlineError('CAMERA_FORBIDDEN', `it leads elsewhere (${status})`);
  const lines = [`RTSP/1.0 ${status} ${words}`, `CSeq: ${sequence}`];
  for (const [name, values] of headers) {
    if (name === 'cseq' || name === 'content-length' || name === 'location') continue;
    for (const value of values) if (isText(name) && isText(value)) lines.push(`${name}: ${value}`);
  }
  const bytes = Buffer.from(body);
  if (bytes.length > 0) lines.push(`Content-Length: ${bytes.length}`);
  return Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), bytes]);
}

/** Without what could end a line. */
function isText(text: string): boolean {
  // oxlint-disable-next-line no-control-regex -- control characters are what is looked for
  return !/[\u0000-\u001f\u007f]/.test(text);
}
