import type { WebSocket } from 'ws';
import type { Clock } from '../base/clock.ts';
import { SightlineError, toSightlineError } from '../base/errors.ts';
import type { VideoFrame } from '../base/frame.ts';
import { EngineControl, type EngineFacts } from '../flow/engine-control.ts';
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
  readonly frames: Stream<VideoFrame>;
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
  };
  /** Throws SightlineError PIPELINE_UNKNOWN, MODEL_UNKNOWN, MODEL_UNAVAILABLE … */
  readonly attach: (request: AttachRequest) => Promise<AttachedPipeline>;
  /** Width and height from a JPEG's header; throws SightlineError FRAME_*. */
  readonly readJpeg: (bytes: Uint8Array) => { width: number; height: number };
  /** What the engine has done so far, and the wait for it since the last call. */
  readonly engine: () => Omit<EngineFacts, 'nowMs'>;
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
}

/** `WS /ws/video`: opens sessions and finds them again. */
export class VideoLane {
  readonly #options: VideoLaneOptions;
  readonly #registry: SessionRegistry<VideoSession>;
  readonly #engine = new EngineControl();
  readonly #regulation: NodeJS.Timeout;

  constructor(options: VideoLaneOptions) {
    this.#options = options;
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
      session.connect(socket, request.format, resumed);
      socket.resume();
    } catch (thrown) {
      socket.resume();
      endVideoSocket(socket, query.get('format') === 'msgpack' ? 'msgpack' : 'json', toSightlineError(thrown));
    }
  }

  report(): VideoSessionReport[] {
    const now = this.#options.clock.now();
    return [...this.#registry.sessions].map((session) => ({
      client_id: session.clientId,
      pipeline: session.pipeline,
      model: session.model,
      connected: session.connected,
      age_s: (now - session.link.openedTimeMs) / 1000,
      accounts: session.accounts(),
      quality: session.control.report(),
      capture_times_replaced: session.captureTimesReplaced,
      refused_messages: session.refusedMessages,
    }));
  }

  /** What the engine is asked for, all sessions together. */
  adaptation(): AdaptationReport {
    return {
      is_adaptive: this.#options.settings.control.isAdaptive,
      capacity_fps: this.#engine.capacityFps ?? null,
      load: this.#engine.load,
      asked_fps: this.#engine.capacityFps === undefined ? null : this.#engine.rateFps,
    };
  }

  /** Tells every client and ends every session. Idempotent. */
  close(): void {
    clearInterval(this.#regulation);
    this.#registry.close();
  }

  /** Shares the engine out among the sessions, and tells them where that changes their grants. */
  #regulate(): void {
    const nowMs = this.#options.clock.now();
    this.#engine.update({ nowMs, ...this.#options.engine() });
    const sessions = [...this.#registry.sessions].filter(({ connected }) => connected);
    const shares = this.#engine.shares(sessions.map(({ control }) => control.demand(nowMs)));
    for (const [i, session] of sessions.entries()) {
      if (this.#options.settings.control.isAdaptive) session.control.share(shares[i]!);
      session.tellGrant(nowMs);
    }
  }

  async #create(clientId: string, request: SessionQuery, isUnwanted: () => boolean): Promise<VideoSession> {
    const { hub, clock, observer, settings, readJpeg, attach } = this.#options;
    const { pipeline, model, confidence, priority, budgetMs = settings.control.budgetMs } = request;
    const control = new SessionControl({ ...settings.control, budgetMs, priority }, clock.now());
    const frames = hub.create<VideoFrame>(`${clientId}/frames`, { capacity: settings.frameQueue });
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
    });
  }
}
