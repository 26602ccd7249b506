import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import type { Principal } from '../auth/principal.ts';
import { wallAheadMs, type Clock } from '../base/clock.ts';
import { SightlineError } from '../base/errors.ts';
import { ENTRY_SECTIONS, nameFault } from '../config/keys.ts';
import { cameraEntry, CAMERAS_MAX, type Config } from '../config/schema.ts';
import { shownValue } from '../config/secrets.ts';
import { serveEvents } from '../delivery/sse.ts';
import { namedOutcomeMessage } from '../protocol/outcome-message.ts';
import { CAMERA_TABLE, readCameraTable } from '../sources/camera/camera-table.ts';
import { CAMERA_STATES, cameraSchema, type CameraDocument } from '../sources/camera/documents.ts';
import type { CameraFeed, CameraFeeds } from '../sources/camera/feed.ts';
import type { CameraTest } from '../sources/camera/address-test.ts';
import type { CameraSettings } from '../sources/camera/camera-settings.ts';
import { cameraSettings } from '../sources/camera/settings.ts';
import type { EventSettings } from './events.ts';
import { SHOWN_CHANNELS } from './camera-media.ts';
import { hasTag } from './range.ts';
import { answer, bytes, type Caller, type Route } from './route.ts';

/** The cameras that the server reads itself: seen, added, changed and removed. */

export interface CamerasHost {
  readonly clock: Clock;
  readonly feeds: Pick<CameraFeeds, 'all' | 'get'>;
  /** Of the configuration in force. */
  entries(): Config['cameras'];
  /** More will be there soon, without anybody's doing. */
  isPreparing(): boolean;
  /** Sets each as a whole, or removes it by null: all or none. Throws CONFIG_*. */
  change(entries: readonly CameraChange[]): void;
  /** What is done to these outlives the server. */
  isKept(cameras: readonly Config['cameras'][string][]): boolean;
  /** Errors: CAMERA_TESTS_BUSY. */
  test(settings: CameraSettings): Promise<CameraTest>;
  eventSettings(): EventSettings;
}

export interface CameraChange {
  readonly id: string;
  readonly value: Readonly<Record<string, unknown>> | null;
}

const READ = { action: 'read', resource: 'cameras/:id' } as const;
const ADMIN = { action: 'admin', resource: 'cameras/:id' } as const;
/** Of a thousand cameras, with all that can be said of each. */
const BULK_BYTES_MAX = 1_048_576;
const LIST_DEFAULT = 200;
const TEXT_CHARS_MAX = 200;
const EXPOSED_HEADERS = 'ETag, Sightline-Frame, Sightline-Capture-Time, Sightline-Capture-Clock, Sightline-Boxes';
const STILL_WIDTH = { min: 16, default: 640, max: 8192 };
const CONFIG_ERRORS = ['CONFIG_KEY_UNKNOWN', 'CONFIG_VALUE_BAD', 'CONFIG_CONTRADICTION'] as const;
const SECTION = ENTRY_SECTIONS.get('cameras')!;

/** Masks that are left out are not taken away: what nobody was to see would be seen. */
const changedEntry = cameraEntry.extend({ masks: cameraEntry.shape.masks.unwrap().optional() });

const idParams = z.object({ id: z.string().describe('its id') });
const cameraId = z
  .string()
  .check(({ value, issues }) => {
    const fault = nameFault(SECTION, value);
    if (fault !== undefined) issues.push({ code: 'custom', message: fault, input: value });
  })
  .describe('1 to 64 characters out of a-z, 0-9, ".", "_" and "-"');

const keptSchema = z
  .boolean()
  .describe('false: the next start does not know of it (`store`; what is done to a demo camera is for this run)');

const detailSchema = z
  .object({
    ...cameraSchema.shape,
    settings: z
      .object(cameraEntry.shape)
      .describe('as they are in force; of the address without what is secret, so that it cannot be sent back'),
  })
  .meta({ id: 'CameraDetail', description: 'a camera with its settings' });

const listSchema = z.object({
  cameras: z.array(cameraSchema),
  matched: z.int().describe('those that the filters let through, on other pages too'),
  total: z.int().describe('all that the caller may read'),
  states: z.record(z.enum(CAMERA_STATES), z.int()).describe('how many of all are in each state'),
  next: z.string().nullable().describe('`after` of the next page; null: this is the last one'),
  preparing: z.boolean().describe('more will be there soon: those of the demo, whose films are being made'),
});

