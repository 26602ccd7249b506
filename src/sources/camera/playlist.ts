import { SightlineError } from '../../base/errors.ts';
import { entryUrl } from './http-body.ts';

/** Playlists of HLS (RFC 8216), as far as a player of pictures needs them. Pure. */

export interface Variant {
  readonly url: URL;
  readonly bandwidth: number;
  /** 0: not told. */
  readonly pixels: number;
}

export interface SegmentPart {
  readonly url: URL;
  readonly range: readonly [from: number, to: number] | undefined;
}

export interface Segment extends SegmentPart {
  readonly sequence: number;
  readonly durationS: number;
  /** What has to be read before it, where it is not the same as before. */
  readonly map: SegmentPart | undefined;
}

export type Playlist =
  | { readonly kind: 'master'; readonly variants: readonly Variant[] }
  | {
      readonly kind: 'media';
      readonly targetS: number;
      readonly segments: readonly Segment[];
      /** No more will come. */
      readonly isEnded: boolean;
    };

const SEGMENTS_MAX = 20_000;
const TARGET_S_MAX = 120;

export function isPlaylist(text: string): boolean {
  return /^\uFEFF?\s*#EXTM3U/.test(text);
}

/** Errors: CAMERA_FORMAT; CAMERA_FORBIDDEN for an entry that is of no kind that may be called. */
export function parsePlaylist(text: string, base: URL): Playlist {
  if (!isPlaylist(text)) throw bad('it is no playlist');
  const variants: Variant[] = [];
  const segments: Segment[] = [];
  let [sequence, targetS, durationS, rangeEnd] = [0, 6, 0, 0];
  let isEnded = false;
  let variant: Omit<Variant, 'url'> | undefined;
  let map: SegmentPart | undefined;
  let range: string | undefined;
  for (const line of text.split(/\r?\n/).map((each) => each.trim())) {
    const value = line.slice(line.indexOf(':') + 1);
    if (line.startsWith('#EXT-X-STREAM-INF:')) {
      const [, width = '0', height = '0'] = /(\d{1,6})x(\d{1,6})/.exec(attribute(value, 'RESOLUTION') ?? '') ?? [];
      variant = { bandwidth: Number(attribute(value, 'BANDWIDTH') ?? 0) || 0, pixels: Number(width) * Number(height) };
    } else if (line.startsWith('#EXT-X-TARGETDURATION:')) targetS = seconds(value);
    else if (line.startsWith('#EXT-X-MEDIA-SEQUENCE:')) sequence = whole(value);
    else if (line.startsWith('#EXTINF:')) durationS = seconds(value);
    else if (line.startsWith('#EXT-X-ENDLIST')) isEnded = true;
    else if (line.startsWith('#EXT-X-BYTERANGE:')) range = value;
    else if (line.startsWith('#EXT-X-KEY:')) {
      const method = attribute(value, 'METHOD');
      if (method !== 'NONE') throw bad(`its segments are encrypted (${method ?? 'it does not say how'})`);
    } else if (line.startsWith('#EXT-X-MAP:')) {
      const url = entryUrl(attribute(value, 'URI') ?? '', base);
      const bytes = attribute(value, 'BYTERANGE');
      map = { url, range: bytes === undefined ? undefined : byteRange(bytes, 0) };
    } else if (line !== '' && !line.startsWith('#')) {
      const url = entryUrl(line, base);
      if (variant) variants.push({ ...variant, url });
      else {
        const bytes = range === undefined ? undefined : byteRange(range, rangeEnd);
        segments.push({ url, range: bytes, sequence: sequence++, durationS, map });
        if (segments.length > SEGMENTS_MAX) throw bad(`a playlist of more than ${SEGMENTS_MAX} entries`);
        rangeEnd = bytes ? bytes[1] + 1 : 0;
      }
      [variant, range] = [undefined, undefined];
    }
  }
  if (variants.length > 0) return { kind: 'master', variants };
  if (segments.length === 0 && isEnded) throw bad('there is nothing in its playlist');
  return { kind: 'media', targetS: Math.min(TARGET_S_MAX, Math.max(0.5, targetS)), segments, isEnded };
}

/** The largest one that is not too large; where sizes are not told, that of the most bits. */
export function bestVariant(variants: readonly Variant[], pixelsMax: number): Variant {
  const fitting = variants.filter(({ pixels }) => pixels <= pixelsMax);
  const by = (a: Variant, b: Variant) => b.pixels - a.pixels || b.bandwidth - a.bandwidth;
  return fitting.toSorted(by)[0] ?? variants.toSorted((a, b) => by(b, a))[0]!;
}

/** Of a list such as `BANDWIDTH=1,CODECS="a,b"`. */
function attribute(list: string, name: string): string | undefined {
  for (const [, key, quoted, plain] of list.matchAll(/([A-Z0-9-]+)=(?:"([^"]*)"|([^,]*))/g)) {
    if (key === name) return quoted ?? plain;
  }
  return undefined;
}

/** `LENGTH@FROM`; without `FROM` it goes on where the last one ended. */
function byteRange(text: string, end: number): readonly [number, number] {
  const [length = '', from] = text.split('@');
  const begin = from === undefined ? end : whole(from);
  const count = whole(length);
  if (count === 0) throw bad('a part of no bytes');
  return [begin, begin + count - 1];
}

function whole(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0) throw bad('a number in its playlist that is none');
  return value;
}

function seconds(text: string): number {
  const value = Number.parseFloat(text);
  if (!Number.isFinite(value) || value < 0) throw bad('a duration in its playlist that is none');
  return value;
}

function bad(reason: string): SightlineError {
  return new SightlineError('CAMERA_FORMAT', reason);
}
