import { Readable } from 'node:stream';
import { z } from 'zod';
import type { Principal } from '../auth/principal.ts';
import { wallTimeMs, type Clock } from '../base/clock.ts';
import { SightlineError } from '../base/errors.ts';
import { CameraMedia, SHOWN_CHANNELS, shownPieces, suffixOf, wholeNumber, type AskedMedia } from './camera-media.ts';
import { answer, bytes, type Caller, type Route } from './route.ts';

/** What was recorded of cameras: when, as a playlist, and as files. */

const MODES = ['off', 'continuous', 'events'] as const;
const STATES = ['off', 'writing', 'waiting', 'masked', 'failed'] as const;

interface Span {
  readonly fromMs: number;
  readonly toMs: number;
  readonly bytes: number;
}

/** `channels/archive/desk.ts` has what these do, and their errors. */
export interface ArchiveDesk {
  requireShown(camera: string, caller: Principal): void;
  requireKnown(camera: string): void;
  report(camera: string): {
    readonly mode: (typeof MODES)[number];
    readonly state: (typeof STATES)[number];
    readonly reason: SightlineError | undefined;
    readonly files: number;
    readonly bytes: number;
    readonly oldestMs: number | undefined;
    readonly newestMs: number | undefined;
  };
  spans(camera: string, fromMs: number, toMs: number): readonly Span[];
  playlist(camera: string, fromMs: number, toMs: number, suffix: string): Promise<string>;
  init(camera: string, name: string): Promise<Uint8Array | undefined>;
  segment(
    camera: string,
    name: string,
    place: { readonly at: number; readonly count: number },
    viewer: string,
  ): Promise<Uint8Array | undefined>;
  clip(
    camera: string,
    fromMs: number,
    toMs: number,
  ): Promise<{ readonly fromMs: number; readonly chunks: () => AsyncIterable<Uint8Array> }>;
  annotatedClip(
    camera: string,
    fromMs: number,
    toMs: number,
    signal: AbortSignal,
  ): Promise<{ readonly fromMs: number; readonly chunks: () => AsyncIterable<Uint8Array> }>;
  /** Throws before anything is read. */
  results(camera: string, fromMs: number, toMs: number): AsyncIterable<Uint8Array>;
}

export interface ArchiveHost {
  readonly clock: Clock;
  readonly desk: ArchiveDesk;
  /** Nobody needs a key: caches may keep the answers for everybody. */
  isOpen(): boolean;
}

const READ = { action: 'read', resource: 'cameras/:id' } as const;
const HOUR_MS = 3_600_000;
const LISTED_MS = { default: 24 * HOUR_MS, max: 31 * 24 * HOUR_MS };
/** Of a playlist, and of a clip. */
const RANGE_HOURS_MAX = 6;
const RANGE_MS_MAX = RANGE_HOURS_MAX * HOUR_MS;
const SPANS_MAX = 2_000;
const RECORDING_ERRORS = ['CAMERA_UNKNOWN', 'CAMERA_MASKED', 'RECORDING_MISSING'] as const;

const idParams = z.object({ id: z.string().describe('id of the camera') });
const fileParams = idParams.extend({ file: z.string().describe('as the playlist names it') });
const segmentParams = fileParams.extend({
  at: wholeNumber.describe('where in the file'),
  count: wholeNumber.describe('bytes'),
});

const moment = z
  .string()
  .max(40)
  .transform((text) =>
    /^\d{1,15}$/.test(text) ? Number(text) : /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text) : NaN,
  )
  .refine((timeMs) => Number.isFinite(timeMs), 'it is a time: Unix ms, or ISO 8601 such as 2026-12-02T08:00:00Z');
const rangeQuery = z.looseObject({
  from: moment.describe('Unix ms, or ISO 8601'),
  to: moment.describe('the same; what begins then is not in it'),
});
const clipQuery = rangeQuery.extend({
  channel: z
    .enum(SHOWN_CHANNELS)
    .default('raw')
    .describe('`raw`: its own frames; `annotated`: encoded anew, with what was found, and its masks, drawn on them'),
});

