import type { CameraStateFields } from 'sightline/client/cameras';

/** What is said of a camera in words. Pure. */

/** What can be said without rates, which not everybody knows. */
export type Told = Pick<CameraStateFields, 'state' | 'since' | 'reason' | 'until' | 'picture'>;

type Seen = Pick<Told, 'state' | 'reason' | 'picture'>;

export type Filter = 'all' | 'live' | 'trouble';
export type Mood = 'live' | 'busy' | 'bad' | 'off';

const MOODS: Readonly<Record<string, Mood>> = {
  live: 'live',
  connecting: 'busy',
  waiting: 'off',
  stalled: 'bad',
  backing_off: 'bad',
  failed: 'bad',
  ended: 'off',
  off: 'off',
};

const MARKS: Readonly<Record<string, string>> = {
  frozen: 'Picture frozen',
  black: 'Picture black',
  covered: 'Lens covered',
  moved: 'Camera moved',
};

/** What to do, by the code of a reason; of the others its message says enough. */
const HINTS: Readonly<Record<string, string>> = {
  CAMERA_UNREACHABLE: 'Is the camera on, and are its address and port right? The server must be able to reach it.',
  CAMERA_CREDENTIALS: 'Put user and password into the address: rtsp://user:password@host/…, with %40 for an @ in them.',
  CAMERA_NOT_FOUND: 'Is the path in the address right? The manual of a camera names that of its stream.',
  CAMERA_FORBIDDEN: 'If that network is meant, add it to fleet.allowed_networks in the configuration.',
  CAMERA_FORMAT: 'Let the camera send H.264, H.265 or MJPEG.',
  CAMERA_TOO_LARGE: 'Choose a smaller stream of the camera: many have a second one.',
  CAMERA_NO_PICTURE:
    'It answers, but sends no frame. Is it started, or overloaded? Over UDP a firewall may hold frames back.',
  CAMERA_STALLED: 'Frames came, and come no more. Is the camera overloaded, or the network to it?',
  CAMERA_ENDED: 'The stream ended or broke off. It is tried again by itself.',
  CAMERA_LIMIT_REACHED: 'Turn another camera off, or raise fleet.max_concurrent_streams.',
  CAMERA_TESTS_BUSY: 'Others are testing addresses. Try again in a few seconds.',
};

export function hintOf(code: string): string | undefined {
  return HINTS[code];
}

export function moodOf({ state, reason }: Pick<Told, 'state' | 'reason'>): Mood {
  // While one that has failed is tried again, it has still failed.
  return state === 'connecting' && reason !== null ? 'bad' : (MOODS[state] ?? 'busy');
}

/** What is wrong with the picture, though frames come; undefined: nothing. */
export function markOf({ state, picture }: Pick<Told, 'state' | 'picture'>): string | undefined {
  return state === 'live' ? MARKS[picture.condition] : undefined;
}

export function isTrouble(camera: Seen): boolean {
  return moodOf(camera) === 'bad' || markOf(camera) !== undefined;
}

export function isIn(filter: Filter, camera: Seen): boolean {
  if (filter === 'live') return camera.state === 'live';
  return filter === 'all' || isTrouble(camera);
}

/** `nowMs`: the server's. */
export function stateText(camera: Told, nowMs: number, fps?: number): string {
  const forMs = nowMs - camera.since;
  const why = camera.reason?.message;
  switch (camera.state) {
    case 'live':
      return fps === undefined ? `live for ${durationText(forMs)}` : `live · ${fpsText(fps)}`;
    case 'connecting':
      return why === undefined ? `connecting for ${durationText(forMs)}` : `failed: ${why} · trying again now`;
    case 'waiting':
      return `waiting for a publisher${why === undefined ? '' : ` · the last one: ${why}`}`;
    case 'stalled':
      return `stalled for ${durationText(forMs)}`;
    case 'backing_off': {
      const inMs = (camera.until ?? nowMs) - nowMs;
      return `failed${why === undefined ? '' : `: ${why}`} · trying again ${inMs < 500 ? 'now' : `in ${durationText(inMs)}`}`;
    }
    case 'failed':
      return why === undefined ? 'failed' : `failed: ${why}`;
    case 'ended':
      return `ended ${durationText(forMs)} ago`;
    case 'off':
      return 'turned off';
    default:
      return camera.state;
  }
}

/** In one unit: nobody needs seconds beside hours. */
export function durationText(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 100) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 100) return `${minutes} min`;
  const hours = Math.round(minutes / 60);
  return hours < 48 ? `${hours} h` : `${Math.round(hours / 24)} days`;
}

export function fpsText(fps: number): string {
  return `${fps < 99.95 ? fps.toFixed(1) : fps.toFixed(0)} fps`;
}

export function bitsText(bitsPerS: number): string {
  return bitsPerS < 999_500 ? `${Math.round(bitsPerS / 1000)} kbit/s` : `${(bitsPerS / 1e6).toFixed(1)} Mbit/s`;
}

/** Characters at the end of a name, and how many those behind its last mark may be. */
const NAME_TAIL = 4;
const NAME_TAIL_MAX = 7;

const CODECS: Readonly<Record<string, string>> = { h264: 'H.264', hevc: 'H.265', mjpeg: 'MJPEG' };

export function bytesText(bytes: number): string {
  for (const [unit, size] of [
    ['GB', 1e9],
    ['MB', 1e6],
  ] as const) {
    if (bytes >= size) return `${(bytes / size).toFixed(bytes < 10 * size ? 1 : 0)} ${unit}`;
  }
  return `${Math.ceil(bytes / 1e3)} kB`;
}

export function codecText(codec: string): string {
  return CODECS[codec] ?? codec;
}

/** A name in two, of which the second is the one to keep where there is no room: names of many cameras differ at their ends. */
export function nameParts(id: string): readonly [string, string] {
  const separator = Math.max(...['-', '_', '.'].map((mark) => id.lastIndexOf(mark)));
  const tail = id.length - separator;
  const kept = separator > 0 && tail <= NAME_TAIL_MAX ? tail : NAME_TAIL;
  return id.length <= NAME_TAIL_MAX ? [id, ''] : [id.slice(0, -kept), id.slice(-kept)];
}

/** "3 cars, 1 person", the most frequent first. */
export function countText(labels: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const label of labels) counts.set(label, (counts.get(label) ?? 0) + 1);
  const rows = [...counts].toSorted(([a, m], [b, n]) => n - m || a.localeCompare(b));
  return rows.map(([label, count]) => (count === 1 ? label : `${count} × ${label}`)).join(', ');
}

export function capitalised(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
