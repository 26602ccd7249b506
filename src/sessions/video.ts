import { isDeepStrictEqual } from 'node:util';
import type { WebSocket } from 'ws';
import type { Clock } from '../base/clock.ts';
import { SightlineError, toSightlineError } from '../base/errors.ts';
import type { Picture } from '../base/picture.ts';
import type { DropCause } from '../protocol/video.ts';
import { EngineControl, type EngineFacts } from '../flow/engine-control.ts';
import { ProcessControl, type ProcessFacts } from '../flow/process-control.ts';
import { SessionControl, type ControlReport } from '../flow/session-control.ts';
import type { Hub } from '../stream/hub.ts';
import type { Stream } from '../stream/stream.ts';
import { parseSessionQuery, type SessionQuery } from './query.ts';
import { SessionRegistry } from './registry.ts';
import {
  endVideoSocket,
  VideoSession,
  type AttachedPipeline,
  type VideoObserver,
  type VideoSessionAccounts,
  type VideoSessionSettings,
} from './video-session.ts';

export interface AttachRequest {
  readonly pipeline: string;
  readonly model: string | undefined;
  readonly confidence: number | undefined;
  readonly clientId: string;
  readonly frames: Stream<Picture>;
  /** The source keeps to what it was granted. */
  readonly isWithinGrant: () => boolean;
}

export interface VideoLaneOptions {
  readonly hub: Hub;
  readonly clock: Clock;
  readonly observer: VideoObserver;
  readonly settings: VideoSessionSettings & {
    readonly resumeWindowMs: number;
    /** Sessions at once, those that wait for their client included: of these the longest lost one gives way first. */
    readonly sessionsMax: number;
    /** What the process may use of itself. */
    readonly process: Pick<ProcessFacts, 'busyShareMax' | 'rssBytesMax'>;
  };
  /** Throws SightlineError PIPELINE_UNKNOWN, MODEL_UNKNOWN, MODEL_UNAVAILABLE … */
  readonly attach: (request: AttachRequest) => Promise<AttachedPipeline>;
  /** Width and height from a JPEG's header; throws SightlineError FRAME_*. */
  readonly readJpeg: (bytes: Uint8Array) => { width: number; height: number };
  /** What the engine has done so far, and the wait for it since the last call. */
  readonly engine: () => Omit<EngineFacts, 'nowMs'>;
  /** What the process uses. */
  readonly process: () => Pick<ProcessFacts, 'busyMs' | 'rssBytes'>;
}

/** Between two looks at the engine's load, and what follows from it for the grants. */
const REGULATION_INTERVAL_MS = 100;

export interface VideoSessionReport {
  readonly client_id: string;
  readonly pipeline: string;
  readonly model: string;
  readonly connected: boolean;
  readonly age_s: number;
  readonly accounts: VideoSessionAccounts;
  readonly quality: ControlReport;
  readonly capture_times_replaced: number;
  readonly refused_messages: number;
}

export interface AdaptationReport {
  readonly is_adaptive: boolean;
  /** Frames a second that the engine can do, as measured; null before it has done any. */
  readonly capacity_fps: number | null;
  /** Share of the workers' time that is used, 0..1. */
  readonly load: number;
  /** Frames a second that the sessions are granted in all, at the most. */
  readonly asked_fps: number | null;
  /** Of the main thread's time, what is used, 0..1. */
  readonly main_thread_load: number;
  /** Frames a second that processor and memory allow, where that is less than anything else; null: they bound nothing. */
  readonly process_ceiling_fps: number | null;
}

/** What all sessions together have had since the start, those that have ended included. */
export interface VideoTotals {
  readonly sessions: number;
  readonly received: number;
  readonly results: number;
  readonly errors: number;
  readonly dropped: Readonly<Record<DropCause, number>>;
  readonly grants_told: number;
  readonly ladder_moves: number;
}

