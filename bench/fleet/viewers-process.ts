import { connectCameras, type CamerasSession } from '../../src/client/camera-session.ts';
import { systemClock } from '../../src/base/clock.ts';
import { offer } from '../support/children.ts';
import { WatchLog, type WatchReport } from './watch-log.ts';

/** People who watch cameras: the SDK, in a process of their own. */

/** Of the latencies of a span that are kept. */
const LATENCIES_MAX = 200_000;

export interface OpenViews {
  readonly url: string;
  readonly cameras: readonly string[];
  /** Connections, each with a view of every camera. */
  readonly sessions: number;
}

export interface ViewsReport {
  /** By camera, of the first session; the others are in the sums alone. */
  readonly cameras: Readonly<Record<string, WatchReport>>;
  readonly sum: Omit<WatchReport, 'resultsApartMsMax'>;
  /** From a frame's arrival at the server to its result here, ms. */
  readonly latenciesMs: readonly number[];
  /** What the engine spent on each frame, ms. */
  readonly runsMs: readonly number[];
  /** What the server left out, by cause. */
  readonly gaps: Readonly<Record<string, number>>;
  /** Outcomes that are no results. */
  readonly failed: number;
  readonly disconnections: number;
}

const sessions: CamerasSession[] = [];
const logs: Map<string, WatchLog>[] = [];
const views: Set<string>[] = [];
let latenciesMs: number[] = [];
let runsMs: number[] = [];
let gaps: Record<string, number> = {};
let failed = 0;
let disconnections = 0;

const api = {
  /** Returns when each camera has sent a frame to each session. Cameras that are watched already go on. */
  async open({ url, cameras, sessions: count }: OpenViews): Promise<void> {
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
    await until(() => logs.every((log) => cameras.every((camera) => (log.get(camera)?.fragmentMs ?? 0) > 0)));
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

  /** Unix ms of the last fragment of each camera, and the epoch that it is of. */
  last(): Record<string, { readonly atMs: number; readonly epoch: number | undefined }> {
    return Object.fromEntries([...logs[0]!].map(([id, log]) => [id, { atMs: log.fragmentMs, epoch: log.epoch }]));
  },

  /** Since the last one. */
  take(): ViewsReport {
    const nowMs = systemClock.now();
    const sum = { fragments: 0, missing: 0, holes: 0, headless: 0, epochs: 0, results: 0 };
    const cameras: Record<string, WatchReport> = {};
    for (const [i, log] of logs.entries()) {
      for (const [id, watched] of log) {
        const report = watched.take(nowMs);
        if (i === 0) cameras[id] = report;
        for (const name of Object.keys(sum) as (keyof typeof sum)[]) sum[name] += report[name];
      }
    }
    const report = { cameras, sum, latenciesMs, runsMs, gaps, failed, disconnections };
    [latenciesMs, runsMs, gaps, failed, disconnections] = [[], [], {}, 0, 0];
    return report;
  },

  async close(): Promise<void> {
    await Promise.all(sessions.map((session) => session.close()));
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
    gaps[cause] = (gaps[cause] ?? 0) + 1;
  });
  view.on('closed', ({ error }) => {
    if (error) process.stderr.write(`the view of ${camera} has ended: ${error.message}\n`);
  });
  view.on('result', ({ captureTimeMs, result }) => {
    if (result.outcome === 'error') failed += 1;
    if (result.outcome !== 'result') return;
    const nowMs = systemClock.now();
    log.result(nowMs);
    if (index > 0 || latenciesMs.length >= LATENCIES_MAX) return;
    const { decode, preprocess, inference, postprocess } = result.stages_ms;
    latenciesMs.push(nowMs - captureTimeMs);
    runsMs.push(decode + preprocess + inference + postprocess);
  });
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 20));
}

offer(api);
