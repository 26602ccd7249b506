import { describe, expect, test } from 'vitest';
import { initOf } from '../../../test/support/hls-fragments.ts';
import { mediaPlaylist, multivariantPlaylist, type MediaPlaylist } from './playlist.ts';
import type { Part, Segment } from '../segmenter.ts';

const START_MS = Date.UTC(2026, 0, 2, 3, 4, 5, 678);

function partsFrom(number: number, count: number, beginsWithKey = true): Part[] {
  return Array.from({ length: count }, (_, i) => ({
    number: number + i,
    durationS: 0.25,
    isIndependent: beginsWithKey && i === 0,
    bytes: new Uint8Array(1),
  }));
}

/** A second long each, in four parts. */
function segment(msn: number, more: Partial<Segment> = {}): Segment {
  return {
    msn,
    init: initOf(7),
    isDiscontinuous: false,
    isGap: false,
    startTimeMs: START_MS + msn * 1000,
    parts: partsFrom(msn * 4, 4),
    durationS: 1,
    bytes: new Uint8Array(4),
    ...more,
  };
}

function list(more: Partial<MediaPlaylist> = {}): MediaPlaylist {
  return {
    targetS: 2,
    partTargetS: 0.25,
    segments: [1, 2, 3].map((msn) => segment(msn)),
    open: undefined,
    discontinuitySequence: 0,
    hint: { epoch: 7, part: 16 },
    reports: [],
    isEnded: false,
    wallTimeMs: (timeMs) => timeMs,
    ...more,
  };
}

const count = (text: string, tag: string) => text.split('\n').filter((line) => line.startsWith(tag)).length;

test('a playlist', () => {
  const text = mediaPlaylist(list({ segments: [segment(1)], open: { ...segment(2), parts: partsFrom(8, 2) } }));
  expect(text).toBe(`#EXTM3U
#EXT-X-VERSION:9
#EXT-X-TARGETDURATION:2
#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=0.75,CAN-SKIP-UNTIL=12
#EXT-X-PART-INF:PART-TARGET=0.25
#EXT-X-MEDIA-SEQUENCE:1
#EXT-X-DISCONTINUITY-SEQUENCE:0
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-MAP:URI="7/init-64x36.mp4"
#EXT-X-PROGRAM-DATE-TIME:2026-01-02T03:04:06.678Z
#EXT-X-PART:DURATION=0.25,URI="7/part-4.m4s",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.25,URI="7/part-5.m4s"
#EXT-X-PART:DURATION=0.25,URI="7/part-6.m4s"
#EXT-X-PART:DURATION=0.25,URI="7/part-7.m4s"
#EXTINF:1,
7/segment-1.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-01-02T03:04:07.678Z
#EXT-X-PART:DURATION=0.25,URI="7/part-8.m4s",INDEPENDENT=YES
#EXT-X-PART:DURATION=0.25,URI="7/part-9.m4s"
#EXT-X-PRELOAD-HINT:TYPE=PART,URI="7/part-16.m4s"
`);
});