/** `WS /ws/video`: opens sessions and finds them again. */
export class VideoLane {
  readonly #options: VideoLaneOptions;
  readonly #registry: SessionRegistry<VideoSession>;
  readonly #engine = new EngineControl();
  readonly #process = new ProcessControl();
  readonly #regulation: NodeJS.Timeout;
  /** Of sessions that begin from now on, and the control of all. */
  #settings: VideoLaneOptions['settings'];
  /** Of the sessions that have ended. */
  #past: VideoTotals = {
    sessions: 0,
    received: 0,
    results: 0,
    errors: 0,
    dropped: { queue_full: 0, expired: 0, superseded: 0, stale: 0, slow_reader: 0, disconnected: 0 },
    grants_told: 0,
    ladder_moves: 0,
  };

  constructor(options: VideoLaneOptions) {
    this.#options = options;
    this.#settings = options.settings;
    this.#registry = new SessionRegistry({ kind: 'video', clock: options.clock, settings: options.settings });
    this.#regulation = setInterval(() => this.#regulate(), REGULATION_INTERVAL_MS);
    this.#regulation.unref();
  }

  get sessions(): Iterable<VideoSession> {
    return this.#registry.sessions;
  }

  get connected(): number {
    return this.#registry.connected;
  }

  /** A session for its owner. Throws SESSION_UNKNOWN or SESSION_TOKEN_BAD. */
  find(clientId: string, token: string | undefined): VideoSession {
    return this.#registry.find(clientId, token);
  }

  /** A session by its name alone, for who runs the server. Throws SESSION_UNKNOWN. */
  get(clientId: string): VideoSession {
    for (const session of this.#registry.sessions) if (session.clientId === clientId) return session;
    throw new SightlineError('SESSION_UNKNOWN', `there is no session "${clientId.slice(0, 80)}"`);
  }

  /**
   * Other settings, for sessions that begin from now on; their `control` for those that are there too, whose clients are told.
   * What belongs to the lane itself (how many sessions, how long one waits for its client) stays.
   */
  configure(settings: VideoLaneOptions['settings']): void {
    const isOtherControl = !isDeepStrictEqual(settings.control, this.#settings.control);
    this.#settings = settings;
    if (!isOtherControl) return;
    for (const session of this.#registry.sessions) session.configure(settings.control);
  }

  /** Takes over an accepted socket. What cannot be is told on the socket, which is then closed. */
  async open(socket: WebSocket, query: URLSearchParams): Promise<void> {
    // A client may send its first frames without waiting for the welcome: they stay in the kernel until there is somebody to take them.
    socket.pause();
    socket.on('error', () => {
      // ws closes the socket itself (1009 for a message over the hard limit, 1002 for a broken one); the session sees the close.
    });
    try {
      const request = parseSessionQuery(query);
      const isUnwanted = () => this.#registry.closed || socket.readyState !== socket.OPEN;
      const { session, resumed } = await this.#registry.claim(request, (clientId) =>
        this.#create(clientId, request, isUnwanted),
      );
      if (socket.readyState !== socket.OPEN) return;
      // Its first grant is its share already: many that come at once must not all begin as if they were alone.
      this.#shareOut(this.#options.clock.now(), session);
      session.connect(socket, request.format, resumed);
      socket.resume();
    } catch (thrown) {
      socket.resume();
      endVideoSocket(socket, query.get('format') === 'msgpack' ? 'msgpack' : 'json', toSightlineError(thrown));
    }
  }

  report(): VideoSessionReport[] {
    const now = this.#options.clock.now();
    return [...this.#registry.sessions].map((session) => reportOf(session, now));
  }

  totals(): VideoTotals {
    return [...this.#registry.sessions].reduce(addSession, this.#past);
  }

  /** What the engine is asked for, all sessions together. */
  adaptation(): AdaptationReport {
    const ceilingFps = this.#process.ceilingFps(this.#engine.capacityFps);
    return {
      is_adaptive: this.#settings.control.isAdaptive,
      capacity_fps: this.#engine.capacityFps ?? null,
      load: this.#engine.load,
      asked_fps: this.#engine.capacityFps === undefined ? null : this.#engine.rateFps,
      main_thread_load: this.#process.busyShare,
      process_ceiling_fps: ceilingFps === Infinity ? null : ceilingFps,
    };
  }

  /** Tells every client and ends every session. Idempotent. */
  close(): void {
    clearInterval(this.#regulation);
    this.#registry.close();
  }

  #regulate(): void {
    const nowMs = this.#options.clock.now();
    this.#engine.update({ nowMs, ...this.#options.engine() });
    this.#process.update({
      nowMs,
      ...this.#options.process(),
      ...this.#settings.process,
      received: () => this.totals().received,
    });
    this.#shareOut(nowMs);
  }

  /** Shares the engine out among the connected sessions and a new one, and tells them where that changes their grants. */
  #shareOut(nowMs: number, newcomer?: VideoSession): void {
    const sessions = [...this.#registry.sessions].filter((session) => session.connected || session === newcomer);
    const shares = this.#engine.shares(
      sessions.map(({ control }) => control.demand(nowMs)),
      this.#process.ceilingFps(this.#engine.capacityFps),
    );
    const atAddress = new Map<string | undefined, number>();
    for (const { link } of sessions) atAddress.set(link.remoteAddress, (atAddress.get(link.remoteAddress) ?? 0) + 1);
    for (const [i, session] of sessions.entries()) {
      if (this.#settings.control.isAdaptive) session.control.share(shares[i]!);
      // Who comes from one address shares its way; the address is not known of a socket that is gone, or that is yet to come.
      const { remoteAddress } = session.link;
      if (remoteAddress !== undefined) session.control.shareWay(atAddress.get(remoteAddress)! > 1);
      session.tellGrant(nowMs);
    }
  }

  async #create(clientId: string, request: SessionQuery, isUnwanted: () => boolean): Promise<VideoSession> {
    const { hub, clock, observer, readJpeg, attach } = this.#options;
    const { pipeline, model, confidence, priority, budgetMs } = request;
    const settings = this.#settings;
    const control = new SessionControl({ ...settings.control, priority }, clock.now(), budgetMs);
    const frames = hub.create<Picture>(`${clientId}/frames`, { capacity: settings.frameQueue });
    let attached: AttachedPipeline | undefined;
    try {
      const isWithinGrant = () => control.isWithinGrant;
      attached = await attach({ pipeline, model, confidence, clientId, frames, isWithinGrant });
      if (isUnwanted()) throw new SightlineError('SHUTTING_DOWN', 'the connection ended before the session began');
    } catch (thrown) {
      attached?.detach();
      frames.close();
      throw thrown;
    }
    // The settings may have changed while the model was loaded.
    if (settings !== this.#settings) control.configure(this.#settings.control);
    return new VideoSession({
      clientId,
      pipeline,
      frames,
      attached,
      control,
      priority,
      settings,
      clock,
      observer,
      readJpeg,
      onClosed: (session) => {
        this.#past = addSession(this.#past, session);
      },
    });
  }
}

/** What a session tells of itself: without its token. */
export function reportOf(session: VideoSession, nowMs: number): VideoSessionReport {
  return {
    client_id: session.clientId,
    pipeline: session.pipeline,
    model: session.model,
    connected: session.connected,
    age_s: (nowMs - session.link.openedTimeMs) / 1000,
    accounts: session.accounts(),
    quality: session.control.report(),
    capture_times_replaced: session.captureTimesReplaced,
    refused_messages: session.refusedMessages,
  };
}

function addSession(sum: VideoTotals, session: VideoSession): VideoTotals {
  const { received, results, errors, dropped } = session.accounts();
  const { grants_told, ladder_moves } = session.control.report();
  const causes = Object.keys(sum.dropped) as DropCause[];
  return {
    sessions: sum.sessions + 1,
    received: sum.received + received,
    results: sum.results + results,
    errors: sum.errors + errors,
    dropped: Object.fromEntries(causes.map((cause) => [cause, sum.dropped[cause] + dropped[cause]])) as Record<
      DropCause,
      number
    >,
    grants_told: sum.grants_told + grants_told,
    ladder_moves: sum.ladder_moves + ladder_moves,
  };
}
