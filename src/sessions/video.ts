import { isDeepStrictEqual } from 'node:util';
import type { WebSocket } from 'ws';
import type { Clock } from '../base/clock.ts';
import { SightlineError, toSightlineError } from '../base/errors.ts';
import type { Picture } from '../base/picture.ts';
import { classOf, Priority, type PriorityClass } from '../base/sample.ts';
import type { Log } from '../log/log.ts';
import { openFences, type Fences } from '../fences/fences.ts';
import type { MemoryAccount } from '../fences/memory-ledger.ts';
import { ProcessControl, type ProcessFacts } from '../flow/process-control.ts';
import { SessionControl } from '../flow/session-control.ts';
import type { Demand } from '../flow/share.ts';
import type { AdaptationReport, VideoSessionReport, VideoTotals } from '../observe/metrics.ts';
import type { FrameStreams } from '../stream/frame-streams.ts';
import type { Stream } from '../stream/stream.ts';
import { requireCritical } from './priority.ts';
import { parseSessionQuery, type SessionQuery } from './query.ts';
import { SessionRegistry } from './registry.ts';
import { PauseReason, SocketReading } from './socket-reading.ts';
import type { OpeningRequest, SessionSocket } from './session-socket.ts';
import { totalsOf, VideoLedger, type VideoAccounts } from './video-accounts.ts';
import {
  endVideoSocket,
  VideoSession,
  type AttachedWork,
  type FrameTracing,
  type ReadJpeg,
  type VideoObserver,
  type VideoSessionSettings,
} from './video-session.ts';

export interface AttachRequest {
  /** Names, as the client wrote them. */
  readonly pipelines: readonly string[];
  readonly model: string | undefined;
  readonly confidence: number | undefined;
  readonly clientId: string;
  readonly frames: Stream<Picture>;
  /** To whom its outcomes are charged. */
  readonly account: () => MemoryAccount;
  /** The source keeps to its grant. */
  readonly isWithinGrant: () => boolean;
}

/** The part of the engine's admission that the lane needs; the sessions are not its only members. */
export interface EngineAdmission {
  /** Frames a second of the recent mix of work: the capacity, and what all members are asked for; undefined: not known. */
  readonly capacityFps: number | undefined;
  readonly rateFps: number | undefined;
  /** Share of the workers' time that is used, 0..1. */
  readonly load: number;
  /** Gives what ends the membership. */
  join(member: {
    demand(nowMs: number): Omit<Demand, 'floor'> | undefined;
    costMs(): number | undefined;
    isCostly(): boolean;
    isIdle(nowMs: number): boolean;
    onShare(fps: number): void;
  }): () => void;
  measure(nowMs: number): void;
  shareOut(nowMs: number, ceilingFps: number): void;
}

export interface VideoLaneOptions {
  readonly streams: FrameStreams;
  readonly clock: Clock;
  readonly log?: Log;
  /** Default: no bounds. */
  readonly fences?: Fences;
  readonly observer: VideoObserver;
  /** Asked when a session begins; undefined: nobody wants traces. */
  readonly tracing?: () => FrameTracing | undefined;
  readonly settings: VideoSessionSettings & {
    readonly resumeWindowMs: number;
    /** Most sessions, those that wait for their client included: of these the one lost longest ago gives way first. */
    readonly sessionsMax: number;
    /** Limits of the process on itself. */
    readonly process: Pick<ProcessFacts, 'busyShareMax' | 'rssBytesMax'>;
  };
  /** Throws SightlineError PIPELINE_UNKNOWN, MODEL_UNKNOWN, MODEL_UNAVAILABLE … */
  readonly attach: (request: AttachRequest) => Promise<AttachedWork>;
  readonly readJpeg: ReadJpeg;
  /** The lane sets the pace for all members. */
  readonly admission: EngineAdmission;
  /** Resources that the process uses. */
  readonly process: () => Pick<ProcessFacts, 'busyMs' | 'rssBytes'>;
}

/** Between two looks at the engine's load, and what follows from it for the grants. */
const REGULATION_INTERVAL_MS = 100;

/** `WS /ws/video`: opens sessions and finds them again. */
export class VideoLane {
  readonly #options: VideoLaneOptions;
  readonly #fences: Fences;
  readonly #registry: SessionRegistry<VideoSession>;
  readonly #process = new ProcessControl();
  readonly #regulation: NodeJS.Timeout;
  /** Of sessions that begin from now on, and the control of all. */
  #settings: VideoLaneOptions['settings'];
  /** Is about to get its socket, and has a share already. */
  #newcomer: VideoSession | undefined;
  readonly #ledger = new VideoLedger();

