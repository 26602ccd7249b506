import { fileURLToPath } from 'node:url';
import { SightlineError } from '../../base/errors.ts';
import { WHIP_ADDRESS } from '../../config/camera-urls.ts';
import { Reach } from '../../net/reach.ts';
import { connectionFault } from './faults.ts';
import { FfmpegSource, type ByteSource, type FfmpegInput } from './ffmpeg-source.ts';
import { HlsBody } from './hls-body.ts';
import { HttpBody, httpTarget, type HttpOptions } from './http-body.ts';
import type { CameraInput } from './messages.ts';
import { isPlaylist } from './playlist.ts';
import { credentialsOf } from './credentials.ts';
import { RtspRelay } from './rtsp-relay.ts';
import { OtherCodec, RtspSource } from './rtsp-source.ts';
import type { PacketSource, SourcePacket, TrackFacts } from './source.ts';
import { WhipSource } from './whip-source.ts';

/**
 * The source of a camera, by the kind of its address:
 *
 * - `rtsp://`, `rtsps://`: H.264 and H.265 by our own client, all else by FFmpeg's, over a relay;
 * - `http://`, `https://`: MJPEG, HLS, a file; fetched by Node, and only demultiplexed by FFmpeg;
 * - `rtmp://`: by FFmpeg;
 * - `rtsp://0.0.0.0:8554/any?listen`, `rtmp://0.0.0.0:1935/any/path?listen`: waits at this address and port for a camera that pushes;
 * - `whip:`: whoever publishes to it comes to the server, and their packets from there;
 * - `/dev/video0`: a device (Linux);
 * - `file:///path/clip.mp4` or a path: a file.
 *
 * Every connection to a camera is one that `Reach` allows in the moment in which it is made, but for `rtmp`, whose host is looked at before: FFmpeg's client for it follows
 * no redirect.
 */
export function sourceOf(input: CameraInput): PacketSource {
  if (input.url === WHIP_ADDRESS) return new WhipSource(input.inlet);
  return new LazySource((signal) => pick(input, signal));
}

const DEVICE = /^\/dev\/video\d+$/;
const SCHEME = /^([a-z][a-z0-9+.-]*):\/\//i;
const PEEKED_BYTES = 1024;

interface Choice {
  readonly source: PacketSource;
  /** For what that leaves to it. */
  readonly rest?: (left: OtherCodec) => PacketSource;
}

type Pick = (signal: AbortSignal) => Promise<Choice>;

async function pick(input: CameraInput, signal: AbortSignal): Promise<Choice> {
  const { url: text } = input;
  const scheme = SCHEME.exec(text)?.[1]?.toLowerCase();
  if (DEVICE.test(text)) return { source: new FfmpegSource({ kind: 'device', path: text }) };
  if (scheme === undefined) return { source: fileSource(text, input) };
  const url = URL.parse(text);
  if (!url) throw new SightlineError('CAMERA_FORBIDDEN', 'its address is none');
  if (scheme === 'file') return { source: fileSource(pathOf(url), input) };
  if (url.hostname === '') throw new SightlineError('CAMERA_FORBIDDEN', 'its address names no host');
  const isListening = url.searchParams.has('listen');
  if (scheme === 'rtmp') {
    return { source: ffmpegAddress(isListening ? rtmpListener(url, input) : await rtmpClient(url, input)) };
  }
  if (scheme === 'rtsp' && isListening) return { source: ffmpegAddress(rtspListener(url, input)) };
  if (scheme === 'rtsp' || scheme === 'rtsps') return rtspSource(url, input);
  if (scheme === 'http' || scheme === 'https') return { source: await httpSource(input, signal) };
  throw new SightlineError('CAMERA_FORBIDDEN', `addresses of the kind ${scheme}: are not read`);
}

function fileSource(path: string, { loop }: CameraInput): PacketSource {
  return new FfmpegSource({ kind: 'file', path, isLooped: loop });
}

function pathOf(url: URL): string {
  try {
    return fileURLToPath(url);
  } catch {
    throw new SightlineError('CAMERA_FORBIDDEN', 'its address is none of a file');
  }
}

function rtspSource(url: URL, input: CameraInput): Choice {
  const { transport, openTimeoutMs: timeoutMs, stallTimeoutMs } = input;
  const [reach, credentials] = [reachOf(url, input), credentialsOf(url)];
  const rest = (left: OtherCodec): PacketSource => {
    const target = new URL(left.url);
    // Entered as TLS it is TLS wherever that leads.
    if (url.protocol === 'rtsps:') target.protocol = url.protocol;
    const isEntered = target.hostname === url.hostname;
    return new RtspRelay({
      url: target,
      credentials: isEntered ? credentials : undefined,
      reach,
      timeoutMs,
      stallTimeoutMs,
    });
  };
  return { source: new RtspSource({ url, credentials, transport, reach, timeoutMs }), rest };
}

