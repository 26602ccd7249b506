import type { Dirent } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Principal } from '../../auth/principal.ts';
import { wallTimeMs, type Clock } from '../../base/clock.ts';
import { SightlineError, toSightlineError } from '../../base/errors.ts';
import type { Log } from '../../log/log.ts';
import { isSameList } from '../../sources/camera/camera-settings.ts';
import type { CameraFeed, CameraFeeds } from '../../sources/camera/feed.ts';
import { requireUnmasked } from '../../sources/camera/masked.ts';
import { CameraArchive, type ArchiveCounts, type RecordMode } from './camera-archive.ts';
import { pathsOf, remove, scan, unlessGone, type FilePaths } from './files.ts';
import { Shelf, type RemovalBound, type ShelfBounds, type ShelvedFile, type Span } from './shelf.ts';
import { RETRY_MS } from './writer.ts';

export interface RecordPlan {
  readonly mode: 'off' | RecordMode;
  readonly labels: readonly string[];
  readonly bounds: ShelfBounds;
}

export interface ArchiveSettings {
  readonly folder: string;
  readonly fileMs: number;
  readonly freeBytesMin: number;
  /** Of each camera: for a slow disk, and again for what was before an event. */
  readonly memoryBytesMax: number;
  readonly beforeMs: number;
  readonly afterMs: number;
  /** Cameras with masks are recorded, too, as they are. */
  readonly takesUnmasked: boolean;
  /** Of cameras that are no more. */
  readonly bounds: ShelfBounds;
  /** By id. */
  readonly plans: ReadonlyMap<string, RecordPlan>;
}

/** `waiting`: for an event. `masked`: its own frames may not be recorded. */
export const ARCHIVE_STATES = ['off', 'writing', 'waiting', 'masked', 'failed'] as const;
export type ArchiveState = (typeof ARCHIVE_STATES)[number];

export interface ArchiveReport {
  readonly mode: RecordPlan['mode'];
  readonly state: ArchiveState;
  /** Why nothing is written. */
  readonly reason: SightlineError | undefined;
  readonly files: number;
  readonly bytes: number;
  readonly oldestMs: number | undefined;
  readonly newestMs: number | undefined;
}

export interface FoundFile extends ShelvedFile {
  readonly paths: FilePaths;
}

const SWEEP_MS = 1_000;

const NO_COUNTS: ArchiveCounts = {
  brought: 0,
  written: 0,
  dropped: { disk: 0, queue: 0 },
  waiting: 0,
  made: 0,
  passed: 0,
  kept: 0,
  resultsDropped: 0,
};

/** Recordings of cameras on the disk: those that are made, and those that are kept. */
export class Archive {
  readonly #feeds: CameraFeeds;
  readonly #clock: Clock;
  readonly #log: Log;
  #settings: ArchiveSettings;
  readonly #shelves = new Map<string, Shelf>();
  readonly #open = new Map<string, CameraArchive>();
  /** Those that are being ended; another one of that camera begins behind it. */
  readonly #closing = new Map<string, { readonly archive: CameraArchive; readonly ended: Promise<void> }>();
  /** Of those that could not be begun; they are tried again by each sweep. */
  readonly #faults = new Map<string, SightlineError>();
  readonly #forgetFeeds: () => void;
  readonly #sweep: NodeJS.Timeout;
  readonly #removed: Record<RemovalBound, number> = { age: 0, bytes: 0 };
  #past = NO_COUNTS;
  #scanning: Promise<void> | undefined;
  #isScanned = false;
  #scanFault: SightlineError | undefined;
  #sweeping: Promise<void> | undefined;
  #isClosed = false;

  constructor(parts: {
    readonly feeds: CameraFeeds;
    readonly clock: Clock;
    readonly log: Log;
    readonly settings: ArchiveSettings;
  }) {
    this.#feeds = parts.feeds;
    this.#clock = parts.clock;
    this.#log = parts.log;
    this.#settings = parts.settings;
    this.#forgetFeeds = parts.feeds.watchAll((id) => this.#follow(id));
    this.#sweep = setInterval(() => void this.sweep(), SWEEP_MS);
    this.#sweep.unref();
  }

  /** Looks at what there is, once. What cannot be read is told by `report`. */
  open(): Promise<void> {
    this.#scanning ??= this.#scan();
    return this.#scanning;
  }

