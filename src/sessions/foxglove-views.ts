import { Buffer } from 'node:buffer';
import { wellKnown, type ChannelSchema, type WellKnownName } from '../delivery/foreign-schema.ts';
import { toTimestamp } from '../delivery/recording-format.ts';
import { isPlainObject } from '../protocol/schema.ts';

/**
 * Parts of a message as the schemas that Foxglove's panels know (https://docs.foxglove.dev/docs/sdk/schemas), so that a
 * vehicle whose state holds `gps: { lat, lon }` and `pose: { x, y, heading }` is on the map and in the 3D panel.
 */
export interface View {
  /** The part's key in the message; the channel is called `<topic>.<key>`. */
  readonly key: string;
  readonly schema: ChannelSchema;
  /** Undefined for a message that has no such part. `timeMs`: the message's own time, Unix ms. */
  readonly toJson: (value: unknown, timeMs: number) => Uint8Array | undefined;
}

type Part = Readonly<Record<string, unknown>>;
type Convert = (part: Part, timestamp: object) => object | undefined;

const FRAME = 'map';
const KINDS: readonly { readonly name: WellKnownName; readonly convert: Convert }[] = [
  { name: 'foxglove.LocationFix', convert: locationFix },
  { name: 'foxglove.PoseInFrame', convert: poseInFrame },
];
const VIEWS_MAX = 16;
/** A longer key would make a name that no panel has room for. */
const KEY_CHARS_MAX = 256;
/** Keys of a message that are looked at. */
const KEYS_MAX = 1_000;

/** The views of a topic, judged by one message of it. The work is bounded. */
export function viewsOf(value: unknown): View[] {
  const views: View[] = [];
  if (!isPlainObject(value)) return views;
  let keys = 0;
  for (const key in value) {
    if (++keys > KEYS_MAX || views.length >= VIEWS_MAX) break;
    if (key.length > KEY_CHARS_MAX) continue;
    const part = value[key];
    if (!isPlainObject(part)) continue;
    const kind = KINDS.find(({ convert }) => convert(part, toTimestamp(0)) !== undefined);
    if (kind) views.push(makeView(key, kind));
  }
  return views;
}

function makeView(key: string, { name, convert }: (typeof KINDS)[number]): View {
  return {
    key,
    schema: wellKnown(name),
    toJson: (value, timeMs) => {
      const now = isPlainObject(value) && Object.hasOwn(value, key) ? value[key] : undefined;
      const converted = isPlainObject(now) ? convert(now, toTimestamp(timeMs)) : undefined;
      return converted && Buffer.from(JSON.stringify(converted));
    },
  };
}

/** Degrees and metres. An `accuracy` is taken for the standard deviation of every axis. */
function locationFix(part: Part, timestamp: object): object | undefined {
  const latitude = numberOf(part, 'latitude', 'lat');
  const longitude = numberOf(part, 'longitude', 'lon', 'lng');
  if (latitude === undefined || longitude === undefined) return undefined;
  const accuracy = numberOf(part, 'accuracy');
  const variance = (accuracy ?? 0) ** 2;
  return {
    timestamp,
    frame_id: FRAME,
    latitude,
    longitude,
    altitude: numberOf(part, 'altitude', 'alt') ?? 0,
    position_covariance: [variance, 0, 0, 0, variance, 0, 0, 0, variance],
    // 0 unknown, 1 approximated
    position_covariance_type: accuracy === undefined ? 0 : 1,
  };
}

/** Metres and radians, turned about the vertical axis alone. */
function poseInFrame(part: Part, timestamp: object): object | undefined {
  const x = numberOf(part, 'x');
  const y = numberOf(part, 'y');
  const heading = numberOf(part, 'heading', 'yaw', 'theta');
  if (x === undefined || y === undefined || heading === undefined) return undefined;
  const orientation = { x: 0, y: 0, z: Math.sin(heading / 2), w: Math.cos(heading / 2) };
  return { timestamp, frame_id: FRAME, pose: { position: { x, y, z: numberOf(part, 'z') ?? 0 }, orientation } };
}

function numberOf(part: Part, ...keys: readonly string[]): number | undefined {
  for (const key of keys) if (Object.hasOwn(part, key) && typeof part[key] === 'number') return part[key];
  return undefined;
}
