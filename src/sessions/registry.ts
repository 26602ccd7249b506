import { randomUUID } from 'node:crypto';
import type { Clock } from '../base/clock.ts';
import { SightlineError } from '../base/errors.ts';
import type { SessionSocket } from './session-socket.ts';

const SWEEP_INTERVAL_MS = 1_000;

/** What the registry needs of a session. */
export interface RegisteredSession {
  readonly link: SessionSocket;
  /** Unix ms; `Infinity` while the session has reason to be silent. */
  readonly lastActivityMs: number;
  /** Ends the session for good. Idempotent. */
  close(reason: SightlineError): void;
}

export interface SessionRegistryOptions<S extends RegisteredSession> {
  /** Of the names that the server makes up. */
  readonly kind: string;
  readonly clock: Clock;
  readonly settings: {
    readonly idleTimeoutMs: number;
    readonly resumeWindowMs: number;
    /** Sessions at once, those that wait for their client included: of these the longest lost one gives way first. */
    readonly sessionsMax: number;
  };
  /** Once a second for every session, after its socket was looked at. */
  readonly onSweep?: (session: S, nowMs: number) => void;
  /** Once a second, also while there is no session. */
  readonly onTick?: () => void;
}

/** The sessions of a lane by name: opened, found again with their token, ended when idle. */
export class SessionRegistry<S extends RegisteredSession> {
  readonly #options: SessionRegistryOptions<S>;
  /** By client id. `opening` holds a name while its session is being made. */
  readonly #sessions = new Map<string, S>();
  readonly #opening = new Set<string>();
  readonly #sweep: NodeJS.Timeout;
  #closed = false;

  constructor(options: SessionRegistryOptions<S>) {
    this.#options = options;
    this.#sweep = setInterval(() => this.#sweepSessions(), SWEEP_INTERVAL_MS);
    this.#sweep.unref();
  }

  get closed(): boolean {
    return this.#closed;
  }

  get sessions(): Iterable<S> {
    return this.#sessions.values();
  }

  get size(): number {
    return this.#sessions.size;
  }

  get connected(): number {
    let count = this.#opening.size;
    for (const { link } of this.#sessions.values()) if (link.socket) count++;
    return count;
  }

  /** A session for its owner. Throws SESSION_UNKNOWN or SESSION_TOKEN_BAD. */
  find(clientId: string, token: string | undefined): S {
    const session = this.#sessions.get(clientId);
    if (!session) throw new SightlineError('SESSION_UNKNOWN', `there is no session "${clientId.slice(0, 80)}"`);
    if (!session.link.hasToken(token)) {
      throw new SightlineError('SESSION_TOKEN_BAD', `the token is not that of session "${clientId}"`);
    }
    return session;
  }

  /**
   * The session of that name for who has its token, or a new one, made by `create`.
   * Errors: SESSION_NAME_IN_USE, CONNECTIONS_EXHAUSTED, SHUTTING_DOWN, and those of `create`.
   */
  async claim(
    wanted: { readonly clientId: string | undefined; readonly token: string | undefined },
    create: (clientId: string) => S | Promise<S>,
  ): Promise<{ session: S; resumed: boolean }> {
    if (this.#closed) throw new SightlineError('SHUTTING_DOWN', 'the server shuts down');
    const clientId = wanted.clientId ?? `${this.#options.kind}-${randomUUID().slice(0, 8)}`;
    const existing = this.#find(clientId);
    if (existing?.link.hasToken(wanted.token)) return { session: existing, resumed: true };
    if (existing || this.#opening.has(clientId)) {
      throw new SightlineError(
        'SESSION_NAME_IN_USE',
        `the name "${clientId}" is in use; its session's token is needed to take it over`,
      );
    }
    this.#makeRoom();
    this.#opening.add(clientId);
    try {
      const session = await create(clientId);
      this.#sessions.set(clientId, session);
      return { session, resumed: false };
    } finally {
      this.#opening.delete(clientId);
    }
  }

  /** Tells every client and ends every session. Idempotent. */
  close(): void {
    this.#closed = true;
    clearInterval(this.#sweep);
    for (const session of this.#sessions.values())
      this.end(session, new SightlineError('SHUTTING_DOWN', 'the server shuts down'));
  }

  end(session: S, reason: SightlineError): void {
    this.#sessions.delete(session.link.clientId);
    session.close(reason);
  }

  /** A client that was cut off before its token reached it must not be locked out of its own name. */
  #find(clientId: string): S | undefined {
    const session = this.#sessions.get(clientId);
    if (session === undefined || session.link.socket || session.link.wasUsed) return session;
    this.end(session, new SightlineError('SESSION_IDLE', 'the session was never used'));
    return undefined;
  }

  #makeRoom(): void {
    const { sessionsMax } = this.#options.settings;
    if (this.#sessions.size + this.#opening.size < sessionsMax) return;
    let longestLost: S | undefined;
    for (const session of this.#sessions.values()) {
      if (session.link.lostMs === undefined) continue;
      if (!longestLost || session.link.lostMs < longestLost.link.lostMs!) longestLost = session;
    }
    if (!longestLost) throw new SightlineError('CONNECTIONS_EXHAUSTED', `all ${sessionsMax} sessions are taken`);
    this.end(longestLost, new SightlineError('SESSION_IDLE', 'the place was needed for a new session'));
  }

  #sweepSessions(): void {
    const { clock, settings, onSweep, onTick } = this.#options;
    const { idleTimeoutMs, resumeWindowMs } = settings;
    const nowMs = clock.now();
    onTick?.();
    for (const session of this.#sessions.values()) {
      session.link.keepAlive(nowMs);
      onSweep?.(session, nowMs);
      const { lostMs } = session.link;
      if (lostMs !== undefined && nowMs - lostMs >= resumeWindowMs) {
        this.end(session, new SightlineError('SESSION_IDLE', 'the client did not come back'));
      } else if (nowMs - session.lastActivityMs >= idleTimeoutMs) {
        this.end(session, new SightlineError('SESSION_IDLE', `no message for ${idleTimeoutMs / 1000} s`));
      }
    }
  }
}
