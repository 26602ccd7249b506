import { z } from 'zod';
import { SightlineError } from '../base/errors.ts';
import type { Principal } from '../auth/principal.ts';
import { hasTag } from './range.ts';
import { bytes, type Caller, type Route } from './route.ts';

/** Channels of cameras for players of HLS. */

interface Key {
  readonly camera: string;
  readonly channel: string;
}

type Kept = Uint8Array | undefined;

/** `channels/hls/channels.ts` has what these do, and their errors. */
interface PlayedChannels {
  requireShown(key: Key, caller: Principal): void;
  multivariant(key: Key, asker: Caller, options: { readonly suffix: string }): Promise<string>;
  media(
    key: Key,
    wanted: { readonly msn: number; readonly part: number | undefined } | undefined,
    asker: Caller,
    options: { readonly suffix: string; readonly isDelta: boolean },
  ): Promise<{ readonly text: string; readonly targetS: number }>;
  init(key: Key, epoch: number): Kept;
  segment(key: Key, epoch: number, msn: number): Kept;
  part(key: Key, epoch: number, number: number, asker: Caller): Promise<Kept>;
}

export interface HlsHost {
  readonly channels: PlayedChannels;
  /** Nobody needs a key: caches may keep the answers for everybody. */
  isOpen(): boolean;
}

const READ = { action: 'read', resource: 'cameras/:id' } as const;
const PLAYLIST_TYPE = 'application/vnd.apple.mpegurl';
const MEDIA_TYPE = 'video/mp4';
/** Of what never changes, s. No player asks for it a day later. */
const IMMUTABLE_S = 86_400;
/** Playlists, in target durations (draft-pantos-hls-rfc8216bis, 6.2.6): that of one moment, which its address names, and the present one. */
const BLOCKING_DURATIONS = 6;
const PRESENT_DURATIONS = 0.5;
const CAMERA_ERRORS = [
  'CAMERA_UNKNOWN',
  'CAMERA_MASKED',
  'NOT_FOUND',
  'CHANNEL_UNAVAILABLE',
  'CAMERA_OFF',
  'CAMERA_ENDED',
  'CAMERA_UNREACHABLE',
  'CAMERA_CREDENTIALS',
  'CAMERA_FORMAT',
  'CAMERA_NO_PICTURE',
  'ANNOTATE_LIMIT_REACHED',
  'ANNOTATE_FAILED',
  'WAIT_LIMIT_REACHED',
  'SHUTTING_DOWN',
] as const;
const KEPT_ERRORS = ['CAMERA_UNKNOWN', 'CAMERA_MASKED', 'NOT_FOUND', 'RANGE_BAD'] as const;

const number = z
  .string()
  .regex(/^\d{1,15}$/, 'it is a whole number of up to 15 digits')
  .transform(Number);
const channelParams = z.object({
  id: z.string().describe('id of the camera'),
  channel: z.string().describe('`raw`: its own picture; `annotated`: with what was found drawn on it'),
});
const epochParams = channelParams.extend({ epoch: number.describe('of the frames') });
const segmentParams = epochParams.extend({ number: number.describe('as the playlist names it') });
const directives = z.looseObject({
  _HLS_msn: number.optional().describe('wait until the playlist has this segment'),
  _HLS_part: number.optional().describe('and this part of it'),
  _HLS_skip: z.enum(['YES', 'v2']).optional().describe('leave out what the player has already'),
});

type Channel = z.output<typeof channelParams>;

