import { wallTimeMs, type Clock } from '../../base/clock.ts';
import { SightlineError, toSightlineError, type ErrorCode } from '../../base/errors.ts';
import type { Random } from '../../base/random.ts';
import { WHIP_ADDRESS } from '../../config/camera-urls.ts';
import type { MemoryLedger } from '../../fences/memory-ledger.ts';
import type { Log } from '../../log/log.ts';
import type { PriorityClass } from '../../base/sample.ts';
import { addClass, type ClassAccounts } from '../../observe/frame-accounts.ts';
import type { FrameTracer } from '../../observe/traces/tracer.ts';
import type { FrameStreams } from '../../stream/frame-streams.ts';
import { testAddress, tooManyTests, type CameraTest } from './address-test.ts';
import { Camera, type CameraHost, type EncodedForm } from './camera.ts';
import { addTotals, noTotals } from './camera-counts.ts';
import { inputOf, isSameConnection, NO_FLEET, type CameraSettings, type FleetSettings } from './camera-settings.ts';
import { CAMERA_STATES, type CameraDocument, type CameraState } from './documents.ts';
import type { CameraFeed, CameraFeeds } from './feed.ts';
import type { Hardware, HardwareWish } from './hardware.ts';
import { HardwarePlaces } from './hardware-places.ts';
import { findHardware } from './hardware-proof.ts';
import { Inlets } from './inlets.ts';
import type { PictureObserver } from './picture-accounts.ts';
import type { OpenPictures } from './picture-feed.ts';
import { PictureShare } from './picture-share.ts';
import { PictureTurns } from './picture-turns.ts';
import { admitted } from './placement.ts';
import { ReaderPool, TESTS_MAX } from './process-pool.ts';
import type { RawBound } from './raw-channel.ts';
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
  readonly observer: PictureObserver;
  /** Asked for each frame; undefined: nobody wants traces. */
  readonly tracer: () => FrameTracer | undefined;
  /** Runs callbacks of others: their exceptions are kept away from the rest. */
  readonly guard: (callback: () => void) => void;
  /** Finds what decodes cameras; default: it is tried in processes of its own. Never rejects. */
  readonly findHardware?: (wish: HardwareWish) => Promise<Hardware>;
  /** The script of the processes; default: the reader. */
  readonly script?: URL;
  /** CLOCK_MONOTONIC, ms; default: that of this process. */
  readonly monotonicMs?: () => number;
}

/** Streams of the hub that a camera takes, with two pipelines. */
export const STREAMS_PER_CAMERA = 7;
const TICK_MS = 1_000;
const ENCODED_FORMS = ['transcoded', 'annotated'] as const satisfies readonly EncodedForm[];

