import { z } from 'zod';
import { PICTURE_CONDITIONS } from './messages.ts';

/** Cameras in REST documents and messages. */

/**
 * `off`: not wanted. `connecting`: no frame of this connection yet. `live`: frames come. `stalled`: they came, and come no more. `backing_off`: the last try has failed; the
 * next one is at `until`. `waiting`: for whoever publishes to it. `failed`: there will be none, because it would be of no use. `ended`: a file that was played to its end.
 */
export const CAMERA_STATES = [
  'off',
  'waiting',
  'connecting',
  'live',
  'stalled',
  'backing_off',
  'failed',
  'ended',
] as const;
export type CameraState = (typeof CAMERA_STATES)[number];

const unixMs = (what: string) => z.number().describe(`${what}, Unix ms`);

export const cameraSchema = z
  .object({
    id: z.string(),
    url: z.string().describe('without credentials'),
    class: z.enum(['critical', 'high', 'normal', 'low']),
    pipelines: z.array(z.string()),
    state: z.enum(CAMERA_STATES),
    since: unixMs('when it came into this state'),
    reason: z
      .object({ code: z.string(), message: z.string() })
      .nullable()
      .describe('of the last failure; null: there was none since it was live'),
    until: unixMs('when it is tried again').nullable().describe('null: it is not waiting'),
    picture: z
      .object({ condition: z.enum(PICTURE_CONDITIONS), since: unixMs('since when') })
      .describe(
        'what can be seen of the picture itself: `frozen`, `black`, `covered` (the lens), `moved` (the camera)',
      ),
    stream: z
      .object({
        format: z.string(),
        codec: z.string(),
        codec_string: z.string().nullable().describe('RFC 6381; null: there is no raw channel of this codec'),
        width: z.int(),
        height: z.int(),
        clock: z.enum(['camera', 'arrival']).describe('whose clock capture times are from'),
        epoch: unixMs('of the connection'),
      })
      .nullable(),
    decoding: z
      .object({
        by: z.string().describe('`software`, or the kind of device (`fleet.hardware_decoding`)'),
        reason: z.string().nullable().describe('why it is the software, though a device is wanted'),
      })
      .nullable()
      .describe('what decodes its frames; null: nothing is decoded'),
    process: z.int().nullable().describe('pid of the process that reads it'),
    rates: z
      .object({
        received_fps: z.number(),
        received_bits_per_s: z.number(),
        decoded_fps: z.number(),
        pictures_fps: z.number().describe('handed to the pipelines'),
        granted_fps: z.number().nullable().describe('what the engine has for it; null: unlimited'),
        annotated_fps: z
          .number()
          .nullable()
          .describe(
            'pictures of its annotated channel, at most: fewer than `fleet.annotated_fps` where the machine has no time for them; null: nobody watches that',
          ),
        annotated_side: z
          .int()
          .nullable()
          .describe(
            'longest side of these pictures, pixels, at most: less than `fleet.annotated_side` where the machine has no time for them; null: nobody watches that',
          ),
      })
      .describe('of the last seconds'),
    frames: z
      .object({
        received: z.int(),
        decoded: z.int(),
        damaged: z.int(),
        pictures: z.int(),
        pictures_dropped: z.int(),
        fragments: z.int(),
        fragments_dropped: z.int(),
        transcoded: z.int().describe('encoded anew as H.264'),
        transcoded_dropped: z.int().describe('not encoded, though somebody watched'),
        annotated: z.int().describe('encoded with results drawn on them'),
        annotated_dropped: z.int().describe('not drawn on, though somebody watched, and it was their turn'),
      })
      .describe('since it was added'),
    connections: z.int().describe('times that it was live'),
    viewers: z.int().describe('of its raw channel'),
    masked: z
      .boolean()
      .describe(
        'parts of it are black in all that is made of it; its own frames are for `unmasked:cameras/{id}` alone',
      ),
    transcoding: z.boolean().describe('it is encoded anew as H.264: somebody watches it who cannot play its own codec'),
    annotating: z.boolean().describe('results are drawn on its frames: somebody watches that'),
  })
  .meta({ id: 'Camera', description: 'a camera of the fleet' });

export type CameraDocument = z.output<typeof cameraSchema>;
/** How a camera is now. */
export type CameraStanding = Pick<CameraDocument, 'state' | 'since' | 'reason' | 'until' | 'picture' | 'stream'>;
