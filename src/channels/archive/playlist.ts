import { endOf, type FileLines, type SegmentLine } from './files.ts';

/** What was recorded, as a playlist of HLS (RFC 8216) of the kind VOD. Pure. */

export interface ListedFile {
  readonly name: string;
  readonly lines: FileLines;
}

/** An entry of a playlist is that long at least, so that there are not too many of them. */
const ENTRY_S_MIN = 6;
/** And has no more bytes, since it is read as a whole; a single segment has less. */
export const ENTRY_BYTES_MAX = 16 * 1024 * 1024;
/** Captures that are further apart than that are no continuation. */
const GAP_MS = 500;

/** Segments that follow each other, as one. */
export interface Entry extends SegmentLine {
  readonly file: ListedFile;
  /** Something is missing in front of it, or it has another header. */
  readonly isApart: boolean;
}

/** What of the files is within a time, from the key frame at or before its beginning on. */
export function segmentsWithin(file: ListedFile, fromMs: number, toMs: number): readonly SegmentLine[] {
  const { segments } = file.lines;
  const first = segments.findIndex((segment) => endOf(segment) > fromMs && segment.from < toMs);
  if (first < 0) return [];
  const key = segments.findLastIndex(({ key: isKey }, i) => isKey && i <= first);
  return segments.slice(Math.max(0, key)).filter(({ from }) => from < toMs);
}

export function entriesOf(files: readonly ListedFile[], fromMs: number, toMs: number): Entry[] {
  const entries: Entry[] = [];
  let last: { readonly epoch: number; readonly endMs: number } | undefined;
  for (const file of files) {
    const { epoch } = file.lines.header;
    const within = new Set(segmentsWithin(file, fromMs, toMs));
    for (const group of groupsOf(file.lines.segments)) {
      const segments = group.filter((segment) => within.has(segment));
      if (segments.length === 0) continue;
      const isApart = last?.epoch !== epoch || !isNext(segments[0]!, last.endMs);
      entries.push({ ...joined(segments), file, isApart });
      last = { epoch, endMs: endOf(segments.at(-1)!) };
    }
  }
  return entries;
}

/** The entry that has a moment, as most playlists have it. */
export function entryAt({ segments }: FileLines, timeMs: number): SegmentLine | undefined {
  const group = groupsOf(segments).find((one) => one[0]!.from <= timeMs && endOf(one.at(-1)!) > timeMs);
  return group && joined(group);
}

/** Segments of a file, as they are joined to entries: counted from its beginning, so that different viewers ask for the same but for their first and last ones. */
function groupsOf(segments: readonly SegmentLine[]): SegmentLine[][] {
  const groups: SegmentLine[][] = [];
  let [bytes, durationS] = [0, 0];
  for (const segment of segments) {
    const group = groups.at(-1);
    const hasRoom = durationS < ENTRY_S_MIN && bytes + segment.bytes <= ENTRY_BYTES_MAX;
    if (group && hasRoom && isNext(segment, endOf(group.at(-1)!))) group.push(segment);
    else {
      groups.push([segment]);
      [bytes, durationS] = [0, 0];
    }
    bytes += segment.bytes;
    durationS += segment.duration_s;
  }
  return groups;
}

function isNext({ from }: SegmentLine, endMs: number): boolean {
  return Math.abs(from - endMs) <= GAP_MS;
}

function joined(segments: readonly SegmentLine[]): SegmentLine {
  const [bytes, duration_s] = segments.reduce(([b, d], one) => [b + one.bytes, d + one.duration_s], [0, 0]);
  return { ...segments[0]!, bytes, duration_s };
}

export function vodPlaylist(entries: readonly Entry[], suffix = ''): string {
  const targetS = Math.max(1, ...entries.map(({ duration_s }) => Math.round(duration_s)));
  const lines = [
    '#EXTM3U',
    '#EXT-X-VERSION:7',
    `#EXT-X-TARGETDURATION:${targetS}`,
    '#EXT-X-PLAYLIST-TYPE:VOD',
    '#EXT-X-MEDIA-SEQUENCE:0',
  ];
  if (entries.every(({ key }) => key)) lines.push('#EXT-X-INDEPENDENT-SEGMENTS');
  let mapped: string | undefined;
  for (const [i, { file, at, bytes, from, duration_s, isApart }] of entries.entries()) {
    if (i > 0 && isApart) lines.push('#EXT-X-DISCONTINUITY');
    if (mapped !== file.name) lines.push(`#EXT-X-MAP:URI="${file.name}/init.mp4${suffix}"`);
    mapped = file.name;
    lines.push(
      `#EXT-X-PROGRAM-DATE-TIME:${new Date(from).toISOString()}`,
      `#EXTINF:${Number(duration_s.toFixed(5))},`,
      `${file.name}/segment-${at}-${bytes}.m4s${suffix}`,
    );
  }
  lines.push('#EXT-X-ENDLIST');
  return `${lines.join('\n')}\n`;
}
