import { expect, onTestFinished } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import type { Picture, Size } from '../../src/base/picture.ts';
import { seededRandom } from '../../src/base/random.ts';
import { Priority } from '../../src/base/sample.ts';
import { loadConfig } from '../../src/config/load.ts';
import { boundless } from '../../src/fences/memory-ledger.ts';
import type { Engine, InferenceJob, ProgramOutcome } from '../../src/inference/engine/types.ts';
import { Admission } from '../../src/pipelines/admission.ts';
import type { FrameTracer } from '../../src/observe/traces/tracer.ts';
import { cameraPictures } from '../../src/pipelines/camera-pictures.ts';
import { Dispatcher } from '../../src/pipelines/dispatcher.ts';
import { FrameSources } from '../../src/pipelines/frame-sources.ts';
import { PipelineHost } from '../../src/pipelines/pipeline-host.ts';
import type { StagesMs } from '../../src/protocol/video.ts';
import type { ObservedFrame } from '../../src/sources/camera/picture-accounts.ts';
import { NO_FLEET, type CameraSettings, type FleetSettings } from '../../src/sources/camera/camera-settings.ts';
import type { Camera } from '../../src/sources/camera/camera.ts';
import { SOFTWARE, type Hardware } from '../../src/sources/camera/hardware.ts';
import { CameraFleet } from '../../src/sources/camera/fleet.ts';
import { FrameStreams } from '../../src/stream/frame-streams.ts';
import { Hub } from '../../src/stream/hub.ts';
import { collectingLog } from './log.ts';

/** A fleet with processes of made-up cameras, real pipelines, and an engine that reads the names that these cameras write into their pictures. */

const READER = new URL('./scripted-reader.ts', import.meta.url);
const SHARE_MS = 100;

export const CAMERA: CameraSettings = {
  url: '',
  isEnabled: true,
  transport: 'tcp',
  priority: Priority.low,
  pipelines: ['objects'],
  loop: false,
  pace: 'live',
  masks: [],
};

/** So many workers, each of which takes this long for a frame. */
export class NamingEngine implements Engine {
  onFree: (() => void) | undefined;
  readonly #workers: number;
  readonly #runMs: number;
  readonly #nameOf: (picture: Picture) => string;
  readonly jobs: InferenceJob[] = [];
  #busy = 0;
  #completed = 0;

  /** `nameOf`: what it reads in a picture; default: what made-up cameras write into theirs. */
  constructor(workers = 2, runMs = 5, nameOf = nameInBytes) {
    this.#workers = workers;
    this.#runMs = runMs;
    this.#nameOf = nameOf;
  }

  get freeSlots(): number {
    return this.#workers - this.#busy;
  }

  get urgentSlots(): number {
    return this.freeSlots;
  }