export function hlsRoutes({ channels, isOpen }: HlsHost): Route[] {
  /** For as long as an answer counts, s; 0: it does not. */
  function cache(caller: Caller, seconds: number, more = ''): void {
    const whose = isOpen() ? 'public' : 'private';
    caller.setHeader('Cache-Control', seconds < 1 ? 'no-cache' : `${whose}, max-age=${Math.floor(seconds)}${more}`);
  }

  /** Errors: those of the channel that it asks for; what the caller may not have. */
  async function whatMayBeSeen<T>(params: Channel, caller: Caller, ask: () => T | Promise<T>): Promise<T> {
    // A refusal may be another answer at any moment.
    caller.setHeader('Cache-Control', 'no-store');
    const principal = caller.principal!;
    channels.requireShown(keyOf(params), principal);
    const found = await ask();
    // While it waited the credential may have come to its end, or masks to the camera.
    principal.require('read', `cameras/${params.id}`);
    channels.requireShown(keyOf(params), principal);
    return found;
  }

  /** Something that never changes. undefined: the client has it. Errors: as above, and NOT_FOUND. */
  async function immutable(
    { params, tag, caller }: { readonly params: Channel; readonly tag: string; readonly caller: Caller },
    ask: () => Kept | Promise<Kept>,
  ): Promise<Kept> {
    const found = await whatMayBeSeen(params, caller, ask);
    if (found === undefined) throw new SightlineError('NOT_FOUND', 'it is not kept any more, or will never be there');
    caller.setHeader('ETag', `"${tag}"`);
    cache(caller, IMMUTABLE_S, ', immutable');
    return hasTag(caller.request.headers['if-none-match'], `"${tag}"`) ? undefined : found;
  }

  const common = { permission: READ, tag: 'cameras' } as const;
  return [
    bytes({
      ...common,
      url: '/hls/:id/:channel/index.m3u8',
      summary: 'a camera for players of HLS: the playlist to begin with',
      description:
        '`raw`: H.264 or H.265 as the camera sends it. The first request opens the channel, and waits for its first segment. Where `access_token` is in the query, the addresses in the playlist have it too.',
      contentType: PLAYLIST_TYPE,
      params: channelParams,
      query: z.looseObject({}),
      errors: CAMERA_ERRORS,
      bytes: async ({ params, caller }) => {
        const ask = () => channels.multivariant(keyOf(params), caller, { suffix: suffixOf(caller) });
        const text = await whatMayBeSeen(params, caller, ask);
        caller.setHeader('Cache-Control', 'no-cache');
        return Buffer.from(text);
      },
    }),
    bytes({
      ...common,
      url: '/hls/:id/:channel/media.m3u8',
      summary: 'its segments and parts',
      description: 'With `_HLS_msn` the answer waits until they are there, for up to three target durations.',
      contentType: PLAYLIST_TYPE,
      params: channelParams,
      query: directives,
      errors: CAMERA_ERRORS,
      bytes: async ({ params, query, caller }) => {
        const { _HLS_msn: msn, _HLS_part: part, _HLS_skip: skip } = query;
        if (msn === undefined && part !== undefined) {
          throw new SightlineError('QUERY_BAD', 'query._HLS_part: it needs _HLS_msn');
        }
        const wanted = msn === undefined ? undefined : { msn, part };
        const options = { isDelta: skip !== undefined, suffix: suffixOf(caller) };
        const ask = () => channels.media(keyOf(params), wanted, caller, options);
        const { text, targetS } = await whatMayBeSeen(params, caller, ask);
        cache(caller, targetS * (wanted ? BLOCKING_DURATIONS : PRESENT_DURATIONS));
        return Buffer.from(text);
      },
    }),
    bytes({
      ...common,
      url: '/hls/:id/:channel/:epoch/init.mp4',
      summary: 'what all segments of an epoch need first',
      contentType: MEDIA_TYPE,
      hasRanges: true,
      params: epochParams,
      query: z.looseObject({}),
      errors: KEPT_ERRORS,
      bytes: ({ params, caller }) =>
        immutable({ params, tag: `${params.epoch}`, caller }, () => channels.init(keyOf(params), params.epoch)),
    }),
    bytes({
      ...common,
      url: '/hls/:id/:channel/:epoch/segment-:number.m4s',
      summary: 'a segment: frames with their names (`emsg`)',
      contentType: MEDIA_TYPE,
      hasRanges: true,
      params: segmentParams,
      query: z.looseObject({}),
      errors: KEPT_ERRORS,
      bytes: ({ params, caller }) => {
        const { epoch, number: msn } = params;
        const ask = () => channels.segment(keyOf(params), epoch, msn);
        return immutable({ params, tag: `${epoch}-s${msn}`, caller }, ask);
      },
    }),
    bytes({
      ...common,
      url: '/hls/:id/:channel/:epoch/part-:number.m4s',
      summary: 'a part of a segment',
      description: 'The one that comes next, as the playlist hints at it, may be asked for before it is there.',
      contentType: MEDIA_TYPE,
      hasRanges: true,
      params: segmentParams,
      query: z.looseObject({}),
      errors: [...KEPT_ERRORS, 'CAMERA_NO_PICTURE', 'WAIT_LIMIT_REACHED', 'SHUTTING_DOWN'],
      bytes: ({ params, caller }) => {
        const { epoch, number: part } = params;
        const ask = () => channels.part(keyOf(params), epoch, part, caller);
        return immutable({ params, tag: `${epoch}-p${part}`, caller }, ask);
      },
    }),
  ];
}

const keyOf = ({ id, channel }: Channel) => ({ camera: id, channel });

/** Addresses in a playlist do not inherit the query by which it came; a player that can set no headers has its key there. */
function suffixOf({ request: { url = '' } }: Caller): string {
  const at = url.indexOf('?');
  const token = at < 0 ? null : new URLSearchParams(url.slice(at)).get('access_token');
  return token === null ? '' : `?access_token=${encodeURIComponent(token)}`;
}
