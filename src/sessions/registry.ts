import { randomUUID } from 'node:crypto';
import type { Principal } from '../auth/principal.ts';
import type { Clock } from '../base/clock.ts';
import { SightlineError } from '../base/errors.ts';
import type { Log } from '../log/log.ts';
import { isSameToken, type SessionSocket } from './session-socket.ts';

const SWEEP_INTERVAL_MS = 1_000;
/** How long a name waits for the client that lost its socket, before it goes to a newcomer. */
const NAME_HOLD_MS = 3_000;
/** What a client has sent before it left is worked on within so long, or its name is taken until then. */
const SETTLE_MS_MAX = 1_000;
/** Tokens of earlier holders that are remembered for one name. */
const FORMER_MAX = 8;

/** The part of a session that the registry needs. */
export interface RegisteredSession {
  readonly link: SessionSocket;
  /** Unix ms; `Infinity` while the session has reason to be silent. */
  readonly lastActivityMs: number;
  /** Ends the session for good. Idempotent. */
  close(reason: SightlineError): void;
}

export interface SessionRegistryOptions<S extends RegisteredSession> {
  /** Prefix of the names that the server makes up, and the lane in the log. */
  readonly kind: string;
  readonly log?: Log | undefined;
  readonly clock: Clock;
  readonly settings: {
    readonly idleTimeoutMs: number;
    readonly resumeWindowMs: number;
    /** Most sessions, those that wait for their client included: of these the one lost longest ago gives way first. */
    readonly sessionsMax: number;
  };
  /** Once a second for every session, after its socket was looked at. */
  readonly onSweep?: (session: S, nowMs: number) => void;
  /** Once a second, also while there is no session. */
  readonly onTick?: () => void;
  /** It has ended, and is not among the sessions any more. */
  readonly onEnded?: (session: S) => void;
}

/** A client's request when it connects. */
export interface ClaimedIdentity {
  readonly clientId: string | undefined;
  readonly token: string | undefined;
  /** The token proves whose name it is; the session begins anew. */
  readonly isAnew?: boolean;
  readonly principal: Principal;
}

/** A client whose name went to another one while it was away; with its token it gets the name back. */
interface FormerHolder {
  readonly token: string;
  /** Unix ms: when its session would have ended in any case. */
  readonly untilMs: number;
}

/**
 * The sessions of a lane by name: opened, found again with their token, ended when idle. A name whose holder has had no socket
 * for three seconds goes to a newcomer, as a new session. The token of the earlier holder stays valid for the name as long as the
 * session would have waited: with it the name goes back, also as a new session, and all later holders are ended.
 */
export class SessionRegistry<S extends RegisteredSession> {
  readonly #options: SessionRegistryOptions<S>;
  /** By client id. `opening` holds a name while its session is being made. */
  readonly #sessions = new Map<string, S>();
  readonly #opening = new Set<string>();
  /** By client id, the earliest first. */
  readonly #former = new Map<string, FormerHolder[]>();
  readonly #sweep: NodeJS.Timeout;
  #isDraining = false;
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

