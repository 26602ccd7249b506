import { wallTimeMs, type Clock } from '../../base/clock.ts';
import { SightlineError, toSightlineError, type ErrorCode } from '../../base/errors.ts';
import type { Random } from '../../base/random.ts';
import type { MemoryLedger } from '../../fences/memory-ledger.ts';
import type { Log } from '../../log/log.ts';
import type { FrameStreams } from '../../stream/frame-streams.ts';
import { testAddress, tooManyTests, type CameraTest } from './address-test.ts';
import { Camera, type CameraHost } from './camera.ts';
import { addTotals, noTotals } from './camera-counts.ts';
import { inputOf, isSameConnection, NO_FLEET, type CameraSettings, type FleetSettings } from './camera-settings.ts';
import { CAMERA_STATES, type CameraDocument, type CameraState } from './documents.ts';
import type { CameraFeed, CameraFeeds } from './feed.ts';
import { addPictures, noPictures, type PictureTotals } from './picture-totals.ts';
import type { OpenPictures } from './picture-feed.ts';
import { PictureShare } from './picture-share.ts';
import { PictureTurns } from './picture-turns.ts';
import { admitted } from './placement.ts';
import { ReaderPool, TESTS_MAX } from './process-pool.ts';
import { aheadOfMonotonicMs } from './source.ts';

export type { CameraSettings, FleetSettings } from './camera-settings.ts';

export interface CameraFleetOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly memory: MemoryLedger;
  readonly streams: FrameStreams;
  /** Work on the pictures of a camera. */
  readonly openPictures: OpenPictures;
  /** Runs callbacks of others: their exceptions are kept away from the rest. */
  readonly guard: (callback: () => void) => void;
  /** The script of the processes; default: the reader. */
  readonly script?: URL;
  /** CLOCK_MONOTONIC, ms; default: that of this process. */
  readonly monotonicMs?: () => number;
}

/** Streams of the hub that a camera takes, with two pipelines. */
export const STREAMS_PER_CAMERA = 6;
const TICK_MS = 1_000;

/** The cameras that the server reads: what is configured, where each of them is, and what they give. */
export class CameraFleet implements CameraFeeds {
  readonly #options: CameraFleetOptions;
  readonly #pool: ReaderPool;
  /** By id, in the order of the ids. */
  #cameras = new Map<string, Camera>();
  readonly #watchers = new Set<(id: string) => void>();
  readonly #retries = new Map<ErrorCode, number>();
  readonly #turns = new PictureTurns();
  readonly #share = new PictureShare();
  /** Of cameras that were removed: what was counted stays counted. */
  readonly #past = { totals: noTotals(), pictures: noPictures(), connections: 0 };
  readonly #tick: NodeJS.Timeout;
  #settings: FleetSettings = NO_FLEET;
  /** Cameras that are read. */
  #read = 0;
  #lastTestEpoch = 0;
  #isClosed = false;