  constructor(options: VideoLaneOptions) {
    this.#options = options;
    this.#fences = options.fences ?? openFences({ clock: options.clock });
    this.#settings = options.settings;
    this.#registry = new SessionRegistry({
      kind: 'video',
      clock: options.clock,
      log: options.log,
      settings: options.settings,
    });
    this.#regulation = setInterval(() => this.#regulate(), REGULATION_INTERVAL_MS);
    this.#regulation.unref();
  }

  get sessions(): Iterable<VideoSession> {
    return this.#registry.sessions;
  }

  get links(): readonly SessionSocket[] {
    return this.#registry.links;
  }

  get connected(): number {
    return this.#registry.connected;
  }

  /** A session for its owner. Throws SESSION_UNKNOWN or SESSION_TOKEN_BAD. */
  find(clientId: string, token: string | undefined): VideoSession {
    return this.#registry.find(clientId, token);
  }

  /** A session by its name alone, for the server's operator. Throws SESSION_UNKNOWN. */
  get(clientId: string): VideoSession {
    for (const session of this.#registry.sessions) if (session.clientId === clientId) return session;
    throw new SightlineError('SESSION_UNKNOWN', `there is no session "${clientId.slice(0, 80)}"`);
  }

  /**
   * Other settings, for sessions that begin from now on; their `control` also for open ones, whose clients get a grant.
   * Settings of the lane itself (how many sessions, how long one waits for its client) stay.
   */
  configure(settings: VideoLaneOptions['settings']): void {
    const isOtherControl = !isDeepStrictEqual(settings.control, this.#settings.control);
    this.#settings = settings;
    if (!isOtherControl) return;
    for (const session of this.#registry.sessions) session.configure(settings.control);
  }

  /** Takes over an accepted socket. Refusals are sent on the socket, which is then closed. */
  async open(socket: WebSocket, { query, address, principal }: OpeningRequest): Promise<void> {
    // A client may send its first frames without waiting for the welcome: they stay in the kernel until the session can take them.
    const reading = SocketReading.of(socket);
    reading.pause(PauseReason.busy);
    socket.on('error', () => {
      // ws closes the socket itself (1009 for a message over the hard limit, 1002 for a broken one); the session sees the close.
    });
    try {
      const request = parseSessionQuery(query);
      this.#fences.penalties.require('video', { address, token: request.token });
      if (request.priority === Priority.critical) requireCritical(principal);
      // Also who takes up a session again: its key may be another one of the same holder by now.
      if (request.clientId !== undefined) principal.require('publish', `sessions/${request.clientId}`);
      const isUnwanted = () => this.#registry.closed || socket.readyState !== socket.OPEN;
      const { session, resumed } = await this.#registry.claim({ ...request, principal }, (clientId) => {
        principal.require('publish', `sessions/${clientId}`);
        return this.#create(clientId, request, isUnwanted);
      });
      if (socket.readyState !== socket.OPEN) return;
      // Its first grant is its share already: many that come at once must not all begin as if they were alone.
      this.#shareOut(this.#options.clock.now(), session);
      session.connect(socket, { format: request.format, resumed, principal, address });
      reading.resume(PauseReason.busy);
    } catch (thrown) {
      reading.resume(PauseReason.busy);
      const reason = toSightlineError(thrown);
      this.#fences.refusals.count('video', reason.code);
      endVideoSocket(socket, query.get('format') === 'msgpack' ? 'msgpack' : 'json', reason);
    }
  }

  report(): VideoSessionReport[] {
    const now = this.#options.clock.now();
    return [...this.#registry.sessions].map((session) => reportOf(session, now));
  }

  /** Totals, ended sessions included. */
  accounts(): VideoAccounts[] {
    return this.#ledger.accounts(this.#registry.sessions);
  }

  /** Of open sessions: the answers that were due, and those of them that were no result in time. */
  *tallies(): Iterable<{ client_id: string; class: PriorityClass; frames: number; bad: number }> {
    for (const session of this.#registry.sessions) {
      yield { client_id: session.clientId, class: classOf(session.priority), ...session.tally() };
    }
  }

  totals(): VideoTotals {
    return totalsOf(this.accounts());
  }

  /** Frames a second that all sessions together are asked for. */
  adaptation(): AdaptationReport {
    const { capacityFps, rateFps, load } = this.#options.admission;
    const ceilingFps = this.#process.ceilingFps(capacityFps);
    return {
      is_adaptive: this.#settings.control.isAdaptive,
      capacity_fps: capacityFps ?? null,
      load,
      asked_fps: rateFps ?? null,
      main_thread_load: this.#process.busyShare,
      process_ceiling_fps: ceilingFps === Infinity ? null : ceilingFps,
    };
  }

  /** From now on there are no new sessions and no new frames. Sessions that are open go on, for the answers that they are owed. */
  drain(): void {
    this.#registry.drain();
    for (const session of this.#registry.sessions) session.drain();
  }

  /** After `drain`: every frame has its answer. */
  get isDrained(): boolean {
    return [...this.#registry.sessions].every((session) => session.isDrained);
  }

  /** Tells every client and ends every session. Idempotent. */
  close(): void {
    clearInterval(this.#regulation);
    this.#registry.close();
  }

  #regulate(): void {
    const nowMs = this.#options.clock.now();
    this.#options.admission.measure(nowMs);
    this.#process.update({
      nowMs,
      ...this.#options.process(),
      ...this.#settings.process,
      received: () => this.totals().received,
    });
    this.#shareOut(nowMs);
  }

  /** Shares the engine among all members, and sends grants to connected sessions where that changes them. */
  #shareOut(nowMs: number, newcomer?: VideoSession): void {
    const { admission } = this.#options;
    this.#newcomer = newcomer;
    admission.shareOut(nowMs, this.#process.ceilingFps(admission.capacityFps));
    const sessions = [...this.#registry.sessions].filter((session) => this.#isPresent(session));
    this.#newcomer = undefined;
    const atAddress = new Map<string | undefined, number>();
    for (const { link } of sessions) atAddress.set(link.remoteAddress, (atAddress.get(link.remoteAddress) ?? 0) + 1);
    for (const session of sessions) {
      // Clients of one address share its path; the address is unknown for a socket that is gone, or that is yet to come.
      const { remoteAddress } = session.link;
      if (remoteAddress !== undefined) session.control.shareWay(atAddress.get(remoteAddress)! > 1);
      session.tellGrant(nowMs);
    }
  }

  #isPresent(session: VideoSession): boolean {
    return session.connected || session === this.#newcomer;
  }

  async #create(clientId: string, request: SessionQuery, isUnwanted: () => boolean): Promise<VideoSession> {
    const { streams, clock, log, observer, readJpeg, attach, tracing } = this.#options;
    const { pipelines, model, confidence, priority, budgetMs } = request;
    const settings = this.#settings;
    const control = new SessionControl({ ...settings.control, priority }, clock.now(), budgetMs);
    // Nothing is published before there is a session.
    const account = (): MemoryAccount => session.link.memory;
    const frames = streams.frames(`${clientId}/frames`, settings.frameQueue, account);
    let attached: AttachedWork | undefined;
    try {
      const isWithinGrant = () => control.isWithinGrant;
      attached = await attach({ pipelines, model, confidence, clientId, frames, account, isWithinGrant });
      if (isUnwanted()) throw new SightlineError('SHUTTING_DOWN', 'the connection ended before the session began');
    } catch (thrown) {
      attached?.detach();
      frames.close();
      throw thrown;
    }
    // The settings may have changed while the model was loaded.
    if (settings !== this.#settings) control.configure(this.#settings.control);
    const session: VideoSession = new VideoSession({
      clientId,
      fences: this.#fences,
      frames,
      attached,
      control,
      priority,
      settings,
      clock,
      observer,
      readJpeg,
      log,
      tracing: tracing?.(),
      onClosed: () => {
        leave();
        this.#ledger.end(session);
      },
    });
    const leave = this.#options.admission.join({
      demand: (nowMs) => (this.#isPresent(session) ? control.demand(nowMs) : undefined),
      costMs: () => attached.costMs(),
      isCostly: () => attached.isCostly(),
      isIdle: (nowMs) => !control.isInUse(nowMs),
      onShare: (fps) => {
        if (this.#settings.control.isAdaptive) control.share(fps);
      },
    });
    return session;
  }
}

/** A session's report: without its token. */
export function reportOf(session: VideoSession, nowMs: number): VideoSessionReport {
  return {
    client_id: session.clientId,
    pipeline: session.pipeline,
    model: session.model,
    connected: session.connected,
    age_s: (nowMs - session.link.openedTimeMs) / 1000,
    accounts: session.accounts(),
    ...(session.pipelines.length > 1 && {
      pipelines: session.accountsByPipeline().map(({ pipeline, model, accounts }) => ({ pipeline, model, accounts })),
    }),
    quality: session.control.report(),
    capture_times_replaced: session.captureTimesReplaced,
    refused_messages: session.refusedMessages,
    refused_costly: session.refusedCostly,
  };
}