  get links(): SessionSocket[] {
    return [...this.#sessions.values()].map(({ link }) => link);
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
   * The session of that name for a client that has its token, or a new one, made by `create`.
   * Errors: SESSION_NAME_IN_USE, CONNECTIONS_EXHAUSTED, SHUTTING_DOWN, and those of `create`.
   */
  async claim(
    wanted: ClaimedIdentity,
    create: (clientId: string) => S | Promise<S>,
  ): Promise<{ session: S; resumed: boolean }> {
    const clientId = wanted.clientId ?? [this.#options.kind, randomUUID().slice(0, 8)].join('-');
    await this.#settled(clientId);
    if (this.#closed || this.#isDraining) throw new SightlineError('SHUTTING_DOWN', 'the server shuts down');
    const holder = this.#holder(clientId);
    if (holder) requireOwner(holder.link, wanted.principal);
    if (holder?.link.hasToken(wanted.token) && wanted.isAnew !== true) {
      this.#options.log?.write('session_resumed', { lane: this.#options.kind, client_id: clientId });
      return { session: holder, resumed: true };
    }
    if (this.#opening.has(clientId)) throw nameInUse(clientId);
    if (holder) this.#displace(holder, wanted.token);
    this.#makeRoom();
    this.#opening.add(clientId);
    try {
      const session = await create(clientId);
      this.#sessions.set(clientId, session);
      this.#options.log?.write('session_started', { lane: this.#options.kind, client_id: clientId });
      return { session, resumed: false };
    } finally {
      this.#opening.delete(clientId);
    }
  }

  /** From now on nobody gets a session, nor one back. */
  drain(): void {
    this.#isDraining = true;
  }

  /** Tells every client and ends every session. Idempotent. */
  close(): void {
    this.#closed = true;
    clearInterval(this.#sweep);
    for (const session of this.#sessions.values())
      this.end(session, new SightlineError('SHUTTING_DOWN', 'the server shuts down'));
  }

  end(session: S, reason: SightlineError): void {
    const { clientId } = session.link;
    const isHere = this.#sessions.get(clientId) === session;
    if (isHere) this.#sessions.delete(clientId);
    session.close(reason);
    session.link.memory.close();
    if (isHere) this.#options.onEnded?.(session);
    const { code, message } = reason;
    this.#options.log?.write('session_ended', { lane: this.#options.kind, client_id: clientId, code, reason: message });
  }

  /** A client of that name that has closed its socket has left when its last messages are worked on, which may have to wait for its turn. */
  async #settled(clientId: string): Promise<void> {
    const settled = this.#sessions.get(clientId)?.link.settle();
    if (!settled) return;
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(late.resolve, SETTLE_MS_MAX);
    await Promise.race([settled, late.promise]);
    clearTimeout(timer);
  }

  /** The holder of the name. A client that has left, or was cut off before its token reached it, does not hold it any more. */
  #holder(clientId: string): S | undefined {
    const session = this.#sessions.get(clientId);
    if (session === undefined || session.link.socket || (session.link.wasUsed && !session.link.isDone)) return session;
    this.end(session, LEFT);
    return undefined;
  }

  /** Ends the session that holds a name, for a client with a better right to it. Throws SESSION_NAME_IN_USE. */
  #displace(holder: S, token: string | undefined): void {
    const { clientId, lostMs } = holder.link;
    const { clock, settings } = this.#options;
    const nowMs = clock.now();
    if (!holder.link.hasToken(token) && !this.#takeBack(clientId, token, nowMs)) {
      if (lostMs === undefined || nowMs - lostMs < NAME_HOLD_MS) {
        // It may be gone without a word: then its place is free all the sooner.
        holder.link.askWhetherThere(nowMs);
        throw nameInUse(clientId);
      }
      this.#remember(clientId, { token: holder.link.token, untilMs: lostMs + settings.resumeWindowMs });
    }
    this.end(holder, new SightlineError('SESSION_TAKEN_OVER', `the name "${clientId}" went to another session`));
  }

  #remember(clientId: string, holder: FormerHolder): void {
    const former = this.#former.get(clientId) ?? [];
    if (former.length < FORMER_MAX) this.#former.set(clientId, [...former, holder]);
    if (this.#former.size > this.#options.settings.sessionsMax) this.#former.delete(this.#former.keys().next().value!);
  }

  /** Did the name belong to it before? Then a later holder that is away by now has no right to it any more. */
  #takeBack(clientId: string, token: string | undefined, nowMs: number): boolean {
    const former = this.#former.get(clientId) ?? [];
    const at = former.findIndex((one) => one.untilMs > nowMs && isSameToken(one.token, token));
    if (at < 0) return false;
    this.#former.set(clientId, former.slice(0, at));
    return true;
  }

  #forgetFormer(nowMs: number): void {
    for (const [clientId, former] of this.#former) {
      const left = former.filter(({ untilMs }) => untilMs > nowMs);
      if (left.length === 0) this.#former.delete(clientId);
      else this.#former.set(clientId, left);
    }
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
    this.end(longestLost, new SightlineError('SESSION_IDLE', 'its place was needed for a new session'));
  }

  #sweepSessions(): void {
    const { clock, settings, onSweep, onTick } = this.#options;
    const { idleTimeoutMs, resumeWindowMs } = settings;
    const nowMs = clock.now();
    onTick?.();
    this.#forgetFormer(nowMs);
    for (const session of this.#sessions.values()) {
      session.link.keepAlive(nowMs);
      onSweep?.(session, nowMs);
      const { lostMs, isDone } = session.link;
      if (isDone) this.end(session, LEFT);
      else if (lostMs !== undefined && nowMs - lostMs >= resumeWindowMs) {
        this.end(session, new SightlineError('SESSION_IDLE', 'the client did not come back'));
      } else if (nowMs - session.lastActivityMs >= idleTimeoutMs) {
        this.end(session, new SightlineError('SESSION_IDLE', `no message for ${idleTimeoutMs / 1000} s`));
      }
    }
  }
}

const LEFT = new SightlineError('SESSION_IDLE', 'the client has left');

/** A name belongs to the credential that took it, for as long as that counts. */
function requireOwner({ clientId, principal }: SessionSocket, { id }: Principal): void {
  if (principal === undefined || principal.isEnded || principal.id === id) return;
  throw new SightlineError('SESSION_NAME_IN_USE', `the name "${clientId}" is that of a client with another key`);
}

function nameInUse(clientId: string): SightlineError {
  return new SightlineError(
    'SESSION_NAME_IN_USE',
    `the name "${clientId}" is in use; taking it over needs its session's token, or ${NAME_HOLD_MS / 1000} s without its client`,
  );
}
