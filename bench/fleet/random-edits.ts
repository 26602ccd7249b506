import type { z } from 'zod';
import { seededRandom, type Random } from '../../src/base/random.ts';
import type { cameraEntry } from '../../src/config/schema.ts';

/** Edits of the configuration of a running server, at random, and what is to come of them. Pure. */

export type Entry = z.input<typeof cameraEntry>;
type Value = number | boolean | string | readonly string[];

/** How one is made: by a request, or by another file that the server is told to read. */
export type Way =
  | { readonly kind: 'request'; readonly method: 'PUT' | 'DELETE'; readonly path: string; readonly body?: unknown }
  | { readonly kind: 'file'; readonly text: string; readonly by: 'request' | 'signal' };

/** What was said of the configuration so far. */
interface Wanted {
  /** By id. */
  readonly file: ReadonlyMap<string, Entry>;
  /** By key. */
  readonly fileSettings: ReadonlyMap<string, Value>;
  /** At run time, which goes before the file; null: removed. */
  readonly pins: ReadonlyMap<string, Entry | null>;
  readonly pinnedSettings: ReadonlyMap<string, Value>;
}

export interface EditedCameras {
  /** They stay in the file as they are. */
  readonly untouched: ReadonlyMap<string, Entry>;
  /** Ids of the others. */
  readonly touched: readonly string[];
  /** That those may have. */
  readonly urls: readonly string[];
}

const CLASSES = ['critical', 'high', 'normal', 'low'] as const;
const PIPELINES = [[], ['objects']] as const;
const MORE_MAX = 3;

/** Settings that may change at run time, none of which touches a camera that is live. */
const SETTINGS: Readonly<Record<string, (random: Random) => Value>> = {
  'alerts.enabled': (random) => random() < 0.5,
  'alerts.for_s': within(1, 60),
  'alerts.clear_s': within(1, 60),
  'performance.stability_s': within(1, 10),
  'performance.target_latency_ms': within(50, 200),
  'video.quality': within(30, 90),
  'fleet.open_timeout_ms': within(8_000, 20_000),
  'fleet.stall_timeout_ms': within(5_000, 10_000),
  'fleet.rate_fps_max': within(60, 240),
  'fleet.pixels_max': within(4_000_000, 60_000_000),
  'fleet.allowed_networks': (random) => (random() < 0.5 ? [] : ['10.0.0.0/8']),
};

export class RandomEdits {
  readonly #random: Random;
  readonly #cameras: EditedCameras;
  #wanted: Wanted;

