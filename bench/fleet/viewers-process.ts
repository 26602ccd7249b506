import { connectCameras, type CamerasSession } from '../../src/client/camera-session.ts';
import type { DrawnBoxes } from '../../src/base/camera-frame.ts';
import { systemClock } from '../../src/base/clock.ts';
import { offer } from '../support/children.ts';
import { addCounts, joined, NO_COUNTS, WatchLog, type WatchCounts, type WatchReport } from './watch-log.ts';

/** People who watch cameras: the SDK, in a process of their own. */

/** Of the latencies of a span that are kept. */
const LATENCIES_MAX = 200_000;

export interface OpenViews {
  readonly url: string;
  readonly cameras: readonly string[];
  /** Connections, each with a view of every camera. */
  readonly sessions: number;
}

export interface FocusReport {
  /** Of the annotated channel, by camera. */
  readonly frames: Readonly<Record<string, number>>;
  /** By what was drawn on them. */
  readonly boxes: Readonly<Record<DrawnBoxes, number>>;
  /** Views that the server has ended. */
  readonly ends: number;
}

export interface Resumption {
  readonly cameras: readonly string[];
  readonly inNewEpoch: boolean;
}

export interface ViewsReport {
  /** By camera, of all sessions together. */
  readonly cameras: Readonly<Record<string, WatchReport>>;
  readonly sum: WatchCounts;
  /** From a frame's arrival at the server to its result here, ms. */
  readonly latenciesMs: readonly number[];
  /** What the engine spent on each frame, ms. */
  readonly runsMs: readonly number[];
  /** From arrival until it was decoded and handed on, and from then until a worker took it, ms. */
  readonly decodesMs: readonly number[];
  readonly queuesMs: readonly number[];
  /** What the server left out, by cause. */
  readonly gaps: Readonly<Record<string, number>>;
  /** Outcomes that are no results. */
  readonly failed: number;
  readonly disconnections: number;
}

const NO_BOXES = { own: 0, predicted: 0, none: 0 } as const;

const sessions: CamerasSession[] = [];
/** One connection for all annotated channels. */
let focus: CamerasSession | undefined;
let focused: Record<string, number> = {};
let boxesSeen: Record<DrawnBoxes, number> = { ...NO_BOXES };
let focusEnds = 0;
const logs: Map<string, WatchLog>[] = [];
const views: Set<string>[] = [];
let latenciesMs: number[] = [];
let runsMs: number[] = [];
let decodesMs: number[] = [];
let queuesMs: number[] = [];
let gaps: Record<string, number> = {};
let failed = 0;
let disconnections = 0;

