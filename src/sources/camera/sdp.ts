import { SightlineError } from '../../base/errors.ts';

/** The video stream of a description of a session (SDP, RFC 8866), as cameras give it over RTSP. Pure. */

export interface VideoDescription {
  readonly payloadType: number;
  /** As `a=rtpmap` has it, in capitals: `H264`, `H265`, `JPEG`. */
  readonly encoding: string;
  readonly clockRate: number;
  /** Annex B; undefined: they come with the frames. */
  readonly extradata: Buffer | undefined;
  /** Address of the stream, which may be relative. */
  readonly control: string;
  /** Units do not come in the order of decoding. */
  readonly isInterleaved: boolean;
}

/** Static payload types of video (RFC 3551). */
const STATIC: Readonly<Record<number, string>> = { 26: 'JPEG', 32: 'MPV', 33: 'MP2T', 34: 'H263' };
const PREFERRED = ['H264', 'H265', 'HEVC'];

/** Errors: CAMERA_FORMAT: there is no video in it. */
export function videoOf(sdp: string): VideoDescription {
  const media = sdp.split(/\r?\n(?=m=)/).slice(1);
  const videos = media.filter((each) => each.startsWith('m=video')).flatMap(describe);
  const [first] = videos;
  if (!first) {
    const what = media.some((each) => each.startsWith('m=audio'))
      ? 'it sends sound and no video'
      : 'it offers no video';
    throw new SightlineError('CAMERA_FORMAT', what);
  }
  return videos.find(({ encoding }) => PREFERRED.includes(encoding)) ?? first;
}

function describe(media: string): VideoDescription[] {
  const payloadType = Number(/^m=video\s+\S+\s+\S+\s+(\d+)/.exec(media)?.[1]);
  if (!Number.isInteger(payloadType)) return [];
  const line = (pattern: string) => new RegExp(`^a=${pattern}`, 'im').exec(media)?.[1];
  const [encoding = STATIC[payloadType] ?? '', rate = '90000'] = (line(`rtpmap:${payloadType}\\s+(\\S+)`) ?? '').split(
    '/',
  );
  const parameters = line(`fmtp:${payloadType}\\s+(.*)`) ?? '';
  const parameter = (name: string) => new RegExp(`(?:^|;)\\s*${name}\\s*=\\s*([^;\\s]*)`, 'i').exec(parameters)?.[1];
  const sets = ['sprop-vps', 'sprop-sps', 'sprop-pps', 'sprop-parameter-sets'].flatMap((name) =>
    (parameter(name) ?? '').split(',').filter((text) => text !== ''),
  );
  const units = sets.map((text) => Buffer.from(text, 'base64')).filter(({ length }) => length > 0);
  return [
    {
      payloadType,
      encoding: (encoding === '' ? (STATIC[payloadType] ?? '') : encoding).toUpperCase(),
      clockRate: Number(rate) || 90_000,
      extradata: units.length === 0 ? undefined : Buffer.concat(units.flatMap((unit) => [Buffer.of(0, 0, 0, 1), unit])),
      control: line('control:\\s*(\\S+)') ?? '',
      isInterleaved: Number(parameter('sprop-max-don-diff') ?? 0) > 0 || parameter('packetization-mode') === '2',
    },
  ];
}
