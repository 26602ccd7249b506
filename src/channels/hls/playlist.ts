import { isSameInit, type InitName } from '../../base/camera-frame.ts';
import type { Part, Segment } from '../segmenter.ts';

/** Playlists of HLS (draft-pantos-hls-rfc8216bis), as text. Pure. */

export interface MediaPlaylist {
  /** At least as long as any segment, whole seconds. */
  readonly targetS: number;
  /** At least as long as any part. */
  readonly partTargetS: number;
  /** Whole, the oldest first. */
  readonly segments: readonly Segment[];
  /** The one that has begun. */
  readonly open: Pick<Segment, 'msn' | 'init' | 'isDiscontinuous' | 'startTimeMs' | 'parts'> | undefined;
  /** Discontinuities before the first segment. */
  readonly discontinuitySequence: number;
  /** Where the next part will be; undefined: there will be none. */
  readonly hint: { readonly epoch: number; readonly part: number } | undefined;
  /** Other playlists of the same camera, and the last that each has. */
  readonly reports: readonly RenditionReport[];
  /** Nothing more comes. */
  readonly isEnded: boolean;
  /** Time of day at a moment of the clock. */
  readonly wallTimeMs: (timeMs: number) => number;
}

export interface RenditionReport {
  readonly uri: string;
  readonly lastMsn: number;
  readonly lastPart: number | undefined;
}

export interface WriteOptions {
  /** What the client has already, and that is older than the skip boundary, is left out. */
  readonly isDelta?: boolean;
  /** Behind every address: `?access_token=…`, say. */
  readonly suffix?: string;
}

/** Parts of segments that end further from the end than so many target durations are not listed (6.2.2). */
const PARTS_DURATIONS = 3;
/** Times the target duration: the least that the specification allows. */
const SKIP_DURATIONS = 6;
const HOLD_BACK_PARTS = 3;

export const initUri = ({ epoch, width, height }: InitName) => `${epoch}/init-${width}x${height}.mp4`;
export const partUri = (epoch: number, part: number) => `${epoch}/part-${part}.m4s`;
export const segmentUri = (epoch: number, msn: number) => `${epoch}/segment-${msn}.m4s`;

export function mediaPlaylist(list: MediaPlaylist, { isDelta = false, suffix = '' }: WriteOptions = {}): string {
  const { segments, open, targetS, partTargetS, wallTimeMs } = list;
  const skipUntilS = SKIP_DURATIONS * targetS;
  const behindS = secondsBehind(segments);
  const openS = (open?.parts ?? []).reduce((sum, { durationS }) => sum + durationS, 0);
  const skipped = isDelta ? behindS.filter((seconds) => seconds >= skipUntilS).length : 0;
  const first = segments[0]?.msn ?? open?.msn ?? 0;
  const lines = [
    '#EXTM3U',
    '#EXT-X-VERSION:9',
    `#EXT-X-TARGETDURATION:${targetS}`,
    `#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=${decimal(HOLD_BACK_PARTS * partTargetS)},CAN-SKIP-UNTIL=${decimal(skipUntilS)}`,
    `#EXT-X-PART-INF:PART-TARGET=${decimal(partTargetS)}`,
    `#EXT-X-MEDIA-SEQUENCE:${first}`,
    `#EXT-X-DISCONTINUITY-SEQUENCE:${list.discontinuitySequence}`,
  ];
  if (isIndependent(list)) lines.push('#EXT-X-INDEPENDENT-SEGMENTS');
  if (skipped > 0) lines.push(`#EXT-X-SKIP:SKIPPED-SEGMENTS=${skipped}`);
  let init = skipped > 0 ? segments[skipped - 1]!.init : undefined;
  const head = (segment: Pick<Segment, 'init' | 'isDiscontinuous' | 'startTimeMs'>): void => {
    if (segment.isDiscontinuous) lines.push('#EXT-X-DISCONTINUITY');
    if (!isSameInit(segment.init, init)) lines.push(`#EXT-X-MAP:URI="${initUri(segment.init)}${suffix}"`);
    ({ init } = segment);
    lines.push(`#EXT-X-PROGRAM-DATE-TIME:${new Date(wallTimeMs(segment.startTimeMs)).toISOString()}`);
  };
  const part = (one: Part): void => {
    const attributes = one.isIndependent ? ',INDEPENDENT=YES' : '';
    lines.push(
      `#EXT-X-PART:DURATION=${decimal(one.durationS)},URI="${partUri(init!.epoch, one.number)}${suffix}"${attributes}`,
    );
  };
  for (const [i, segment] of segments.entries()) {
    if (i < skipped) continue;
    head(segment);
    if (behindS[i]! + openS < PARTS_DURATIONS * targetS) segment.parts.forEach(part);
    if (segment.isGap) lines.push('#EXT-X-GAP');
    lines.push(`#EXTINF:${decimal(segment.durationS)},`, segmentUri(init!.epoch, segment.msn) + suffix);
  }
  if (open && open.parts.length > 0) {
    head(open);
    open.parts.forEach(part);
  }
  if (list.isEnded) lines.push('#EXT-X-ENDLIST');
  else if (list.hint) {
    lines.push(`#EXT-X-PRELOAD-HINT:TYPE=PART,URI="${partUri(list.hint.epoch, list.hint.part)}${suffix}"`);
  }
  for (const { uri, lastMsn, lastPart } of list.reports) {
    const last = lastPart === undefined ? '' : `,LAST-PART=${lastPart}`;
    lines.push(`#EXT-X-RENDITION-REPORT:URI="${uri}${suffix}",LAST-MSN=${lastMsn}${last}`);
  }
  return `${lines.join('\n')}\n`;
}

export interface Variant {
  readonly codecString: string;
  readonly width: number;
  readonly height: number;
  readonly rateFps: number;
  /** Of the largest segment, and of all. */
  readonly peakBitsPerS: number;
  readonly meanBitsPerS: number;
  readonly uri: string;
}

export function multivariantPlaylist(variant: Variant, { suffix = '' }: WriteOptions = {}): string {
  const { codecString, width, height, rateFps, peakBitsPerS, meanBitsPerS, uri } = variant;
  const attributes = [
    `BANDWIDTH=${Math.ceil(peakBitsPerS)}`,
    `AVERAGE-BANDWIDTH=${Math.ceil(meanBitsPerS)}`,
    `CODECS="${codecString}"`,
    `RESOLUTION=${width}x${height}`,
    `FRAME-RATE=${rateFps.toFixed(3)}`,
  ];
  return `#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-STREAM-INF:${attributes.join(',')}\n${uri}${suffix}\n`;
}

/** How much comes behind each of them, s. */
function secondsBehind(segments: readonly Segment[]): number[] {
  let seconds = 0;
  return segments
    .toReversed()
    .map(({ durationS }) => {
      seconds += durationS;
      return seconds - durationS;
    })
    .toReversed();
}

/** All that is in it begins with a key frame. */
function isIndependent({ segments, open }: MediaPlaylist): boolean {
  return [...segments, ...(open ? [open] : [])].every(
    ({ parts: [first] }) => first === undefined || first.isIndependent,
  );
}

/** Without an exponent, and not longer than it need be. */
function decimal(value: number): string {
  return String(Number(value.toFixed(5)));
}