const api = {
  /** Returns when each camera has sent a frame to each session. Cameras that are watched already go on. */
  async open(views: OpenViews): Promise<void> {
    await api.watch(views);
    await api.seen(views.cameras);
  },

  /** Returns when each camera has sent a frame to each session. */
  async seen(cameras: readonly string[]): Promise<void> {
    await until(() => logs.every((log) => cameras.every((camera) => log.get(camera)?.epoch !== undefined)));
  },

  /** Opens what is not open, and waits for nothing. */
  async watch({ url, cameras, sessions: count }: OpenViews): Promise<void> {
    while (sessions.length < count) {
      const session = await connectCameras({ url });
      session.on('state', ({ state }) => {
        if (state !== 'open') disconnections += 1;
      });
      sessions.push(session);
      logs.push(new Map());
      views.push(new Set());
    }
    for (const [i, session] of sessions.entries()) for (const camera of cameras) watch(session, i, camera);
  },

  /** The annotated channels of these cameras, and no others. Returns when each has sent a frame. */
  async focus({ url, cameras }: Pick<OpenViews, 'url' | 'cameras'>): Promise<void> {
    focus ??= await connectCameras({ url });
    for (const view of focus.views) if (!cameras.includes(view.camera)) view.close();
    const open = new Set(focus.views.filter(({ closed }) => !closed).map(({ camera }) => camera));
    const waiting = new Set(cameras.filter((camera) => !open.has(camera)));
    for (const camera of waiting) {
      const view = focus.open(camera, { channel: 'annotated', results: false, state: false });
      view.on('fragment', ({ boxes }) => {
        waiting.delete(camera);
        focused[camera] = (focused[camera] ?? 0) + 1;
        boxesSeen[boxes]++;
      });
      view.on('closed', ({ error }) => {
        if (error) focusEnds++;
      });
    }
    await until(() => waiting.size === 0 || focusEnds > 0);
  },

  /** Since the last one. */
  takeFocus(): FocusReport {
    const report = { frames: focused, boxes: boxesSeen, ends: focusEnds };
    [focused, boxesSeen, focusEnds] = [{}, { ...NO_BOXES }, 0];
    return report;
  },

  /** Ends the views of all cameras that are not among these. */
  keep(cameras: readonly string[]): void {
    for (const [i, session] of sessions.entries()) {
      for (const view of session.views) {
        if (cameras.includes(view.camera)) continue;
        view.close();
        views[i]!.delete(view.camera);
        logs[i]!.delete(view.camera);
      }
    }
  },

  /** Returns when each camera has a result that is newer than this call. */
  async results(cameras: readonly string[]): Promise<void> {
    const waiting = new Set(cameras);
    const ends = sessions[0]!.views.map((view) =>
      view.on('result', ({ result }) => {
        if (result.outcome === 'result') waiting.delete(view.camera);
      }),
    );
    await until(() => waiting.size === 0);
    for (const end of ends) end();
  },

  /** Returns when the first session has a further fragment of each; Unix ms of that, by camera. `inNewEpoch`: one of another epoch than now. */
  async resumed({ cameras, inNewEpoch }: Resumption): Promise<Record<string, number>> {
    const times: Record<string, number> = {};
    const ends = sessions[0]!.views.map((view) => {
      const before = inNewEpoch ? logs[0]!.get(view.camera)?.epoch : undefined;
      return view.on('fragment', ({ frame }) => {
        if (frame.epoch !== before) times[view.camera] ??= systemClock.now();
      });
    });
    await until(() => cameras.every((camera) => times[camera] !== undefined));
    for (const end of ends) end();
    return times;
  },

  /** What was called before has begun. */
  ready(): void {},

  /** Since the last one. */
  take(): ViewsReport {
    const nowMs = systemClock.now();
    const cameras: Record<string, WatchReport> = {};
    for (const [id, watched] of logs.flatMap((log) => [...log])) {
      const report = watched.take(nowMs);
      cameras[id] = cameras[id] ? joined(cameras[id], report) : report;
    }
    const sum = Object.values(cameras).reduce(addCounts, NO_COUNTS);
    const report = { cameras, sum, latenciesMs, runsMs, decodesMs, queuesMs, gaps, failed, disconnections };
    [latenciesMs, runsMs, decodesMs, queuesMs, gaps, failed, disconnections] = [[], [], [], [], {}, 0, 0];
    return report;
  },

  async close(): Promise<void> {
    await Promise.all([...sessions, ...(focus ? [focus] : [])].map((session) => session.close()));
  },
};

export type ViewersApi = typeof api;

function watch(session: CamerasSession, index: number, camera: string): void {
  if (views[index]!.has(camera)) return;
  views[index]!.add(camera);
  const log = new WatchLog(systemClock.now());
  logs[index]!.set(camera, log);
  const view = session.open(camera);
  view.on('fragment', (fragment) => log.fragment(fragment, systemClock.now()));
  view.on('gap', ({ cause }) => {
    log.gap();
    gaps[cause] = (gaps[cause] ?? 0) + 1;
  });
  view.on('closed', ({ error }) => {
    if (!error) return;
    log.end();
    // It may be opened again.
    views[index]!.delete(camera);
  });
  view.on('result', ({ captureTimeMs, result }) => {
    if (result.outcome === 'error') failed += 1;
    if (result.outcome !== 'result') return;
    const nowMs = systemClock.now();
    log.result(nowMs);
    if (index > 0 || latenciesMs.length >= LATENCIES_MAX) return;
    const { capture, queue, decode, preprocess, inference, postprocess } = result.stages_ms;
    latenciesMs.push(nowMs - captureTimeMs);
    runsMs.push(decode + preprocess + inference + postprocess);
    decodesMs.push(capture);
    queuesMs.push(queue);
  });
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 20));
}

offer(api);