  run(job: InferenceJob): Promise<ProgramOutcome>[] {
    this.#busy++;
    this.jobs.push(job);
    const startedTimeMs = systemClock.now();
    const run = new Promise<ProgramOutcome>((resolve) => {
      setTimeout(() => {
        this.#busy--;
        this.#completed++;
        const label = this.#nameOf(job.picture);
        const detection = { label, classId: 0, score: 1, box: { x: 0, y: 0, width: 1, height: 1 } };
        const size = job.picture.kind === 'rgb' ? job.picture.source : job.picture;
        resolve({
          result: { detections: [detection] },
          width: size.width,
          height: size.height,
          stagesMs: { decode: 0, preprocess: 0, inference: this.#runMs, postprocess: 0 },
          startedTimeMs,
          workerMs: this.#runMs,
        });
        this.onFree?.();
      }, this.#runMs);
    });
    return job.programs.map(() => run);
  }

  load(): never {
    throw new Error('not in these tests');
  }

  stats() {
    const busyMs = this.#completed * this.#runMs;
    const counts = { restarts: 0, completed: this.#completed, failed: 0, decodes: this.#completed };
    return { workers: this.#workers, busy: this.#busy, ...counts, workerMs: busyMs, busyMs, models: [], work: [] };
  }

  async close(): Promise<void> {}
}

function nameInBytes({ bytes }: Picture): string {
  const data = Buffer.from(bytes);
  return `${data.readDoubleLE(0)}/${data.readUInt32LE(8)}`;
}

export interface FleetWorldOptions {
  readonly seed?: number;
  readonly engine?: Engine;
  readonly settings?: Partial<FleetSettings>;
  /** Default: made-up cameras; null: the reader. */
  readonly script?: URL | null;
  /** Of the model's input. */
  readonly input?: Size;
  readonly streamsMax?: number;
  /** A result is late after that. Default: never. */
  readonly lateMs?: number;
  readonly tracer?: FrameTracer;
  /** Default: this machine has no device that decodes. */
  readonly findHardware?: () => Promise<Hardware>;
}

interface ObservedResult extends ObservedFrame {
  readonly priority: Priority;
  readonly stages: StagesMs;
  readonly ownStages: StagesMs;
}

export function fleetWorld({
  seed = Date.now() % 1e6,
  engine = new NamingEngine(),
  settings: more,
  script = READER,
  input = { width: 8, height: 8 },
  streamsMax = 2_000,
  lateMs = Infinity,
  tracer,
  findHardware = async () => SOFTWARE,
}: FleetWorldOptions = {}) {
  const clock = systemClock;
  const hub = new Hub({ clock, streamsMax });
  const memory = boundless();
  const streams = new FrameStreams(hub, memory);
  const dispatcher = new Dispatcher({ engine, clock, laneInFlightMax: 2, stallTimeoutMs: 1_000 });
  const admission = new Admission(() => dispatcher.facts());
  const models = {
    detector: async (id = 'a') => id,
    model: async (id: string) => ({
      id,
      input: {
        ...input,
        layout: 'nhwc',
        colour: 'rgb',
        mean: [0, 0, 0],
        std: [1, 1, 1],
        fit: id === 'boxed' ? 'letterbox' : 'stretch',
      } as const,
    }),
  };
  const config = loadConfig({ env: {}, flags: {} });
  const sources = new FrameSources({
    hub,
    streams,
    memory,
    clock,
    dispatcher,
    admission,
    host: new PipelineHost({ streams, dispatcher, models, config: () => config }),
    imageLimits: { sideMax: 8_192, pixelsMax: 2 ** 24 },
    frameQueue: () => 4,
  });
  const share = setInterval(() => {
    admission.measure(clock.now());
    admission.shareOut(clock.now());
  }, SHARE_MS);
  const { log, entries } = collectingLog();
  const observed: ObservedResult[] = [];
  const fleet = new CameraFleet({
    clock,
    random: seededRandom(seed),
    log,
    memory,
    streams,
    openPictures: cameraPictures(sources),
    observer: {
      frame: (frame, priority, stages, ownStages) => {
        observed.push({ ...frame, priority, stages, ownStages });
        return ownStages.total > lateMs;
      },
      budgetMs: () => lateMs,
    },
    tracer: () => tracer,
    guard: (callback) => hub.guard(callback),
    findHardware,
    ...(script && { script }),
  });
  onTestFinished(async ({ task }) => {
    if (task.result?.state === 'fail')
      process.stderr.write(`seed ${seed}\n${entries.map(({ text }) => text).join('\n')}\n`);
    clearInterval(share);
    await fleet.close();
    expect(hub.list().map(({ name }) => name)).toEqual([]);
    expect(hub.callbackFaults.last).toBeUndefined();
    expect(memory.bytes('frames')).toBe(0);
  });
  const cameras = new Map<string, CameraSettings>();
  const apply = () => fleet.configure({ ...NO_FLEET, streamsMax: 1_000, ...more, cameras: new Map(cameras) });
  return {
    fleet,
    hub,
    memory,
    engine,
    admission,
    sources,
    log: entries,
    /** Results as they were told of. */
    observed,
    /** Sets cameras, each with its address or more; null removes one. */
    set(changes: Readonly<Record<string, Partial<CameraSettings> | string | null>>) {
      for (const [id, change] of Object.entries(changes)) {
        if (change === null) cameras.delete(id);
        else
          cameras.set(id, {
            ...(cameras.get(id) ?? CAMERA),
            ...(typeof change === 'string' ? { url: change } : change),
          });
      }
      apply();
    },
    limit(settings: Partial<FleetSettings>) {
      more = { ...more, ...settings };
      apply();
    },
    camera: (id: string) => fleet.get(id) as Camera,
    state: (id: string) => fleet.get(id).report().state,
    states: () => fleet.all().map((one) => one.report().state),
  };
}

/** At this very moment, whatever is under way. */
export function expectBalanced(camera: Camera): void {
  const { pictures, unused, frames, namesLost } = camera.accounts();
  expect(namesLost).toBe(0);
  const received = new Map<string, number>();
  for (const one of frames) {
    const name = `${one.pipeline} ${one.class}`;
    const dropped = Object.values(one.dropped).reduce((sum, count) => sum + count, 0);
    expect(one.results + one.errors + dropped + one.queued + one.in_flight, name).toBe(one.received);
    expect(Math.min(one.queued, one.in_flight), name).toBeGreaterThanOrEqual(0);
    received.set(one.pipeline, (received.get(one.pipeline) ?? 0) + one.received);
  }
  for (const [pipeline, count] of received) expect(count + unused, pipeline).toBe(pictures);
}