  /** All cameras are in the file at first, the touched ones with an address each. */
  constructor(seed: number, cameras: EditedCameras) {
    this.#random = seededRandom(seed);
    this.#cameras = cameras;
    const { touched, urls } = cameras;
    this.#wanted = {
      file: new Map(touched.map((id, i) => [id, { url: urls[i]! }])),
      fileSettings: new Map(),
      pins: new Map(),
      pinnedSettings: new Map(),
    };
  }

  /** The file as it is. */
  get text(): string {
    return fileText(this.#wanted, this.#cameras);
  }

  /** By id; as they are to be, without those that never change. */
  get entries(): Map<string, Entry> {
    const { file, pins } = this.#wanted;
    const all = new Map<string, Entry | null>([...file, ...pins]);
    return new Map([...all].flatMap(([id, entry]) => (entry ? [[id, entry] as const] : [])));
  }

  /** By key; others are nobody's. */
  get settings(): Map<string, Value> {
    return new Map([...this.#wanted.fileSettings, ...this.#wanted.pinnedSettings]);
  }

  /** One that is valid; it counts as made. */
  valid(): Way {
    const draw = this.#random();
    if (draw < 0.4) return this.#put();
    if (draw < 0.55) return this.#remove() ?? this.#put();
    if (draw < 0.65) return this.#set();
    if (draw < 0.72) return this.#setOfCamera() ?? this.#set();
    if (draw < 0.8) return this.#undo() ?? this.#set();
    return this.#changeFile(draw < 0.92 ? 'request' : 'signal');
  }

  /** One with a fault. */
  invalid(): Way {
    const id = this.#one(this.#cameras.touched);
    const [url] = this.#cameras.urls;
    const entry = this.#one<unknown>([
      { url, class: 'urgent' },
      { url, transport: 'pigeon' },
      { url, pipelines: ['faces'] },
      { url, pipelines: ['objects', 'objects'] },
      { url, enabled: 'maybe' },
      { url, colour: 'red' },
      { url: 'gopher://10.0.0.1/live' },
      { url: 'rtsp:/10.0.0.1' },
      { url: '' },
    ]);
    const setting = this.#one<Record<string, unknown>>([
      { 'fleet.rate_fps_max': 0 },
      { 'fleet.stall_timeout_ms': 'soon' },
      { 'alerts.for_s': -1 },
      { 'alerts.fro_s': 1 },
      { 'server.port': 9 },
      { 'performance.profile': 'no_such_profile' },
      // The first of them is valid: all or nothing.
      { 'alerts.for_s': 7, 'alerts.clear_s': [] },
    ]);
    const text = this.#one([
      this.text.slice(0, -5),
      this.#textWith(id, entry),
      JSON.stringify({ ...(JSON.parse(this.text) as object), camera: {} }),
    ]);
    return this.#one<Way>([
      { kind: 'request', method: 'PUT', path: `/api/cameras/${id}`, body: entry },
      { kind: 'request', method: 'PUT', path: '/api/cameras/Upper%20Case', body: { url } },
      { kind: 'request', method: 'DELETE', path: '/api/cameras/nobody' },
      { kind: 'request', method: 'PUT', path: '/api/config', body: { settings: setting } },
      { kind: 'file', text, by: 'request' },
      { kind: 'file', text, by: 'signal' },
    ]);
  }

  /** Until the next one, ms: often none at all, so that one comes while the one before is still being done. */
  pauseMs(): number {
    return this.#random() < 0.5 ? 0 : this.#random() * 400;
  }

  #put(): Way {
    const id = this.#one(this.#cameras.touched);
    const before = this.entries.get(id);
    const body = this.#entry();
    const { url: _, ...rest } = body;
    // Without its address it keeps the one that it has.
    const isShort = before !== undefined && this.#random() < 0.5;
    this.#pin(id, isShort ? { ...rest, url: before.url } : body);
    return { kind: 'request', method: 'PUT', path: `/api/cameras/${id}`, body: isShort ? rest : body };
  }

  #remove(): Way | undefined {
    const id = this.#any(this.entries.keys());
    if (id === undefined) return undefined;
    this.#pin(id, this.#wanted.file.has(id) ? null : undefined);
    return { kind: 'request', method: 'DELETE', path: `/api/cameras/${id}` };
  }

  #set(): Way {
    const settings = Object.fromEntries(this.#several(Object.keys(SETTINGS)).map((key) => [key, this.#value(key)]));
    this.#wanted = {
      ...this.#wanted,
      pinnedSettings: new Map([...this.#wanted.pinnedSettings, ...Object.entries(settings)]),
    };
    return { kind: 'request', method: 'PUT', path: '/api/config', body: { settings } };
  }

  /** One key of one that was set as a whole: a later file cannot take that away. */
  #setOfCamera(): Way | undefined {
    const pinned = [...this.#wanted.pins].flatMap(([id, entry]) => (entry ? [[id, entry] as const] : []));
    const [id, entry] = this.#any(pinned) ?? [];
    if (id === undefined || entry === undefined) return undefined;
    const value = this.#one(CLASSES);
    this.#pin(id, { ...entry, class: value });
    return {
      kind: 'request',
      method: 'PUT',
      path: '/api/config',
      body: { settings: { [`cameras.${id}.class`]: value } },
    };
  }

  /** What was done to a camera, or to a setting, at run time. */
  #undo(): Way | undefined {
    const { pins, pinnedSettings } = this.#wanted;
    const key = this.#any([...[...pins.keys()].map((id) => `cameras.${id}`), ...pinnedSettings.keys()]);
    if (key === undefined) return undefined;
    if (key.startsWith('cameras.')) this.#pin(key.slice('cameras.'.length), undefined);
    else {
      this.#wanted = {
        ...this.#wanted,
        pinnedSettings: new Map([...pinnedSettings].filter(([one]) => one !== key)),
      };
    }
    return { kind: 'request', method: 'PUT', path: '/api/config', body: { settings: { [key]: null } } };
  }

  #changeFile(by: 'request' | 'signal'): Way {
    const file = new Map(this.#wanted.file);
    for (const id of this.#several(this.#cameras.touched)) {
      if (file.has(id) && this.#random() < 0.4) file.delete(id);
      else file.set(id, this.#entry());
    }
    const settings = this.#several(Object.keys(SETTINGS)).map((key) => [key, this.#value(key)] as const);
    this.#wanted = { ...this.#wanted, file, fileSettings: new Map(settings) };
    return { kind: 'file', text: this.text, by };
  }

  /** `undefined`: as the file says. */
  #pin(id: string, entry: Entry | null | undefined): void {
    const pins = new Map(this.#wanted.pins);
    if (entry === undefined) pins.delete(id);
    else pins.set(id, entry);
    this.#wanted = { ...this.#wanted, pins };
  }

  /** What is left out has its default. */
  #entry(): Entry {
    const random = this.#random;
    return {
      url: this.#one(this.#cameras.urls),
      ...(random() < 0.5 && { class: this.#one(CLASSES) }),
      ...(random() < 0.5 && { pipelines: [...this.#one(PIPELINES)] }),
      ...(random() < 0.3 && { enabled: random() < 0.4 }),
      ...(random() < 0.3 && { transport: this.#one(['tcp', 'udp'] as const) }),
    };
  }

  #textWith(id: string, entry: unknown): string {
    const content = JSON.parse(this.text) as { cameras: Record<string, unknown> };
    return JSON.stringify({ ...content, cameras: { ...content.cameras, [id]: entry } });
  }

  #value(key: string): Value {
    return SETTINGS[key]!(this.#random);
  }

  #one<T>(of: readonly T[]): T {
    return of[Math.floor(this.#random() * of.length)]!;
  }

  #any<T>(of: Iterable<T>): T | undefined {
    return this.#one([...of]);
  }

  /** Some, each once. */
  #several<T>(of: readonly T[]): T[] {
    const count = 1 + Math.floor(this.#random() * MORE_MAX);
    return [...new Set(Array.from({ length: count }, () => this.#one(of)))];
  }
}

/** JSON is YAML. */
function fileText({ file, fileSettings }: Wanted, { untouched }: EditedCameras): string {
  const content: Record<string, Record<string, unknown>> = { cameras: Object.fromEntries([...untouched, ...file]) };
  for (const [path, value] of fileSettings) {
    const [section, key] = path.split('.') as [string, string];
    content[section] = { ...content[section], [key]: value };
  }
  return JSON.stringify(content);
}

/** Whole numbers. */
function within(min: number, max: number): (random: Random) => number {
  return (random) => min + Math.floor(random() * (max - min + 1));
}