  configure(settings: ArchiveSettings): void {
    this.#settings = settings;
    for (const { id } of this.#feeds.all()) this.#follow(id);
  }

  /** Errors: CAMERA_UNKNOWN; CAMERA_MASKED, since these are the camera's own frames. */
  requireShown(camera: string, caller: Principal): void {
    requireUnmasked(this.#feeds.get(camera), caller);
  }

  /** Errors: CAMERA_UNKNOWN. */
  requireKnown(camera: string): void {
    this.#feeds.get(camera);
  }

  /** Errors: CAMERA_UNKNOWN. */
  report(camera: string): ArchiveReport {
    const feed = this.#feeds.get(camera);
    const { mode } = this.#planOf(camera);
    const open = this.#open.get(camera);
    const shelf = this.#shelves.get(camera);
    return {
      mode,
      ...this.#stateOf(feed, mode, open),
      files: shelf?.size ?? 0,
      bytes: shelf?.bytes ?? 0,
      oldestMs: shelf?.oldest?.fromMs,
      newestMs: shelf?.newest?.toMs,
    };
  }

  spans(camera: string, fromMs: number, toMs: number): readonly Span[] {
    return this.#shelves.get(camera)?.spans(fromMs, toMs) ?? [];
  }

  /** Those that have something of that time, the oldest first. */
  within(camera: string, fromMs: number, toMs: number): readonly FoundFile[] {
    return (this.#shelves.get(camera)?.within(fromMs, toMs) ?? []).map((file) => this.#found(camera, file));
  }

  /** undefined: it is not kept. */
  file(camera: string, name: string): FoundFile | undefined {
    const file = this.#shelves.get(camera)?.get(name);
    return file && this.#found(camera, file);
  }

  accounts() {
    let counts = this.#past;
    const states = Object.fromEntries(ARCHIVE_STATES.map((state) => [state, 0])) as Record<ArchiveState, number>;
    for (const feed of this.#feeds.all()) {
      states[this.#stateOf(feed, this.#planOf(feed.id).mode, this.#open.get(feed.id)).state]++;
    }
    for (const one of this.#open.values()) counts = added(counts, one.counts());
    for (const { archive } of this.#closing.values()) counts = added(counts, archive.counts());
    let [files, bytes] = [0, 0];
    for (const shelf of this.#shelves.values()) {
      files += shelf.size;
      bytes += shelf.bytes;
    }
    return { ...counts, states, files, bytes, removed: this.#removed };
  }

  /** What is too old or too much goes. Every second. */
  sweep(): Promise<void> {
    this.#sweeping ??= this.#removeDue().finally(() => {
      this.#sweeping = undefined;
    });
    return this.#sweeping;
  }

  /** What has come is written. Idempotent. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearInterval(this.#sweep);
    this.#forgetFeeds();
    await this.#scanning;
    for (const [id, one] of this.#open) this.#end(id, one);
    await Promise.all(Array.from(this.#closing.values(), ({ ended }) => ended));
    await this.#sweeping;
  }

  async #scan(): Promise<void> {
    const { folder } = this.#settings;
    try {
      const entries = await readdir(folder, { withFileTypes: true }).catch(unlessGone<Dirent[]>([]));
      for (const entry of entries) {
        if (!entry.isDirectory()) continue;
        for (const file of await scan(join(folder, entry.name))) this.#shelfOf(entry.name).put(file);
      }
    } catch (thrown) {
      this.#scanFault = new SightlineError('OUTPUT_FAILED', `${folder}: ${(thrown as Error).message}`, {
        cause: thrown,
      });
      this.#log.write('archive_failed', { camera: '', reason: this.#scanFault.message, retry_s: 0 });
      return;
    }
    this.#isScanned = true;
    for (const { id } of this.#feeds.all()) this.#follow(id);
  }

  /** As it is to be recorded now, if it is. */
  #follow(id: string): void {
    if (this.#isClosed) return;
    const feed = this.#feeds.all().find((one) => one.id === id);
    const { mode, labels } = this.#planOf(id);
    const open = this.#open.get(id);
    const mayRecord = feed !== undefined && mode !== 'off' && (!feed.isMasked || this.#settings.takesUnmasked);
    const isSame = open?.feed === feed && open?.mode === mode && isSameList(open.labels, labels);
    if (open && (!mayRecord || !isSame)) this.#end(id, open);
    if (!mayRecord) this.#faults.delete(id);
    // Nothing is written before it is known what there is.
    if (!mayRecord || this.#open.has(id) || this.#closing.has(id) || !this.#isScanned) return;
    try {
      this.#open.set(id, this.#begin(feed, { mode, labels }));
      this.#faults.delete(id);
    } catch (thrown) {
      const fault = toSightlineError(thrown);
      this.#faults.set(id, fault);
      this.#log.write('archive_failed', { camera: id, reason: fault.message, retry_s: SWEEP_MS / 1000 });
    }
  }

  #begin(
    feed: CameraFeed,
    { mode, labels }: { readonly mode: RecordMode; readonly labels: readonly string[] },
  ): CameraArchive {
    const { id } = feed;
    return new CameraArchive({
      feed,
      clock: this.#clock,
      mode,
      labels,
      times: () => this.#settings,
      folder: join(this.#settings.folder, id),
      keptUntilMs: this.#shelves.get(id)?.newest?.toMs ?? -Infinity,
      onFile: (file) => this.#shelfOf(id).put(file),
      onChanged: (failure) => {
        if (failure)
          this.#log.write('archive_failed', { camera: id, reason: failure.message, retry_s: RETRY_MS / 1000 });
        else this.#log.write('archive_resumed', { camera: id });
      },
    });
  }

  #end(id: string, open: CameraArchive): void {
    this.#open.delete(id);
    this.#closing.set(id, { archive: open, ended: this.#untilEnded(id, open) });
  }

  async #untilEnded(id: string, open: CameraArchive): Promise<void> {
    await open.close();
    this.#past = added(this.#past, open.counts());
    this.#closing.delete(id);
    this.#follow(id);
  }

  #stateOf(
    feed: CameraFeed,
    mode: RecordPlan['mode'],
    open: CameraArchive | undefined,
  ): Pick<ArchiveReport, 'state' | 'reason'> {
    if (mode === 'off') return { state: 'off', reason: undefined };
    if (this.#scanFault) return { state: 'failed', reason: this.#scanFault };
    if (feed.isMasked && !this.#settings.takesUnmasked) {
      const message = `camera ${feed.id} has masks, which its own frames have not: set fleet.record_unmasked to record them all the same`;
      return { state: 'masked', reason: new SightlineError('CAMERA_MASKED', message) };
    }
    const fault = open ? open.failure : this.#faults.get(feed.id);
    if (fault) return { state: 'failed', reason: fault };
    return { state: open?.isOn ? 'writing' : 'waiting', reason: undefined };
  }

  async #removeDue(): Promise<void> {
    for (const id of this.#faults.keys()) this.#follow(id);
    const nowMs = wallTimeMs(this.#clock);
    for (const [camera, shelf] of this.#shelves) {
      const { bounds } = this.#planOf(camera);
      for (const { file, bound } of shelf.due(nowMs, bounds, this.#openName(camera))) {
        try {
          await remove(pathsOf(join(this.#settings.folder, camera), file));
        } catch (thrown) {
          this.#log.write('archive_failed', { camera, reason: (thrown as Error).message, retry_s: SWEEP_MS / 1000 });
          continue;
        }
        shelf.remove(file.name);
        this.#removed[bound]++;
      }
      if (shelf.size === 0 && !this.#open.has(camera) && !this.#closing.has(camera)) this.#shelves.delete(camera);
    }
  }

  #planOf(camera: string): RecordPlan {
    return this.#settings.plans.get(camera) ?? { mode: 'off', labels: [], bounds: this.#settings.bounds };
  }

  #found(camera: string, file: ShelvedFile): FoundFile {
    const isOpen = this.#openName(camera) === file.name;
    return { ...file, paths: pathsOf(join(this.#settings.folder, camera), file, isOpen) };
  }

  #openName(camera: string): string | undefined {
    return (this.#closing.get(camera)?.archive ?? this.#open.get(camera))?.openName;
  }

  #shelfOf(camera: string): Shelf {
    let shelf = this.#shelves.get(camera);
    if (!shelf) this.#shelves.set(camera, (shelf = new Shelf()));
    return shelf;
  }
}

function added(one: ArchiveCounts, other: ArchiveCounts): ArchiveCounts {
  const sum = (name: Exclude<keyof ArchiveCounts, 'dropped'>) => one[name] + other[name];
  return {
    brought: sum('brought'),
    written: sum('written'),
    dropped: { disk: one.dropped.disk + other.dropped.disk, queue: one.dropped.queue + other.dropped.queue },
    waiting: sum('waiting'),
    made: sum('made'),
    passed: sum('passed'),
    kept: sum('kept'),
    resultsDropped: sum('resultsDropped'),
  };
}
