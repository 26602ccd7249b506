import { randomBytes, randomUUID } from 'node:crypto';
import type { WebSocket } from 'ws';
import type { Clock } from '../base/clock.ts';
import { SightlineError, toSightlineError } from '../base/errors.ts';
import type { VideoFrame } from '../base/frame.ts';
import type { Hub } from '../stream/hub.ts';
import type { Stream } from '../stream/stream.ts';
import { parseSessionQuery, type SessionQuery } from './query.ts';
import {
  endSocket,
  VideoSession,
  type AttachedPipeline,
  type VideoObserver,
  type VideoSessionAccounts,
  type VideoSessionSettings,
} from './video-session.ts';

const SWEEP_INTERVAL_MS = 1_000;

export interface AttachRequest {
  readonly pipeline: string;
  readonly model: string | undefined;
  readonly confidence: number | undefined;
  readonly clientId: string;
  readonly frames: Stream<VideoFrame>;
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
}

export interface VideoSessionReport {
  readonly client_id: string;
  readonly pipeline: string;
  readonly model: string;
  readonly connected: boolean;
  readonly age_s: number;
  readonly accounts: VideoSessionAccounts;
  readonly capture_times_replaced: number;
  readonly refused_messages: number;
}

/** `WS /ws/video`: opens sessions, finds them again, ends the idle ones. */
export class VideoLane {
  readonly #options: VideoLaneOptions;
  /** By client id. `opening` holds a name while its pipeline is being attached. */
  readonly #sessions = new Map<string, VideoSession>();
  readonly #opening = new Set<string>();
  readonly #sweep: NodeJS.Timeout;
  #closed = false;

  constructor(options: VideoLaneOptions) {
    this.#options = options;
    this.#sweep = setInterval(() => this.#sweepSessions(), SWEEP_INTERVAL_MS);
    this.#sweep.unref();
  }

  get sessions(): Iterable<VideoSession> {
    return this.#sessions.values();
  }

  get connected(): number {
    let count = this.#opening.size;
    for (const session of this.#sessions.values()) if (session.connected) count++;
    return count;
  }

  /** A session for its owner. Throws SESSION_UNKNOWN or SESSION_TOKEN_BAD. */
  find(clientId: string, token: string | undefined): VideoSession {
    const session = this.#sessions.get(clientId);
    if (!session) throw new SightlineError('SESSION_UNKNOWN', `there is no session "${clientId.slice(0, 80)}"`);
    if (!session.hasToken(token)) {
      throw new SightlineError('SESSION_TOKEN_BAD', `the token is not that of session "${clientId}"`);
    }
    return session;
  }

  /** Takes over an accepted socket. What cannot be is told on the socket, which is then closed. */
  async open(socket: WebSocket, query: URLSearchParams): Promise<void> {
    // A client may send its first frames without waiting for the welcome: they stay in the kernel until there is somebody to take them.
    socket.pause();
    socket.on('error', () => {
      // ws closes the socket itself (1009 for a message over the hard limit, 1002 for a broken one); the session sees the close.
    });
    try {
      const { session, request, resumed } = await this.#sessionFor(parseSessionQuery(query), socket);
      if (socket.readyState !== socket.OPEN) return;
      session.connect(socket, request.format, resumed);
      socket.resume();
    } catch (thrown) {
      socket.resume();
      endSocket(socket, query.get('format') === 'msgpack' ? 'msgpack' : 'json', toSightlineError(thrown));
    }
  }

  report(): VideoSessionReport[] {
    const now = this.#options.clock.now();
    return [...this.#sessions.values()].map((session) => ({
      client_id: session.clientId,
      pipeline: session.pipeline,
      model: session.model,
      connected: session.connected,
      age_s: (now - session.openedTimeMs) / 1000,
      accounts: session.accounts(),
      capture_times_replaced: session.captureTimesReplaced,
      refused_messages: session.refusedMessages,
    }));
  }

  /** Tells every client and ends every session. Idempotent. */
  close(): void {
    this.#closed = true;
    clearInterval(this.#sweep);
    for (const session of this.#sessions.values())
      this.#end(session, new SightlineError('SHUTTING_DOWN', 'the server shuts down'));
  }

  async #sessionFor(
    request: SessionQuery,
    socket: WebSocket,
  ): Promise<{ session: VideoSession; request: SessionQuery; resumed: boolean }> {
    this.#refuseWhenClosed();
    const clientId = request.clientId ?? `video-${randomUUID().slice(0, 8)}`;
    const existing = this.#sessions.get(clientId);
    if (existing?.hasToken(request.token)) return { session: existing, request, resumed: true };
    if (existing || this.#opening.has(clientId)) {
      throw new SightlineError(
        'SESSION_NAME_IN_USE',
        `the name "${clientId}" is in use; its session's token is needed to take it over`,
      );
    }
    this.#makeRoom();
    this.#opening.add(clientId);
    try {
      const session = await this.#create(clientId, request, () => this.#closed || socket.readyState !== socket.OPEN);
      return { session, request, resumed: false };
    } finally {
      this.#opening.delete(clientId);
    }
  }

  async #create(clientId: string, request: SessionQuery, isUnwanted: () => boolean): Promise<VideoSession> {
    const { hub, clock, observer, settings, readJpeg, attach } = this.#options;
    const { pipeline, model, confidence } = request;
    const frames = hub.create<VideoFrame>(`${clientId}/frames`, { capacity: settings.frameQueue });
    let attached: AttachedPipeline | undefined;
    try {
      attached = await attach({ pipeline, model, confidence, clientId, frames });
      if (isUnwanted()) throw new SightlineError('SHUTTING_DOWN', 'the connection ended before the session began');
    } catch (thrown) {
      attached?.detach();
      frames.close();
      throw thrown;
    }
    const token = randomBytes(24).toString('base64url');
    const session = new VideoSession({
      clientId,
      token,
      pipeline,
      frames,
      attached,
      settings,
      clock,
      observer,
      readJpeg,
    });
    this.#sessions.set(clientId, session);
    return session;
  }

  #makeRoom(): void {
    if (this.#sessions.size + this.#opening.size < this.#options.settings.sessionsMax) return;
    let longestLost: VideoSession | undefined;
    for (const session of this.#sessions.values()) {
      if (session.socketLostMs === undefined) continue;
      if (!longestLost || session.socketLostMs < longestLost.socketLostMs!) longestLost = session;
    }
    if (!longestLost) {
      throw new SightlineError('CONNECTIONS_EXHAUSTED', `all ${this.#options.settings.sessionsMax} sessions are taken`);
    }
    this.#end(longestLost, new SightlineError('SESSION_IDLE', 'the place was needed for a new session'));
  }

  #refuseWhenClosed(): void {
    if (this.#closed) throw new SightlineError('SHUTTING_DOWN', 'the server shuts down');
  }

  #sweepSessions(): void {
    const now = this.#options.clock.now();
    const { idleTimeoutMs, resumeWindowMs } = this.#options.settings;
    for (const session of this.#sessions.values()) {
      session.keepAlive(now);
      if (session.socketLostMs !== undefined && now - session.socketLostMs >= resumeWindowMs) {
        this.#end(session, new SightlineError('SESSION_IDLE', 'the client did not come back'));
      } else if (now - session.lastActivityMs >= idleTimeoutMs) {
        this.#end(session, new SightlineError('SESSION_IDLE', `no frame and no message for ${idleTimeoutMs / 1000} s`));
      }
    }
  }

  #end(session: VideoSession, reason: SightlineError): void {
    this.#sessions.delete(session.clientId);
    session.close(reason);
  }
}
