import { z } from 'zod';
import type { Principal } from '../auth/principal.ts';
import type { ErrorCode } from '../base/errors.ts';
import { answer, type Caller, type Route } from './route.ts';

/**
 * WHEP (draft-ietf-wish-whep) and WHIP (RFC 9725): a viewer or a publisher of a camera offers a connection of WebRTC by POST, and ends it by DELETE.
 */

interface Opened {
  readonly secret: string;
  readonly tag: string;
  readonly answer: string;
}

interface Asker {
  readonly principal: Principal;
  readonly address: string | undefined;
}

/** `P`: what is watched, or published. */
interface SessionsHost<P> {
  open(asked: P & Asker, offer: string): Promise<Opened>;
  delete(place: P, secret: string): void;
  patch(place: P, secret: string, fragment: string, ifMatch: string | undefined): void;
}

interface CameraPlace {
  readonly camera: string;
}

interface ChannelPlace extends CameraPlace {
  readonly channel: string;
}

export interface WebRtcHost {
  readonly viewers: SessionsHost<ChannelPlace>;
  readonly publishers: SessionsHost<CameraPlace>;
}

const OFFER_TYPE = 'application/sdp';
const FRAGMENT_TYPE = 'application/trickle-ice-sdpfrag';
const EXPOSED = 'Location, ETag, Accept-Patch';
const OPEN_ERRORS = [
  'CAMERA_UNKNOWN',
  'CAMERA_OFF',
  'SDP_BAD',
  'SDP_UNFIT',
  'ADDRESS_LIMIT_REACHED',
  'WEBRTC_OFF',
  'WEBRTC_LIMIT_REACHED',
  'WEBRTC_UNAVAILABLE',
  'SHUTTING_DOWN',
] as const;

const camera = z.string().describe('id of the camera');
const channel = z.string().describe('`raw`: its own picture; `annotated`: with what was found drawn on it');

export function webRtcRoutes({ viewers, publishers }: WebRtcHost, basePath: string): Route[] {
  return [
    ...sessionRoutes<ChannelPlace>(viewers, {
      basePath,
      url: '/whep/:camera/:channel',
      params: { camera, channel },
      pathOf: (place) => ['whep', place.camera, place.channel],
      action: 'read',
      summary: 'watch a camera by WebRTC (WHEP)',
      description:
        'The body is an offer in SDP, the answer one that fits it. `Location` is the address of the session: DELETE ends it. Channels of data with the labels `frames` and `results` get the names of frames, and what was found in them.',
      errors: ['CAMERA_NO_PICTURE', 'NOT_FOUND', 'TRANSCODE_LIMIT_REACHED', 'ANNOTATE_LIMIT_REACHED'],
      who: 'viewer',
    }),
    ...sessionRoutes<CameraPlace>(publishers, {
      basePath,
      url: '/whip/:camera',
      params: { camera },
      pathOf: (place) => ['whip', place.camera],
      action: 'publish',
      summary: 'be a camera by WebRTC (WHIP)',
      description:
        'For a camera whose address is `whip:`. The body is an offer in SDP with H.264 to send, the answer one that fits it. `Location` is the address of the session: DELETE ends it. A camera has one publisher at a time. A channel of data with the label `end` gets the reason where the server ends it.',
      errors: ['CAMERA_NOT_PUBLISHED', 'CAMERA_TAKEN'],
      who: 'publisher',
    }),
  ];
}

interface SessionRows<P> {
  readonly basePath: string;
  readonly url: string;
  readonly params: { readonly [K in keyof P]: z.ZodString };
  readonly pathOf: (place: P) => readonly string[];
  readonly action: 'read' | 'publish';
  readonly summary: string;
  readonly description: string;
  /** Beside those of both. */
  readonly errors: readonly ErrorCode[];
  readonly who: string;
}

function sessionRoutes<P extends CameraPlace>(host: SessionsHost<P>, rows: SessionRows<P>): Route[] {
  const permission = { action: rows.action, resource: 'cameras/:camera' } as const;
  const placeParams = z.object(rows.params) as unknown as z.ZodType<P>;
  const session = z.string().describe('as `Location` has it');
  const sessionParams = z.object({ ...rows.params, session }) as unknown as z.ZodType<P & { readonly session: string }>;
  const sessionUrl = `${rows.url}/:session`;
  const opened = (place: P, { secret, tag }: Opened, caller: Caller): void => {
    const path = [...rows.pathOf(place), secret].map(encodeURIComponent).join('/');
    caller.setHeader('Location', `${rows.basePath}/${path}`);
    caller.setHeader('ETag', tag);
    caller.setHeader('Accept-Patch', FRAGMENT_TYPE);
    caller.setHeader('Access-Control-Expose-Headers', EXPOSED);
  };
  return [
    answer({
      method: 'POST',
      url: rows.url,
      permission,
      tag: 'webrtc',
      summary: rows.summary,
      description: rows.description,
      params: placeParams,
      body: z.string(),
      bodyType: OFFER_TYPE,
      status: 201,
      contentType: OFFER_TYPE,
      errors: [...OPEN_ERRORS, ...rows.errors],
      response: z.string(),
      handle: async ({ params, body, caller }) => {
        const found = await host.open({ ...params, principal: caller.principal!, address: caller.address }, body);
        opened(params, found, caller);
        return found.answer;
      },
    }),
    answer({
      method: 'PATCH',
      url: sessionUrl,
      permission,
      tag: 'webrtc',
      summary: `further addresses of a ${rows.who} (trickle ICE)`,
      description:
        'Needs `If-Match` with the `ETag` of the session. They are checked, and not used: the server sends to nobody who has not sent to it before.',
      params: sessionParams,
      body: z.string(),
      bodyType: FRAGMENT_TYPE,
      status: 204,
      errors: ['SESSION_UNKNOWN', 'SDP_BAD', 'SDP_UNFIT', 'IF_MATCH_MISSING', 'IF_MATCH_FAILED'],
      response: z.undefined(),
      handle: ({ params, body, caller }) => {
        host.patch(params, params.session, body, caller.request.headers['if-match']);
        return undefined;
      },
    }),
    answer({
      method: 'DELETE',
      url: sessionUrl,
      permission,
      tag: 'webrtc',
      summary: `end the session of a ${rows.who}`,
      params: sessionParams,
      errors: ['SESSION_UNKNOWN'],
      response: z.string(),
      handle: ({ params }) => {
        host.delete(params, params.session);
        return '';
      },
    }),
  ];
}
