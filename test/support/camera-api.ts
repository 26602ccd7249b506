import { systemClock } from '../../src/base/clock.ts';
import { SightlineError } from '../../src/base/errors.ts';
import { Priority } from '../../src/base/sample.ts';
import { parseGrant } from '../../src/auth/grants.ts';
import { Principal } from '../../src/auth/principal.ts';
import { ConfigCoordinator } from '../../src/config/coordinator.ts';
import { loadConfig } from '../../src/config/load.ts';
import type { Config } from '../../src/config/schema.ts';
import { cameraRoutes } from '../../src/http/cameras.ts';
import type { CameraTest } from '../../src/sources/camera/address-test.ts';
import { HttpServer } from '../../src/http/server.ts';
import { redactAddress } from '../../src/log/redact.ts';
import type { CameraDocument, CameraStanding, CameraState } from '../../src/sources/camera/documents.ts';
import type { NamedOutcome, RawFragment } from '../../src/base/camera-frame.ts';
import type { CameraFeed, Still } from '../../src/sources/camera/feed.ts';
import type { CameraSettings } from '../../src/sources/camera/camera-settings.ts';
import { fleetSettings } from '../../src/sources/camera/settings.ts';
import { Hub } from '../../src/stream/hub.ts';
import { httpOptions } from './http-options.ts';
import { collectingLog } from './log.ts';
import { NO_RATES } from './scripted-feeds.ts';

/** A camera that does as the test says. */
export class WrittenCamera implements CameraFeed {
  readonly id: string;
  readonly raw;
  readonly transcoded;
  readonly annotated;
  readonly results;
  readonly inlet = undefined;
  readonly #settings: CameraSettings;
  readonly #watchers = new Set<() => void>();
  state: CameraState = 'live';
  seq = 7;

  constructor(id: string, settings: CameraSettings, hub: Hub) {
    this.id = id;
    this.#settings = settings;
    this.raw = hub.create<RawFragment>(`${id}/raw`, { capacity: 4 });
    this.transcoded = hub.create<RawFragment>(`${id}/transcoded`, { capacity: 4 });
    this.annotated = hub.create<RawFragment>(`${id}/annotated`, { capacity: 4 });
    this.results = hub.create<NamedOutcome>(`${id}/results`, { capacity: 4 });
  }

  get isMasked(): boolean {
    return this.masks.length > 0;
  }

  get masks(): readonly string[] {
    return this.#settings.masks;
  }

  get watching(): number {
    return this.#watchers.size;
  }

  standing(): CameraStanding {
    return {
      state: this.#settings.isEnabled ? this.state : 'off',
      since: 1_000,
      reason: null,
      until: null,
      picture: { condition: 'ok', since: 1_000 },
      stream: null,
    };
  }