const listQuery = z.strictObject({
  state: z
    .string()
    .check(({ value, issues }) => {
      const unknown = value.split(',').find((one) => !isState(one));
      if (unknown === undefined) return;
      issues.push({
        code: 'custom',
        message: `it is some of ${CAMERA_STATES.join(', ')}, with commas between them`,
        input: value,
      });
    })
    .optional()
    .describe('those in this state, or in one of several with commas between them'),
  text: z.string().max(TEXT_CHARS_MAX).optional().describe('those with this text in their id or address'),
  limit: z.coerce.number().int().min(1).max(CAMERAS_MAX).default(LIST_DEFAULT).describe('most cameras of the answer'),
  after: z.string().max(TEXT_CHARS_MAX).optional().describe('those behind this id, in the order of ids'),
});

const changedSchema = z.object({
  camera: detailSchema,
  change: z.enum(['added', 'changed', 'unchanged']),
  kept: keptSchema,
});

const bulkSchema = z.object({
  added: z.array(z.string()),
  changed: z.array(z.string()),
  unchanged: z.array(z.string()),
  kept: keptSchema,
});

const testSchema = z
  .object({
    ok: z.boolean().describe('frames came'),
    reason: cameraSchema.shape.reason.describe('why none came'),
    stream: cameraSchema.shape.stream.unwrap().omit({ epoch: true }).nullable(),
    first_frame_ms: z.number().nullable().describe('from the beginning to the first frame'),
    rates: z
      .object({ received_fps: z.number(), received_bits_per_s: z.number() })
      .nullable()
      .describe('of about a second'),
    still: z
      .object({ width: z.int(), height: z.int(), jpeg: z.string().describe('in base64') })
      .nullable()
      .describe('what it shows'),
    took_ms: z.number(),
  })
  .meta({ id: 'CameraTest', description: 'what an address was found to be' });

export function cameraRoutes(host: CamerasHost): Route[] {
  return [...readRoutes(host), ...changeRoutes(host), ...pictureRoutes(host)];
}

function readRoutes(host: CamerasHost): Route[] {
  return [
    answer({
      method: 'GET',
      url: '/api/cameras',
      permission: READ,
      tag: 'cameras',
      summary: 'the cameras: the state of each, since when and why',
      description: 'Those that the caller may read, in the order of their ids.',
      query: listQuery,
      response: listSchema,
      handle: ({ query, caller }) => list(host, query, caller.principal),
    }),
    answer({
      method: 'GET',
      url: '/api/cameras/:id',
      permission: READ,
      tag: 'cameras',
      summary: 'one camera, with its settings',
      params: idParams,
      response: detailSchema,
      errors: ['CAMERA_UNKNOWN'],
      handle: ({ params }) => detail(host, params.id),
    }),
    {
      kind: 'stream',
      url: '/api/cameras/:id/events',
      permission: READ,
      tag: 'cameras',
      summary: 'states and results of a camera as server-sent events',
      description:
        'An event `state` at the beginning and whenever it changes, and an event `result` for each frame that a pipeline was to look at, with the name of the frame. `Last-Event-ID` resumes the results; `gap` events tell of those that are not kept any more.',
      contentType: 'text/event-stream',
      params: idParams,
      errors: ['QUERY_BAD', 'CAMERA_UNKNOWN', 'CONNECTIONS_EXHAUSTED'],
      stream: (request, response, params) => {
        const feed = host.feeds.get(params['id'] ?? '');
        serveEvents(request, response, {
          stream: feed.results,
          ...host.eventSettings(),
          toEvent: (sample) => {
            const { clock } = host;
            return { event: 'result', data: namedOutcomeMessage(sample, clock.now(), wallAheadMs(clock)) };
          },
          beside: {
            event: 'state',
            data: () => stateOf(feed.report()),
            watch: (onChange) => feed.watchState(onChange),
          },
        });
      },
    },
  ];
}

