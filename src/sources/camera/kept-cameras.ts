import { isDeepStrictEqual } from 'node:util';
import { toSightlineError } from '../../base/errors.ts';
import type { ConfigCoordinator } from '../../config/coordinator.ts';
import { ENTRY_SECTIONS, nameFault, placeAt } from '../../config/keys.ts';
import { cameraEntry, CAMERAS_MAX, type Config } from '../../config/schema.ts';
import type { Log } from '../../log/log.ts';
import type { Store } from '../../store/store.ts';

/**
 * Cameras that were added, changed or removed while the server ran, for its next start. What is kept are the pins of the configuration, so that
 * there they mean what they meant: they go before the file, and a camera of the file that was removed stays so.
 */

/** Of records in the store; their keys are ids. */
const KIND = 'camera';
/** Those that are there, and those of the file that were removed. */
const RECORDS_MAX = 2 * CAMERAS_MAX;
const SECTION = ENTRY_SECTIONS.get('cameras')!;
/** The camera as a whole. */
const WHOLE = '';

/** By key; the camera as a whole by none, and null where it was removed. */
type CameraPins = Readonly<Record<string, unknown>>;

type Camera = Pick<Config['cameras'][string], 'url'>;

export interface KeptCamerasParts {
  readonly store: Pick<Store, 'read' | 'put' | 'delete' | 'report'>;
  readonly log: Log;
  readonly coordinator: Pick<ConfigCoordinator, 'config' | 'pins' | 'hasOwn' | 'restore' | 'state'>;
}

export class KeptCameras {
  readonly #parts: KeptCamerasParts;
  readonly #passing = new Set<string>();
  /** As they are in the store, by id. */
  #saved: ReadonlyMap<string, CameraPins> = new Map();

  constructor(parts: KeptCamerasParts) {
    this.#parts = parts;
  }

  /** What is done to these cameras outlives the server, as far as it is known now. */
  isKept(cameras: readonly Camera[]): boolean {
    return this.#parts.store.report().state !== 'memory' && !cameras.some(({ url }) => this.#passing.has(url));
  }

  /** Cameras with this address are for this run alone, whatever is done to them. */
  leaveOut({ url }: Camera): void {
    this.#passing.add(url);
  }

  /** Takes up what an earlier run has left. What cannot be taken up any more is left out, and stays in the store. Before cameras are opened, and before any change. */
  async open(): Promise<void> {
    const { store, log, coordinator } = this.#parts;
    const found = new Map<string, CameraPins>();
    const { origins } = coordinator.state;
    for (const { key: id, value } of await store.read(KIND, RECORDS_MAX)) {
      // What somebody has typed for this start goes before what was done during an earlier one.
      if (origins.get(`cameras.${id}.url`) === 'flag') continue;
      const read = readRecord(id, value, (path) => coordinator.hasOwn(path));
      if (read.pins) found.set(id, read.pins);
      else if (read.fault === undefined) store.delete(KIND, id);
      else log.write('camera_not_restored', { camera: id, reason: read.fault });
    }
    if (found.size === 0) return;
    try {
      coordinator.restore(new Map([...found].flatMap(([id, pins]) => pathsOf(id, pins))));
    } catch (thrown) {
      // They stay in the store: of all together something may be too much, such as their number.
      log.write('camera_not_restored', {
        camera: [...found.keys()].join(', '),
        reason: toSightlineError(thrown).message,
      });
      return;
    }
    this.#saved = found;
    const removed = [...found.values()].filter((pins) => pins[WHOLE] === null).length;
    log.write('cameras_restored', { cameras: found.size - removed, removed });
  }

  /** Writes down what a change of the configuration has changed here. */
  save(): void {
    const { store, coordinator } = this.#parts;
    const { cameras } = coordinator.config;
    const now = new Map([...pinsById(coordinator.pins)].filter(([id]) => !this.#passing.has(cameras[id]?.url ?? '')));
    for (const [id, pins] of now) {
      if (!isDeepStrictEqual(pins, this.#saved.get(id))) store.put(KIND, id, pins);
    }
    for (const id of this.#saved.keys()) if (!now.has(id)) store.delete(KIND, id);
    this.#saved = now;
  }

  /** Everything anew into a store that has lost it. */
  rewrite(): void {
    for (const [id, pins] of this.#saved) this.#parts.store.put(KIND, id, pins);
  }
}

function pinsById(pins: ReadonlyMap<string, unknown>): ReadonlyMap<string, CameraPins> {
  const byId = new Map<string, Record<string, unknown>>();
  for (const [path, value] of pins) {
    const entry = path.startsWith('cameras.') ? placeAt(path)?.entry : undefined;
    if (entry === undefined) continue;
    const of = byId.get(entry.name) ?? {};
    // JSON has no form for `undefined`.
    of[path === entry.path ? WHOLE : path.slice(entry.path.length + 1)] = value ?? null;
    byId.set(entry.name, of);
  }
  return byId;
}

function pathsOf(id: string, pins: CameraPins): [string, unknown][] {
  return Object.entries(pins).map(([key, value]) => [
    key === WHOLE ? `cameras.${id}` : `cameras.${id}.${key}`,
    value ?? undefined,
  ]);
}

/**
 * Without a fault and without pins there is nothing left to do: a removed camera is not in the file any more either. Each record is checked by
 * itself, so that one that does not fit any more takes no other with it.
 */
function readRecord(
  id: string,
  text: string,
  hasOwn: (path: string) => boolean,
): { readonly pins?: CameraPins; readonly fault?: string } {
  const fault = nameFault(SECTION, id);
  if (fault !== undefined) return { fault };
  let pins: CameraPins;
  try {
    pins = JSON.parse(text) as CameraPins;
  } catch {
    return { fault: 'its record is damaged' };
  }
  if (typeof pins !== 'object' || pins === null) return { fault: 'its record is damaged' };
  const isDeclared = hasOwn(`cameras.${id}`);
  if (pins[WHOLE] === null) return isDeclared ? { pins } : {};
  if (pins[WHOLE] !== undefined) {
    const parsed = cameraEntry.safeParse(pins[WHOLE]);
    if (!parsed.success) return { fault: sentence(parsed.error.issues) };
  } else if (!isDeclared) return { fault: 'the configuration does not have it any more' };
  for (const [key, value] of Object.entries(pins)) {
    if (key === WHOLE) continue;
    const known = SECTION.keys.get(key);
    if (!known) return { fault: `there is no setting ${key.slice(0, 80)} of cameras any more` };
    const parsed = known.schema.safeParse(value ?? undefined);
    if (!parsed.success) return { fault: `${key}: ${sentence(parsed.error.issues)}` };
  }
  return { pins };
}

function sentence(issues: readonly { readonly path: readonly PropertyKey[]; readonly message: string }[]): string {
  return issues.map(({ path, message }) => (path.length > 0 ? `${path.join('.')}: ${message}` : message)).join('; ');
}