  report(): CameraDocument {
    const class_ = (Object.keys(Priority) as (keyof typeof Priority)[]).find(
      (name) => Priority[name] === this.#settings.priority,
    )!;
    return {
      id: this.id,
      url: redactAddress(this.#settings.url),
      class: class_,
      pipelines: [...this.#settings.pipelines],
      ...this.standing(),
      decoding: null,
      process: null,
      rates: NO_RATES,
      frames: {
        received: 0,
        decoded: 0,
        damaged: 0,
        pictures: 0,
        pictures_dropped: 0,
        fragments: 0,
        fragments_dropped: 0,
        transcoded: 0,
        transcoded_dropped: 0,
        annotated: 0,
        annotated_dropped: 0,
      },
      connections: 1,
      viewers: 0,
      transcoding: false,
      annotating: false,
      masked: this.isMasked,
    };
  }

  become(state: CameraState): void {
    this.state = state;
    for (const watcher of this.#watchers) watcher();
  }

  watchState(onChange: () => void): () => void {
    this.#watchers.add(onChange);
    return () => this.#watchers.delete(onChange);
  }

  watchRaw(): () => void {
    return () => undefined;
  }

  watchTranscoded(): () => void {
    return () => undefined;
  }

  watchAnnotated(): () => void {
    return () => undefined;
  }

  async still(widthMax: number, isDrawn = false): Promise<Still> {
    if (this.state !== 'live') throw new SightlineError('CAMERA_NO_PICTURE', `${this.id} has no picture`);
    const frame = { camera: this.id, epoch: 1_700_000_000_000, seq: this.seq };
    return {
      frame,
      captureTimeMs: systemClock.now(),
      clock: 'arrival',
      width: widthMax,
      height: 9,
      boxes: isDrawn ? 'own' : 'none',
      // A view of a larger buffer, as bytes that came over a pipe are.
      jpeg: new Uint8Array([0, 0xff, 0xd8, 0xff, 0xd9, 0]).subarray(1, 5),
    };
  }
}

export function holder(...grants: string[]): Principal {
  return new Principal({ id: 'p', name: 'p', grants: grants.map(parseGrant) });
}

/** The REST API of cameras behind a real HTTP server and a real configuration, with cameras that do as the test says. */
export class CameraApi implements AsyncDisposable {
  readonly #hub = new Hub({ clock: systemClock, streamsMax: 5_000 });
  readonly #server: HttpServer;
  readonly coordinator: ConfigCoordinator;
  readonly cameras = new Map<string, WrittenCamera>();
  isKept = true;
  isPreparing = false;
  /** The address of a camera that is for this run alone. */
  lentUrl: string | undefined;
  principal = holder('admin');
  /** What the next addresses are found to be. */
  found: CameraTest | Error = new Error('nothing is to be found');
  readonly tested: CameraSettings[] = [];

  private constructor(flags: Readonly<Record<string, unknown>>) {
    this.coordinator = new ConfigCoordinator(loadConfig({ flags }), (config) => this.#follow(config));
    this.#follow(this.coordinator.config);
    const options = httpOptions();
    this.#server = new HttpServer({
      ...options,
      access: { ...options.access, authenticator: { principalOf: () => this.principal } },
      sockets: [],
      log: collectingLog().log,
      routes: cameraRoutes({
        clock: systemClock,
        feeds: { all: () => [...this.cameras.values()], get: (id) => this.#get(id) },
        entries: () => this.coordinator.config.cameras,
        isPreparing: () => this.isPreparing,
        change: (changes) =>
          void this.coordinator.change({
            entries: changes.map(({ id, value }) => ({ section: 'cameras', name: id, value })),
          }),
        isKept: (cameras) => this.isKept && !cameras.some(({ url }) => url === this.lentUrl),
        test: async (settings) => {
          this.tested.push(settings);
          if (this.found instanceof Error) throw this.found;
          return this.found;
        },
        eventSettings: () => ({ heartbeatMs: 10_000, bufferBytesMax: 65_536 }),
      }),
    });
  }

  static async open(flags: Readonly<Record<string, unknown>> = {}): Promise<CameraApi> {
    const api = new CameraApi(flags);
    await api.#server.listen();
    return api;
  }

  get url(): string {
    return this.#server.url;
  }

  /** Ids of the configuration in force. */
  get ids(): string[] {
    return Object.keys(this.coordinator.config.cameras).toSorted();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#hub.close();
    await this.#server.close();
  }

  #get(id: string): WrittenCamera {
    const camera = this.cameras.get(id);
    if (camera) return camera;
    throw new SightlineError('CAMERA_UNKNOWN', `there is no camera ${id}`);
  }

  /** Every camera is made anew. */
  #follow(config: Pick<Config, 'fleet' | 'cameras'>): void {
    for (const camera of this.cameras.values()) {
      camera.raw.close();
      camera.transcoded.close();
      camera.annotated.close();
      camera.results.close();
    }
    this.cameras.clear();
    for (const [id, settings] of fleetSettings(config).cameras) {
      this.cameras.set(id, new WrittenCamera(id, settings, this.#hub));
    }
  }
}