function changeRoutes(host: CamerasHost): Route[] {
  return [
    answer({
      method: 'PUT',
      url: '/api/cameras/:id',
      permission: ADMIN,
      tag: 'cameras',
      summary: 'add a camera, or change one',
      description:
        'As a whole: what is left out gets its default, but for the address and the masks of a camera that there is, which stay. No other camera notices. `PUT /api/config/cameras/{id}` sets all of it.',
      params: z.object({ id: cameraId }),
      body: changedEntry.partial({ url: true }),
      example: { url: 'rtsp://10.0.0.7/live', class: 'high' },
      errors: CONFIG_ERRORS,
      response: changedSchema,
      handle: ({ params: { id }, body, caller }) => {
        requireCritical(caller, [body]);
        const before = entryOf(host, id);
        const url = body.url ?? before?.url;
        if (url === undefined) throw new SightlineError('BODY_BAD', 'body.url: a new camera needs an address');
        host.change([{ id, value: { ...keptMasks(before), ...body, url } }]);
        const after = entryOf(host, id)!;
        return { camera: detail(host, id), change: changeOf(before, after), kept: host.isKept([after]) };
      },
    }),
    answer({
      method: 'DELETE',
      url: '/api/cameras/:id',
      permission: ADMIN,
      tag: 'cameras',
      summary: 'remove a camera',
      description:
        'One of the configuration’s file stays removed after a restart as well, until `PUT /api/config` undoes that.',
      params: idParams,
      errors: ['CAMERA_UNKNOWN', ...CONFIG_ERRORS],
      response: z.object({ id: z.string(), kept: keptSchema }),
      handle: ({ params: { id } }) => {
        const before = entryOf(host, id);
        if (!before) throw unknownCamera(id);
        host.change([{ id, value: null }]);
        return { id, kept: host.isKept([before]) };
      },
    }),
    answer({
      method: 'POST',
      url: '/api/cameras',
      permission: ADMIN,
      tag: 'cameras',
      summary: 'add or change many cameras',
      description:
        'A list, or a table whose first line has the names of the columns: `id`, `url`, and whatever else a camera may have. All of them or, when something is wrong, none. Cameras that are not in it stay as they are, as do masks that are left out.',
      body: z
        .array(z.strictObject({ id: cameraId, ...changedEntry.shape }))
        .min(1, 'it has no camera')
        .max(CAMERAS_MAX, `it has more than ${CAMERAS_MAX} cameras`),
      bodyBytesMax: BULK_BYTES_MAX,
      csv: { read: readCameraTable, example: CAMERA_TABLE },
      example: [{ id: 'north-gate', url: 'rtsp://10.0.0.7/live', class: 'high' }],
      errors: CONFIG_ERRORS,
      response: bulkSchema,
      handle: ({ body, caller }) => {
        requireCritical(caller, body);
        for (const { id } of body) caller.principal?.require('admin', `cameras/${id}`);
        return changeMany(host, body);
      },
    }),
    answer({
      method: 'POST',
      url: '/api/cameras/test',
      permission: { action: 'admin', resource: 'cameras' },
      tag: 'cameras',
      summary: 'open an address once, and say what is there',
      description: 'Nothing is added or changed. It takes some seconds; several at a time are refused.',
      body: cameraEntry.pick({ url: true, transport: true }),
      example: { url: 'rtsp://10.0.0.7/live' },
      errors: ['CAMERA_TESTS_BUSY', 'CAMERA_FORBIDDEN', 'SHUTTING_DOWN'],
      response: testSchema,
      handle: async ({ body }) =>
        testDocument(await host.test(cameraSettings(cameraEntry.parse({ ...body, pipelines: [], loop: false })))),
    }),
  ];
}

function pictureRoutes({ feeds, clock }: CamerasHost): Route[] {
  return [
    bytes({
      url: '/cameras/:id/still.jpg',
      permission: READ,
      tag: 'cameras',
      summary: 'the newest picture of a camera',
      description:
        'With `channel=annotated` what was found is drawn on it: on a picture that was looked at, where there is one of the last 2 s; else on the newest one, dashed, where that will have gone by then. `Sightline-Boxes` says which: `own`, `predicted` or `none`; the first request waits for something to be drawn, 3.5 s at most. The headers `Sightline-Frame` (camera, epoch and number of the frame), `Sightline-Capture-Time` (Unix ms) and `Sightline-Capture-Clock` (`camera` or `arrival`) say which frame it is. One that the client has already is not sent again (304).',
      contentType: 'image/jpeg',
      params: idParams,
      query: z.strictObject({
        width: z.coerce
          .number()
          .int()
          .min(STILL_WIDTH.min)
          .max(STILL_WIDTH.max)
          .default(STILL_WIDTH.default)
          .describe('pixels at most; it is never enlarged'),
        channel: z
          .enum(SHOWN_CHANNELS)
          .default('raw')
          .describe('`raw`: its own picture, with its masks; `annotated`: with what was found drawn on it as well'),
      }),
      errors: ['CAMERA_UNKNOWN', 'CAMERA_NO_PICTURE'],
      bytes: async ({ params, query, caller }) => {
        const isDrawn = query.channel === 'annotated';
        const still = await feeds.get(params.id).still(query.width, isDrawn);
        const { frame, width, height, boxes, jpeg } = still;
        const tag = `"${frame.epoch}-${frame.seq}-${width}x${height}${isDrawn ? `-${boxes}` : ''}"`;
        const headers = {
          ETag: tag,
          // A wall asks for it every few seconds.
          'Cache-Control': 'private, max-age=1, must-revalidate',
          'Sightline-Frame': `${frame.camera}/${frame.epoch}/${frame.seq}`,
          'Sightline-Capture-Time': String(Math.round(still.captureTimeMs + wallAheadMs(clock))),
          'Sightline-Capture-Clock': still.clock,
          ...(isDrawn && { 'Sightline-Boxes': boxes }),
          'Access-Control-Expose-Headers': EXPOSED_HEADERS,
        };
        for (const [name, value] of Object.entries(headers)) caller.setHeader(name, value);
        return hasTag(caller.request.headers['if-none-match'], tag) ? undefined : jpeg;
      },
    }),
  ];
}