const listSchema = z
  .object({
    mode: z.enum(MODES).describe('`record` of the camera'),
    state: z
      .enum(STATES)
      .describe(
        '`writing`: what comes of it is written. `waiting`: for an event, or for earlier recordings to be looked at. `masked`: it has masks, which its own frames have not. `failed`: see `reason`',
      ),
    reason: z.object({ code: z.string(), message: z.string() }).nullable(),
    files: z.int().describe('that are kept, of any time'),
    bytes: z.int(),
    oldest: z.number().nullable().describe('Unix ms'),
    newest: z.number().nullable().describe('Unix ms'),
    spans: z
      .array(z.object({ from: z.number(), to: z.number(), bytes: z.int() }))
      .describe(
        'in which everything was recorded, Unix ms, of the time that was asked for; `bytes` of the files that they are in',
      ),
    more: z.boolean().describe(`there are more than ${SPANS_MAX}: ask from the end of the last one on`),
  })
  .meta({ id: 'CameraRecordings', description: 'what was recorded of a camera' });

export function archiveRoutes({ clock, desk, isOpen }: ArchiveHost): Route[] {
  const media = new CameraMedia(isOpen);
  const asked = (id: string, caller: Caller): AskedMedia => {
    return { caller, id, requireShown: (principal) => desk.requireShown(id, principal) };
  };
  return [
    answer({
      method: 'GET',
      url: '/api/cameras/:id/recordings',
      permission: READ,
      tag: 'recordings',
      summary: 'when a camera was recorded',
      description: 'Without `from` and `to` of the last 24 hours; of 31 days at most.',
      params: idParams,
      query: rangeQuery.partial(),
      errors: ['CAMERA_UNKNOWN'],
      response: listSchema,
      handle: ({ params: { id }, query }) => {
        const toMs = query.to ?? wallTimeMs(clock);
        const fromMs = query.from ?? toMs - LISTED_MS.default;
        requireRange(fromMs, toMs, LISTED_MS.max);
        const { reason, oldestMs, newestMs, ...report } = desk.report(id);
        const spans = desk.spans(id, fromMs, toMs);
        return {
          ...report,
          reason: reason ? { code: reason.code, message: reason.message } : null,
          oldest: oldestMs ?? null,
          newest: newestMs ?? null,
          spans: spans.slice(0, SPANS_MAX).map((span) => ({ from: span.fromMs, to: span.toMs, bytes: span.bytes })),
          more: spans.length > SPANS_MAX,
        };
      },
    }),
    bytes({
      url: '/recordings/:id/media.m3u8',
      permission: READ,
      tag: 'recordings',
      summary: 'what was recorded, for players of HLS',
      description:
        'From `from` up to `to`, 6 hours at most. Where `access_token` is in the query, the addresses in the playlist have it too.',
      contentType: 'application/vnd.apple.mpegurl',
      params: idParams,
      query: rangeQuery,
      errors: RECORDING_ERRORS,
      bytes: async ({ params: { id }, query: { from, to }, caller }) => {
        requireRange(from, to, RANGE_MS_MAX);
        const text = await media.shown(asked(id, caller), () => desk.playlist(id, from, to, suffixOf(caller)));
        return media.playlist(caller, text);
      },
    }),
    bytes({
      url: '/recordings/:id/:file/init.mp4',
      permission: READ,
      tag: 'recordings',
      summary: 'what all segments of a file need first',
      contentType: 'video/mp4',
      hasRanges: true,
      params: fileParams,
      query: z.looseObject({}),
      errors: ['CAMERA_UNKNOWN', 'CAMERA_MASKED', 'NOT_FOUND', 'RANGE_BAD'],
      bytes: ({ params: { id, file }, caller }) =>
        media.immutable({ ...asked(id, caller), tag: file }, () => desk.init(id, file)),
    }),
    bytes({
      url: '/recordings/:id/:file/segment-:at-:count.m4s',
      permission: READ,
      tag: 'recordings',
      summary: 'a part of a file: frames with their names (`emsg`)',
      contentType: 'video/mp4',
      hasRanges: true,
      params: segmentParams,
      query: z.looseObject({}),
      errors: ['CAMERA_UNKNOWN', 'CAMERA_MASKED', 'NOT_FOUND', 'RANGE_BAD'],
      bytes: ({ params: { id, file, at, count }, caller }) =>
        media.immutable({ ...asked(id, caller), tag: `${file}-${at}-${count}` }, () =>
          desk.segment(id, file, { at, count }, viewerOf(caller)),
        ),
    }),
    bytes({
      url: '/recordings/:id/clip.mp4',
      permission: READ,
      tag: 'recordings',
      summary: 'what was recorded, as one file',
      description:
        'From the key frame at or before `from` up to `to`, 6 hours at most: the camera’s frames, each with its name. What is missing in between is missing in the time of the file as well. An answer that is not whole breaks off.',
      contentType: 'video/mp4',
      params: idParams,
      query: clipQuery,
      errors: [...RECORDING_ERRORS, 'CLIP_BROKEN', 'EXPORT_LIMIT_REACHED', 'EXPORT_FAILED', 'SHUTTING_DOWN'],
      bytes: async ({ params: { id }, query: { from, to, channel }, caller }) => {
        requireRange(from, to, RANGE_MS_MAX);
        const isDrawn = channel === 'annotated';
        const one = isDrawn ? { caller, id, requireShown: () => desk.requireKnown(id) } : asked(id, caller);
        const gone = new AbortController();
        caller.onGone(() => gone.abort());
        const open = () => (isDrawn ? desk.annotatedClip(id, from, to, gone.signal) : desk.clip(id, from, to));
        const clip = await media.shown(one, open);
        const name = `${clipName(id, clip.fromMs)}${isDrawn ? '-annotated' : ''}`;
        caller.setHeader('Content-Disposition', `attachment; filename="${name}.mp4"`);
        return streamOf(shownPieces(one, clip.chunks()));
      },
    }),
    bytes({
      url: '/recordings/:id/clip.jsonl',
      permission: READ,
      tag: 'recordings',
      summary: 'what was found in it',
      description:
        'A line of JSON for each result, by the time of capture; fields as in [protocol.md](protocol.md#cameras).',
      contentType: 'application/jsonl',
      params: idParams,
      query: rangeQuery,
      errors: RECORDING_ERRORS,
      bytes: async ({ params: { id }, query: { from, to }, caller }) => {
        requireRange(from, to, RANGE_MS_MAX);
        const found = await media.shown(asked(id, caller), () => desk.results(id, from, to));
        caller.setHeader('Content-Disposition', `attachment; filename="${clipName(id, from)}.jsonl"`);
        return streamOf(shownPieces(asked(id, caller), found));
      },
    }),
  ];
}

const AGENT_CHARS_MAX = 200;

/** As far as a request tells viewers apart. */
function viewerOf({ principal, address, request }: Caller): string {
  return [principal?.id, address, request.headers['user-agent']?.slice(0, AGENT_CHARS_MAX)].join(' ');
}

function streamOf(pieces: AsyncIterable<Uint8Array>): Readable {
  return Readable.from(pieces, { objectMode: false });
}

/** Throws QUERY_BAD. */
function requireRange(fromMs: number, toMs: number, msMax: number): void {
  if (!(fromMs < toMs)) throw new SightlineError('QUERY_BAD', 'query.to: it is not behind from');
  if (toMs - fromMs > msMax)
    throw new SightlineError('QUERY_BAD', `query.to: it is more than ${msMax / HOUR_MS} hours behind from`);
}

/** No file system objects to it. */
function clipName(id: string, fromMs: number): string {
  return `${id}-${new Date(fromMs).toISOString().slice(0, 19).replaceAll(':', '-')}Z`;
}