  constructor(options: CameraFleetOptions) {
    this.#options = options;
    const { clock, random, log, script, guard } = options;
    this.#pool = new ReaderPool({ clock, random, log, script, guard, settings: () => this.#settings });
    this.#tick = setInterval(() => {
      const nowMs = clock.now();
      for (const camera of this.#cameras.values()) guard(() => camera.tick(nowMs));
    }, TICK_MS);
    this.#tick.unref();
  }

  all(): readonly CameraFeed[] {
    return [...this.#cameras.values()];
  }

  get(id: string): CameraFeed {
    const camera = this.#cameras.get(id);
    if (camera) return camera;
    throw new SightlineError('CAMERA_UNKNOWN', `there is no camera "${id.slice(0, 80)}"`);
  }

  /** In the order of their ids. */
  report(): CameraDocument[] {
    return [...this.#cameras.values()].map((camera) => camera.report());
  }

  watchAll(onChange: (id: string) => void): () => void {
    this.#watchers.add(onChange);
    return () => this.#watchers.delete(onChange);
  }

  /** Takes up other settings: cameras whose settings are the same go on undisturbed. */
  configure(settings: FleetSettings): void {
    if (this.#isClosed) return;
    const before = this.#settings;
    this.#settings = settings;
    const isRetried = !isSameConnection(before, settings);
    for (const [id, camera] of this.#cameras) if (!settings.cameras.has(id)) this.#remove(id, camera);
    const wanted = [...settings.cameras].filter(([, { isEnabled }]) => isEnabled).map(([id]) => id);
    const having = new Set([...this.#cameras].filter(([, camera]) => camera.isRead).map(([id]) => id));
    const places = admitted(wanted, having, settings.streamsMax);
    this.#read = places.size;
    const cameras = new Map<string, Camera>();
    // Those that lose their places first: others get them.
    const ids = [...settings.cameras.keys()].toSorted((a, b) => (a < b ? -1 : 1));
    for (const id of ids) if (!places.has(id)) this.#configureOne(id, false, isRetried);
    for (const id of ids) if (places.has(id)) this.#configureOne(id, true, isRetried);
    for (const id of ids) {
      const camera = this.#cameras.get(id);
      if (camera) cameras.set(id, camera);
    }
    this.#cameras = cameras;
  }

  /** Opens an address once, beside the cameras, and says what it found. Errors: CAMERA_TESTS_BUSY. */
  async test(settings: CameraSettings): Promise<CameraTest> {
    const { clock } = this.#options;
    if (this.#isClosed) throw new SightlineError('SHUTTING_DOWN', 'the server is stopping');
    const seat = this.#pool.placeTest();
    if (!seat) throw tooManyTests(TESTS_MAX);
    this.#lastTestEpoch = Math.max(Math.floor(wallTimeMs(clock)), this.#lastTestEpoch + 1);
    return await testAddress({
      clock,
      seat,
      input: inputOf(settings, this.#settings),
      epoch: this.#lastTestEpoch,
      ownTimeOf: (monotonicMs) => this.#ownTimeOf(monotonicMs),
    });
  }

  /** Since the start, of all cameras together, those that were removed too. */
  accounts() {
    const states = Object.fromEntries(CAMERA_STATES.map((state) => [state, 0])) as Record<CameraState, number>;
    const totals = noTotals();
    const pictures: PictureTotals = noPictures();
    addTotals(totals, this.#past.totals);
    addPictures(pictures, this.#past.pictures);
    let { connections } = this.#past;
    let viewers = 0;
    let transcoding = 0;
    for (const camera of this.#cameras.values()) {
      const one = camera.accounts();
      states[camera.status.state]++;
      addTotals(totals, one.totals);
      addPictures(pictures, one);
      connections += one.connections;
      viewers += one.viewers;
      if (camera.isTranscoding) transcoding++;
    }
    const processes = this.#pool.accounts();
    return { states, totals, pictures, connections, viewers, transcoding, retries: this.#retries, processes };
  }

  /** Ids of the cameras, and whether frames come of each. */
  live(): readonly (readonly [id: string, isLive: boolean])[] {
    return [...this.#cameras].map(([id, { status }]) => [id, status.state === 'live'] as const);
  }

  /** Reads nothing any more: pictures that wait or are under way get their answers. */
  drain(): void {
    for (const camera of this.#cameras.values()) camera.drain();
  }

  /** Every picture has its outcome. */
  get isDrained(): boolean {
    for (const camera of this.#cameras.values()) {
      for (const { queued, inFlight } of camera.accounts().pipelines.values()) if (queued + inFlight > 0) return false;
    }
    return true;
  }

  /** Closes all streams at once; resolves when the processes have ended. Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearInterval(this.#tick);
    for (const [id, camera] of this.#cameras) this.#remove(id, camera);
    this.#watchers.clear();
    await this.#pool.close();
  }

  #configureOne(id: string, hasPlace: boolean, isRetried: boolean): void {
    const { log } = this.#options;
    const settings = this.#settings.cameras.get(id)!;
    let camera = this.#cameras.get(id);
    if (!camera) {
      try {
        camera = new Camera(id, settings, this.#host);
      } catch (thrown) {
        // Streams are bounded: whatever the bound is, the others go on.
        const { code, message } = toSightlineError(thrown);
        log.write('camera_given_up', { camera: id, url: '', code, reason: message });
        return;
      }
      this.#cameras.set(id, camera);
      camera.configure(settings, hasPlace, false);
      this.#tell(id);
    } else camera.configure(settings, hasPlace, isRetried);
  }

  #remove(id: string, camera: Camera): void {
    camera.close();
    const accounts = camera.accounts();
    addTotals(this.#past.totals, accounts.totals);
    addPictures(this.#past.pictures, accounts);
    this.#past.connections += accounts.connections;
    this.#cameras.delete(id);
    this.#tell(id);
  }

  get #host(): CameraHost {
    const { clock, random, log, memory, streams, openPictures, guard } = this.#options;
    return {
      clock,
      random,
      log,
      memory,
      streams,
      openPictures,
      guard,
      pool: this.#pool,
      settings: () => this.#settings,
      cameras: () => this.#read,
      requireTranscode: (id) => this.#requireTranscode(id),
      ownTimeOf: (monotonicMs) => this.#ownTimeOf(monotonicMs),
      onChange: (id) => this.#tell(id),
      turns: this.#turns,
      share: this.#share,
      onRetry: (code) => this.#retries.set(code, (this.#retries.get(code) ?? 0) + 1),
    };
  }

  #requireTranscode(id: string): void {
    const { transcodesMax } = this.#settings;
    const taken = [...this.#cameras.values()].filter((camera) => camera.isTranscoding).length;
    if (taken < transcodesMax) return;
    throw new SightlineError(
      'TRANSCODE_LIMIT_REACHED',
      `camera ${id} cannot be encoded anew: the server does that for ${transcodesMax} cameras at once`,
    );
  }

  #ownTimeOf(atMs: number): number {
    const { clock, monotonicMs } = this.#options;
    return atMs + aheadOfMonotonicMs(() => clock.now(), monotonicMs);
  }

  #tell(id: string): void {
    for (const onChange of this.#watchers) this.#options.guard(() => onChange(id));
  }
}