function list(
  host: CamerasHost,
  { state, text, limit, after }: z.output<typeof listQuery>,
  principal: Principal | undefined,
): z.output<typeof listSchema> {
  const all = host.feeds
    .all()
    .filter(({ id }) => principal?.allows('read', `cameras/${id}`))
    .map((feed) => feed.report());
  const states = Object.fromEntries(CAMERA_STATES.map((one) => [one, 0])) as Record<CameraDocument['state'], number>;
  for (const camera of all) states[camera.state]++;
  const wanted = state?.split(',');
  const word = text?.toLowerCase();
  const matching = all.filter(
    (camera) =>
      (wanted === undefined || wanted.includes(camera.state)) &&
      (word === undefined || camera.id.includes(word) || camera.url.toLowerCase().includes(word)),
  );
  const rest = after === undefined ? matching : matching.filter(({ id }) => id > after);
  const cameras = rest.slice(0, limit);
  const next = rest.length > limit ? cameras.at(-1)!.id : null;
  return { cameras, matched: matching.length, total: all.length, states, next, preparing: host.isPreparing() };
}

function changeMany(
  host: CamerasHost,
  rows: readonly ({ readonly id: string } & Readonly<Record<string, unknown>>)[],
): z.output<typeof bulkSchema> {
  const ids = rows.map(({ id }) => id);
  const twice = ids.find((id, i) => ids.indexOf(id) < i);
  if (twice !== undefined)
    throw new SightlineError('BODY_BAD', `body.${ids.lastIndexOf(twice)}.id: ${twice} is in it twice`);
  const before = new Map(ids.map((id) => [id, entryOf(host, id)]));
  host.change(rows.map(({ id, ...value }) => ({ id, value: { ...keptMasks(before.get(id)), ...value } })));
  const after = new Map(ids.map((id) => [id, entryOf(host, id)!]));
  const changes = [...after].map(([id, entry]) => [id, changeOf(before.get(id), entry)] as const);
  const of = (wanted: ReturnType<typeof changeOf>) => changes.flatMap(([id, change]) => (change === wanted ? id : []));
  return {
    added: of('added'),
    changed: of('changed'),
    unchanged: of('unchanged'),
    kept: host.isKept([...after.values()]),
  };
}

type Entry = Config['cameras'][string];

function keptMasks(before: Entry | undefined): Partial<Entry> {
  return before ? { masks: before.masks } : {};
}

function entryOf(host: CamerasHost, id: string): Entry | undefined {
  const entries = host.entries();
  return Object.hasOwn(entries, id) ? entries[id] : undefined;
}

function changeOf(before: Entry | undefined, after: Entry | undefined): 'added' | 'changed' | 'unchanged' {
  if (before === undefined) return 'added';
  return isDeepStrictEqual(before, after) ? 'unchanged' : 'changed';
}

/** Throws CAMERA_UNKNOWN. */
function detail(host: CamerasHost, id: string): z.output<typeof detailSchema> {
  const feed: CameraFeed = host.feeds.get(id);
  const entry = entryOf(host, id);
  if (!entry) throw unknownCamera(id);
  return { ...feed.report(), settings: shownValue(`cameras.${id}`, entry) as z.output<typeof cameraEntry> };
}

function unknownCamera(id: string): SightlineError {
  return new SightlineError('CAMERA_UNKNOWN', `there is no camera ${JSON.stringify(id.slice(0, 80))}`);
}

/** Class critical goes before all others: as for sessions, a key that lists its permissions needs one for it. */
function requireCritical({ principal }: Caller, cameras: readonly { readonly class?: unknown }[]): void {
  if (cameras.some((camera) => camera.class === 'critical')) principal?.require('publish', 'priority/critical');
}

function testDocument({ reason, stream, firstFrameMs, rates, still, tookMs }: CameraTest): z.output<typeof testSchema> {
  return {
    ok: reason === null,
    reason: reason && { code: reason.code, message: reason.message },
    stream: stream && {
      format: stream.format,
      codec: stream.codec,
      codec_string: stream.codecString,
      width: stream.width,
      height: stream.height,
      clock: stream.clock,
    },
    first_frame_ms: firstFrameMs,
    rates: rates && { received_fps: rates.fps, received_bits_per_s: rates.bitsPerS },
    still: still && { width: still.width, height: still.height, jpeg: Buffer.from(still.jpeg).toString('base64') },
    took_ms: tookMs,
  };
}

function stateOf({ id, state, since, reason, until, picture, stream }: CameraDocument) {
  return { camera: id, state, since, reason, until, picture, stream };
}

function isState(text: string): boolean {
  return CAMERA_STATES.some((state) => state === text);
}