/** The cameras that the server reads: what is configured, where each of them is, and what they give. */
export class CameraFleet implements CameraFeeds {
  readonly #options: CameraFleetOptions;
  readonly #pool: ReaderPool;
  readonly #inlets = new Inlets();
  readonly #hardware: HardwarePlaces;
  /** By id, in the order of the ids. */
  #cameras = new Map<string, Camera>();
  readonly #watchers = new Set<(id: string) => void>();
  readonly #retries = new Map<ErrorCode, number>();
  readonly #encodingFailures: Record<EncodedForm, number> = { transcoded: 0, annotated: 0 };
  /** Fragments of raw channels that have gone, by the bound that was met. */
  readonly #evicted: Record<RawBound, number> = { bytes: 0, fragments: 0, age: 0 };
  readonly #turns = new PictureTurns();
  readonly #share = new PictureShare();
  /** Of cameras that were removed: what was counted stays counted. */
  readonly #past = { totals: noTotals(), unused: 0, connections: 0, frames: new Map<string, ClassAccounts>() };
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
    this.#hardware = new HardwarePlaces({
      log,
      find: options.findHardware ?? findHardware,
      onChange: () => {
        for (const camera of this.#cameras.values()) guard(() => camera.orderDecoder(true));
      },
    });
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
    this.#hardware.configure(settings.hardware);
  }

  /** Opens an address once, beside the cameras, and says what it found. Errors: CAMERA_TESTS_BUSY; CAMERA_FORBIDDEN where there is nothing to open. */
  async test(settings: CameraSettings): Promise<CameraTest> {
    const { clock } = this.#options;
    if (this.#isClosed) throw new SightlineError('SHUTTING_DOWN', 'the server is stopping');
    if (settings.url === WHIP_ADDRESS) {
      const message = `${WHIP_ADDRESS} cannot be opened: add the camera, and publish to it by POST /whip/ID`;
      throw new SightlineError('CAMERA_FORBIDDEN', message);
    }
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
    addTotals(totals, this.#past.totals);
    let { connections, unused } = this.#past;
    let viewers = 0;
    const encoding: Record<EncodedForm, number> = { transcoded: 0, annotated: 0 };
    const decoders = new Map<string, number>();
    for (const camera of this.#cameras.values()) {
      const one = camera.accounts();
      states[camera.status.state]++;
      addTotals(totals, one.totals);
      unused += one.unused;
      connections += one.connections;
      viewers += one.viewers;
      for (const form of ENCODED_FORMS) if (camera.isWatched(form)) encoding[form]++;
      const by = camera.decodedBy;
      if (by !== undefined) decoders.set(by, (decoders.get(by) ?? 0) + 1);
    }
    const decoderFaults = this.#hardware.faults;
    const processes = this.#pool.accounts();
    const counts = {
      connections,
      retries: this.#retries,
      encodingFailures: { ...this.#encodingFailures },
      evicted: { ...this.#evicted },
    };
    return { states, totals, unused, viewers, encoding, decoders, decoderFaults, processes, ...counts };
  }

  /** Pictures that were handed to pipelines, by pipeline and class, since the start; those of cameras that were removed too. */
  frames(): ClassAccounts[] {
    const all = new Map(this.#past.frames);
    for (const camera of this.#cameras.values()) addFrames(all, camera.accounts().frames);
    return [...all.values()];
  }

  /** Of each camera: the answers that were due, and those of them that were no result in time. */
  *tallies(): Iterable<{ client_id: string; class: PriorityClass; frames: number; bad: number }> {
    for (const camera of this.#cameras.values()) yield camera.tally();
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
      for (const { queued, in_flight } of camera.accounts().frames) if (queued + in_flight > 0) return false;
    }
    return true;
  }

  /** Closes all streams at once; resolves when the processes have ended. Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearInterval(this.#tick);
    for (const [id, camera] of this.#cameras) this.#remove(id, camera);
    this.#watchers.clear();
    this.#hardware.close();
    await this.#pool.close();
    await this.#inlets.close();
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
    addFrames(this.#past.frames, accounts.frames);
    this.#past.unused += accounts.unused;
    this.#past.connections += accounts.connections;
    this.#cameras.delete(id);
    this.#tell(id);
  }

  get #host(): CameraHost {
    const { clock, random, log, memory, streams, openPictures, observer, tracer, guard } = this.#options;
    return {
      clock,
      random,
      log,
      memory,
      streams,
      openPictures,
      observer,
      tracer,
      guard,
      pool: this.#pool,
      inlets: this.#inlets,
      hardware: this.#hardware,
      settings: () => this.#settings,
      cameras: () => this.#read,
      requirePlace: (id, form) => this.#requirePlace(id, form),
      ownTimeOf: (monotonicMs) => this.#ownTimeOf(monotonicMs),
      onChange: (id) => this.#tell(id),
      turns: this.#turns,
      share: this.#share,
      onRetry: (code) => this.#retries.set(code, (this.#retries.get(code) ?? 0) + 1),
      onEncodingFailed: (form) => {
        this.#encodingFailures[form]++;
      },
      onEvicted: (bound, fragments) => {
        this.#evicted[bound] += fragments;
      },
    };
  }

  #requirePlace(id: string, form: EncodedForm): void {
    const { transcodesMax, annotatedMax } = this.#settings;
    const taken = [...this.#cameras.values()].filter((camera) => camera.isWatched(form)).length;
    if (taken < (form === 'transcoded' ? transcodesMax : annotatedMax)) return;
    if (form === 'transcoded') {
      throw new SightlineError(
        'TRANSCODE_LIMIT_REACHED',
        `camera ${id} cannot be encoded anew: the server does that for ${transcodesMax} cameras at once`,
      );
    }
    throw new SightlineError(
      'ANNOTATE_LIMIT_REACHED',
      `camera ${id} cannot be drawn on: the server does that for ${annotatedMax} cameras at once`,
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

function addFrames(to: Map<string, ClassAccounts>, more: readonly ClassAccounts[]): void {
  for (const one of more) {
    const key = `${one.class} ${one.pipeline}`;
    to.set(key, addClass(to.get(key), one));
  }
}