function rtspListener(url: URL, input: CameraInput): Omit<FfmpegInput & { kind: 'address' }, 'kind'> {
  const options = {
    rtsp_flags: 'listen',
    // In seconds.
    listen_timeout: String(Math.ceil(input.openTimeoutMs / 1000)),
    protocol_whitelist: 'rtsp,rtp,udp,tcp',
  };
  return { url: withoutListen(url), options };
}

function rtmpListener(url: URL, input: CameraInput): Omit<FfmpegInput & { kind: 'address' }, 'kind'> {
  const options = {
    listen: '1',
    timeout: String(Math.ceil(input.openTimeoutMs / 1000)),
    rw_timeout: String(input.stallTimeoutMs * 1000),
    protocol_whitelist: 'rtmp,tcp',
  };
  return { url: withoutListen(url), options };
}

async function rtmpClient(url: URL, input: CameraInput): Promise<Omit<FfmpegInput & { kind: 'address' }, 'kind'>> {
  // A connection of our own first: whether the host may be called, and what is wrong if it does not answer.
  const port = Number(url.port) || 1935;
  const probe = reachOf(url, input).connect({ host: url.hostname, port, isTls: false, timeoutMs: input.openTimeoutMs });
  const socket = await probe.catch((thrown: unknown) => {
    throw connectionFault(thrown);
  });
  socket.destroy();
  const options = { rw_timeout: String(input.stallTimeoutMs * 1000), protocol_whitelist: 'rtmp,tcp' };
  return { url: input.url, options };
}

function ffmpegAddress(address: Omit<FfmpegInput & { kind: 'address' }, 'kind'>): PacketSource {
  return new FfmpegSource({ kind: 'address', ...address });
}

function withoutListen(url: URL): string {
  const plain = new URL(url);
  plain.searchParams.delete('listen');
  return plain.href;
}

function reachOf(url: URL, { allowedNetworks }: CameraInput): Reach {
  return new Reach({ entered: url.hostname, allowedNetworks });
}

async function httpSource(input: CameraInput, signal: AbortSignal): Promise<PacketSource> {
  const { url, credentials } = httpTarget(input.url);
  const options: HttpOptions = {
    reach: reachOf(url, input),
    timeoutMs: input.openTimeoutMs,
    stallTimeoutMs: input.stallTimeoutMs,
    signal,
    credentials,
    enteredHost: url.host,
  };
  const body = await HttpBody.open(url, options);
  const isList = body.contentType.includes('mpegurl') || isPlaylist((await body.peek(PEEKED_BYTES)).toString('latin1'));
  if (isList) {
    const hls = await HlsBody.open(body, { ...options, pixelsMax: input.pixelsMax });
    return new FfmpegSource({ kind: 'bytes', bytes: hls, isStored: true });
  }
  return new FfmpegSource({ kind: 'bytes', bytes: bytesOf(body), isStored: body.length !== undefined });
}

function bytesOf(first: HttpBody): ByteSource {
  let body = first;
  const { isSeekable, length } = first;
  return {
    read: (bytesMax) => body.read(bytesMax),
    close: () => body.close(),
    ...(isSeekable && {
      seekable: {
        length: length!,
        seek: async (to: number) => {
          body = await body.reopen(to);
        },
      },
    }),
  };
}

/** Chooses when it is opened, and can be closed meanwhile. */
class LazySource implements PacketSource {
  readonly #pick: Pick;
  readonly #abort = new AbortController();
  #source: PacketSource | undefined;

  constructor(choose: Pick) {
    this.#pick = choose;
  }

  async open(): Promise<TrackFacts> {
    const { source, rest } = await this.#pick(this.#abort.signal);
    try {
      return await this.#open(source);
    } catch (thrown) {
      if (!(thrown instanceof OtherCodec) || !rest) throw thrown;
      return await this.#open(rest(thrown));
    }
  }

  async read(): Promise<SourcePacket | undefined> {
    return await this.#source!.read();
  }

  async close(): Promise<void> {
    this.#abort.abort();
    await this.#source?.close();
  }

  async #open(source: PacketSource): Promise<TrackFacts> {
    this.#source = source;
    if (this.#abort.signal.aborted) await source.close();
    try {
      return await source.open();
    } catch (thrown) {
      await source.close();
      throw thrown;
    }
  }
}
