import { z } from 'zod';
import type { InitName } from '../base/camera-frame.ts';
import { SightlineError } from '../base/errors.ts';
import type { Principal } from '../auth/principal.ts';
import { CameraMedia, suffixOf, wholeNumber, type AskedMedia } from './camera-media.ts';
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
  init(key: Key, name: InitName): Promise<Kept>;
  segment(key: Key, epoch: number, msn: number): Promise<Kept>;
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

const channelParams = z.object({
  id: z.string().describe('id of the camera'),
  channel: z.string().describe('`raw`: its own picture; `annotated`: with what was found drawn on it'),
});
const epochParams = channelParams.extend({ epoch: wholeNumber.describe('of the frames') });
const initParams = epochParams.extend({
  size: z
    .string()
    .regex(/^[1-9]\d{0,4}x[1-9]\d{0,4}$/, 'must be a width and a height, such as 1280x720')
    .describe('of the pictures, pixels: width, `x`, height'),
});
const segmentParams = epochParams.extend({ number: wholeNumber.describe('as the playlist names it') });
const directives = z.looseObject({
  _HLS_msn: wholeNumber.optional().describe('wait until the playlist has this segment'),
  _HLS_part: wholeNumber.optional().describe('and this part of it'),
  _HLS_skip: z.enum(['YES', 'v2']).optional().describe('leave out what the player has already'),
});

type Channel = z.output<typeof channelParams>;

export function hlsRoutes({ channels, isOpen }: HlsHost): Route[] {
  const media = new CameraMedia(isOpen);
  const asked = (params: Channel, caller: Caller): AskedMedia => {
    return { caller, id: params.id, requireShown: (principal) => channels.requireShown(keyOf(params), principal) };
  };
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
        const text = await media.shown(asked(params, caller), ask);
        caller.setHeader('Cache-Control', 'no-cache');
        return media.playlist(caller, text);
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
        const { text, targetS } = await media.shown(asked(params, caller), ask);
        media.keep(caller, targetS * (wanted ? BLOCKING_DURATIONS : PRESENT_DURATIONS));
        return media.playlist(caller, text);
      },
    }),
    bytes({
      ...common,
      url: '/hls/:id/:channel/:epoch/init-:size.mp4',
      summary: 'what all segments of an epoch, and of a size, need first',
      contentType: MEDIA_TYPE,
      hasRanges: true,
      params: initParams,
      query: z.looseObject({}),
      errors: KEPT_ERRORS,
      bytes: ({ params, caller }) => {
        const { epoch, size } = params;
        const [width, height] = size.split('x').map(Number) as [number, number];
        const ask = () => channels.init(keyOf(params), { epoch, width, height });
        return media.immutable({ ...asked(params, caller), tag: `${epoch}-${size}` }, ask);
      },
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
        return media.immutable({ ...asked(params, caller), tag: `${epoch}-s${msn}` }, ask);
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
        return media.immutable({ ...asked(params, caller), tag: `${epoch}-p${part}` }, ask);
      },
    }),
  ];
}

const keyOf = ({ id, channel }: Channel) => ({ camera: id, channel });
