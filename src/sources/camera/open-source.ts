import { fileURLToPath } from 'node:url';
import { SightlineError } from '../../base/errors.ts';
import { Reach } from '../../net/reach.ts';
import { connectionFault } from './faults.ts';
import { FfmpegSource, type ByteSource, type FfmpegInput } from './ffmpeg-source.ts';
import { HlsBody } from './hls-body.ts';
import { HttpBody, httpTarget, type HttpOptions } from './http-body.ts';
import type { CameraInput } from './messages.ts';
import { isPlaylist } from './playlist.ts';
import { credentialsOf } from './credentials.ts';
import { OtherCodec, RtspSource } from './rtsp-source.ts';
import type { PacketSource, SourcePacket, TrackFacts } from './source.ts';

/**
 * The source of a camera, by the kind of its address:
 *
 * - `rtsp://`, `rtsps://`: H.264 and H.265 by our own client, all else by FFmpeg's;
 * - `http://`, `https://`: MJPEG, HLS, a file; fetched by Node, and only demultiplexed by FFmpeg;
 * - `rtmp://`: by FFmpeg;
 * - `rtsp://0.0.0.0:8554/any?listen`, `rtmp://0.0.0.0:1935/any/path?listen`: waits at this address and port for a camera that pushes;
 * - `/dev/video0`: a device (Linux);
 * - `file:///path/clip.mp4` or a path: a file.
 *
 * Every connection that Node makes is one that `Reach` allows in the moment in which it is made. Of FFmpeg's own (`rtmp`, and RTSP of codecs that are not
 * ours) the host is looked at before; its client for RTSP would follow a redirect of a camera that had answered us without one.
 */
export function sourceOf(input: CameraInput): PacketSource {
  return new LazySource((signal) => pick(input, signal));
}

const DEVICE = /^\/dev\/video\d+$/;
const SCHEME = /^([a-z][a-z0-9+.-]*):\/\//i;
const PEEKED_BYTES = 1024;

type Pick = (signal: AbortSignal) => Promise<readonly PacketSource[]>;

async function pick(input: CameraInput, signal: AbortSignal): Promise<readonly PacketSource[]> {
  const { url: text } = input;
  const scheme = SCHEME.exec(text)?.[1]?.toLowerCase();
  if (DEVICE.test(text)) return [new FfmpegSource({ kind: 'device', path: text })];
  if (scheme === undefined) return [fileSource(text, input)];
  const url = URL.parse(text);
  if (!url) throw new SightlineError('CAMERA_FORBIDDEN', 'its address is none');
  if (scheme === 'file') return [fileSource(pathOf(url), input)];
  if (url.hostname === '') throw new SightlineError('CAMERA_FORBIDDEN', 'its address names no host');
  const isListening = url.searchParams.has('listen');
  if (scheme === 'rtmp') return [ffmpegAddress(isListening ? rtmpListener(url, input) : await rtmpClient(url, input))];
  if (scheme === 'rtsp' && isListening) return [ffmpegAddress(rtspListener(url, input))];
  if (scheme === 'rtsp' || scheme === 'rtsps') return rtspSources(url, input);
  if (scheme === 'http' || scheme === 'https') return [await httpSource(input, signal)];
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

/** The second one for what the first one leaves to it. */
function rtspSources(url: URL, input: CameraInput): readonly PacketSource[] {
  const { transport, openTimeoutMs: timeoutMs } = input;
  const own = new RtspSource({
    url,
    credentials: credentialsOf(url),
    transport,
    reach: reachOf(url, input),
    timeoutMs,
  });
  const options = {
    rtsp_transport: transport,
    allowed_media_types: 'video',
    timeout: String(input.stallTimeoutMs * 1000),
    protocol_whitelist: 'rtsp,rtp,udp,tcp,tls,crypto',
  };
  return [own, ffmpegAddress({ url: input.url, options })];
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
    const sources = await this.#pick(this.#abort.signal);
    for (const source of sources) {
      this.#source = source;
      if (this.#abort.signal.aborted) await source.close();
      try {
        return await source.open();
      } catch (thrown) {
        await source.close();
        if (!(thrown instanceof OtherCodec)) throw thrown;
      }
    }
    throw new SightlineError('CAMERA_FORMAT', 'nothing here reads its kind of video');
  }

  async read(): Promise<SourcePacket | undefined> {
    return await this.#source!.read();
  }

  async close(): Promise<void> {
    this.#abort.abort();
    await this.#source?.close();
  }
}