describe('the rules of the specification', () => {
  test('players stay three parts behind, and are sent what they have up to six target durations', () => {
    const text = mediaPlaylist(list({ targetS: 5, partTargetS: 0.17 }));
    expect(text).toContain('PART-HOLD-BACK=0.51,CAN-SKIP-UNTIL=30\n');
  });

  test('parts are listed for three target durations', () => {
    const text = mediaPlaylist(list({ segments: Array.from({ length: 20 }, (_, i) => segment(i)) }));
    // Of the six segments that end within six seconds of the end.
    expect(count(text, '#EXT-X-PART:')).toBe(24);
    expect(text).toMatch(/segment-13\.m4s\n#EXT-X-PROGRAM-DATE-TIME:.*\n#EXT-X-PART:/);
  });

  test('a new header and a discontinuity for another epoch', () => {
    const text = mediaPlaylist(
      list({
        discontinuitySequence: 3,
        segments: [segment(1), segment(2, { init: initOf(8), isDiscontinuous: true }), segment(3, { init: initOf(8) })],
      }),
    );
    expect(text).toContain('#EXT-X-DISCONTINUITY-SEQUENCE:3\n');
    expect(text).toMatch(/7\/segment-1\.m4s\n#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI="8\/init-64x36\.mp4"\n/);
    expect(count(text, '#EXT-X-MAP:')).toBe(2);
    expect(count(text, '#EXT-X-DISCONTINUITY\n'.trim())).toBe(2);
  });

  test('and for another size of the same epoch', () => {
    const half = { ...initOf(7), width: 32, height: 18 };
    const text = mediaPlaylist(
      list({
        segments: [segment(1), segment(2, { init: half, isDiscontinuous: true }), segment(3, { init: { ...half } })],
      }),
    );
    expect(text).toMatch(/7\/segment-1\.m4s\n#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI="7\/init-32x18\.mp4"\n/);
    expect(count(text, '#EXT-X-MAP:')).toBe(2);
  });

  test('what was lost is a gap', () => {
    const text = mediaPlaylist(
      list({ segments: [segment(1), segment(2, { isGap: true, parts: [], bytes: undefined })] }),
    );
    expect(text).toMatch(/#EXT-X-PROGRAM-DATE-TIME:[^\n]+\n#EXT-X-GAP\n#EXTINF:1,\n7\/segment-2\.m4s\n/);
  });

  test('it says that all segments begin with a key frame only where they do', () => {
    const inner = segment(2, { parts: partsFrom(8, 4, false) });
    expect(mediaPlaylist(list())).toContain('INDEPENDENT-SEGMENTS');
    expect(mediaPlaylist(list({ segments: [segment(1), inner] }))).not.toContain('INDEPENDENT-SEGMENTS');
  });

  test('at the end nothing more is to be waited for', () => {
    const text = mediaPlaylist(list({ isEnded: true }));
    expect(text.endsWith('7/segment-3.m4s\n#EXT-X-ENDLIST\n')).toBe(true);
    expect(text).not.toContain('PRELOAD-HINT');
  });

  test('it tells of the others', () => {
    const reports = [
      { uri: '../annotated/media.m3u8', lastMsn: 12, lastPart: 3 },
      { uri: '../x/media.m3u8', lastMsn: 1, lastPart: undefined },
    ];
    expect(mediaPlaylist(list({ reports }))).toMatch(
      /#EXT-X-RENDITION-REPORT:URI="\.\.\/annotated\/media\.m3u8",LAST-MSN=12,LAST-PART=3\n#EXT-X-RENDITION-REPORT:URI="\.\.\/x\/media\.m3u8",LAST-MSN=1\n$/,
    );
  });
});

describe('an update', () => {
  const segments = Array.from({ length: 20 }, (_, i) => segment(i, i < 3 ? { init: initOf(6) } : {}));

  test('leaves out what ended before the skip boundary', () => {
    const text = mediaPlaylist(list({ segments }), { isDelta: true });
    // Twelve seconds are left.
    expect(text).toContain('#EXT-X-MEDIA-SEQUENCE:0\n');
    expect(text).toContain('#EXT-X-SKIP:SKIPPED-SEGMENTS=8\n');
    expect([count(text, '#EXTINF:'), count(text, '#EXT-X-MAP:')]).toEqual([12, 0]);
    expect(text.split('\n').find((line) => line.endsWith('.m4s'))).toBe('7/segment-8.m4s');
  });

  test('has a header where what is left out has another one', () => {
    const text = mediaPlaylist(
      list({ segments: segments.map((one) => segment(one.msn, { init: initOf(one.msn < 8 ? 6 : 7) })) }),
      { isDelta: true },
    );
    expect(count(text, '#EXT-X-MAP:URI="7/init-64x36.mp4"')).toBe(1);
  });

  test('is the whole where nothing is that old', () => {
    expect(mediaPlaylist(list(), { isDelta: true })).toBe(mediaPlaylist(list()));
  });
});

test('every address has what stands behind it', () => {
  const reports = [{ uri: '../annotated/media.m3u8', lastMsn: 1, lastPart: 0 }];
  const text = mediaPlaylist(list({ reports }), { suffix: '?access_token=a%26b' });
  const uris = [...text.matchAll(/URI="([^"]+)"/g)].map(([, uri]) => uri!);
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  expect(uris.length + lines.length).toBeGreaterThan(15);
  for (const uri of [...uris, ...lines]) expect(uri).toMatch(/\?access_token=a%26b$/);
});

test('the playlist to begin with', () => {
  const variant = {
    codecString: 'hvc1.1.6.L93.B0',
    width: 1280,
    height: 720,
    rateFps: 12.5,
    peakBitsPerS: 1000.2,
    meanBitsPerS: 900,
    uri: 'media.m3u8',
  };
  expect(multivariantPlaylist(variant, { suffix: '?a' })).toBe(`#EXTM3U
#EXT-X-VERSION:9
#EXT-X-STREAM-INF:BANDWIDTH=1001,AVERAGE-BANDWIDTH=900,CODECS="hvc1.1.6.L93.B0",RESOLUTION=1280x720,FRAME-RATE=12.500
media.m3u8?a
`);
});
