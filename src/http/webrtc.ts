import { z } from 'zod';
import type { Principal } from '../auth/principal.ts';
import { answer, type Route } from './route.ts';

/** WHEP (draft-ietf-wish-whep): a viewer offers a connection of WebRTC by POST, and ends it by DELETE. */

interface Place {
  readonly camera: string;
  readonly channel: string;
}

export interface WhepHost {
  open(
    viewer: Place & { readonly principal: Principal; readonly address: string | undefined },
    offer: string,
  ): Promise<{ readonly secret: string; readonly tag: string; readonly answer: string }>;
  delete(place: Place, secret: string): void;
  patch(place: Place, secret: string, fragment: string, ifMatch: string | undefined): void;
}

const READ = { action: 'read', resource: 'cameras/:camera' } as const;
const FRAGMENT_TYPE = 'application/trickle-ice-sdpfrag';
const EXPOSED = 'Location, ETag, Accept-Patch';

const placeParams = {
  camera: z.string().describe('id of the camera'),
  channel: z.string().describe('`raw`: its own picture; `annotated`: with what was found drawn on it'),
};
const sessionParams = z.object({ ...placeParams, session: z.string().describe('as `Location` has it') });

export function whepRoutes(host: WhepHost, basePath: string): Route[] {
  return [
    answer({
      method: 'POST',
      url: '/whep/:camera/:channel',
      permission: READ,
      tag: 'webrtc',
      summary: 'watch a camera by WebRTC (WHEP)',
      description:
        'The body is an offer in SDP, the answer one that fits it. `Location` is the address of the session: DELETE ends it. Channels of data with the labels `frames` and `results` get the names of frames, and what was found in them.',
      params: z.object(placeParams),
      body: z.string(),
      bodyType: 'application/sdp',
      status: 201,
      contentType: 'application/sdp',
      errors: [
        'CAMERA_UNKNOWN',
        'CAMERA_OFF',
        'CAMERA_NO_PICTURE',
        'NOT_FOUND',
        'SDP_BAD',
        'SDP_UNFIT',
        'TRANSCODE_LIMIT_REACHED',
        'ANNOTATE_LIMIT_REACHED',
        'ADDRESS_LIMIT_REACHED',
        'WEBRTC_OFF',
        'WEBRTC_LIMIT_REACHED',
        'WEBRTC_UNAVAILABLE',
        'SHUTTING_DOWN',
      ],
      response: z.string(),
      handle: async ({ params, body, caller }) => {
        const opened = await host.open({ ...params, principal: caller.principal!, address: caller.address }, body);
        const { camera, channel } = params;
        const path = ['whep', camera, channel, opened.secret].map(encodeURIComponent).join('/');
        caller.setHeader('Location', `${basePath}/${path}`);
        caller.setHeader('ETag', opened.tag);
        caller.setHeader('Accept-Patch', FRAGMENT_TYPE);
        caller.setHeader('Access-Control-Expose-Headers', EXPOSED);
        return opened.answer;
      },
    }),
    answer({
      method: 'PATCH',
      url: '/whep/:camera/:channel/:session',
      permission: READ,
      tag: 'webrtc',
      summary: 'further addresses of a viewer (trickle ICE)',
      description:
        'Needs `If-Match` with the `ETag` of the session. They are checked, and not used: the server sends to nobody who has not sent to it before.',
      params: sessionParams,
      body: z.string(),
      bodyType: FRAGMENT_TYPE,
      status: 204,
      errors: ['SESSION_UNKNOWN', 'SDP_BAD', 'SDP_UNFIT', 'IF_MATCH_MISSING', 'IF_MATCH_FAILED'],
      response: z.undefined(),
      handle: ({ params: { session, ...place }, body, caller }) => {
        host.patch(place, session, body, caller.request.headers['if-match']);
        return undefined;
      },
    }),
    answer({
      method: 'DELETE',
      url: '/whep/:camera/:channel/:session',
      permission: READ,
      tag: 'webrtc',
      summary: 'end a session of WebRTC',
      params: sessionParams,
      errors: ['SESSION_UNKNOWN'],
      response: z.string(),
      handle: ({ params: { session, ...place } }) => {
        host.delete(place, session);
        return '';
      },
    }),
  ];
}
