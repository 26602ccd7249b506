import { randomBytes } from 'node:crypto';
import type { Dependant, Principal } from '../../auth/principal.ts';
import type { Clock } from '../../base/clock.ts';
import type { SightlineError } from '../../base/errors.ts';
import type { WebRtcEndMessage } from '../../protocol/webrtc.ts';
import type { CameraFeed, CameraFeeds } from '../../sources/camera/feed.ts';
import { NO_PEER_COUNTS, type PeerCounts, type PeerEvent, type PeerRequest } from './messages.ts';

/** Why a session has ended. */
export type EndCause =
  | 'deleted'
  | 'closed'
  | 'lost'
  | 'misbehaved'
  | 'connect_timeout'
  | 'credentials'
  | 'camera'
  | 'codec'
  | 'thread'
  | 'shutdown';

/** What every session has. */
export interface SessionParts {
  readonly id: number;
  readonly clock: Clock;
  readonly feed: CameraFeed;
  readonly principal: Principal;
  /** By which its address is held to bounds. */
  readonly addressName: string | undefined;
  readonly send: (request: PeerRequest) => void;
  readonly onEnded: (id: number, cause: EndCause) => void;
}

const SECRET_BYTES = 24;

/** A viewer or a publisher of a camera, from its offer to its end. */
export abstract class PeerSession implements Dependant {
  /** Whoever has it may end the session. */
  readonly secret = randomBytes(SECRET_BYTES).toString('base64url');
  readonly #parts: SessionParts;
  /** Its connection is waited for since then; before that the thread makes the answer, which has a bound of its own. */
  #answeredMs = Infinity;
  #state: 'connecting' | 'connected' | 'over' = 'connecting';
  #peerCounts: PeerCounts = NO_PEER_COUNTS;

  constructor(parts: SessionParts) {
    this.#parts = parts;
  }

  get id(): number {
    return this.#parts.id;
  }

  get camera(): string {
    return this.#parts.feed.id;
  }

  get addressName(): string | undefined {
    return this.#parts.addressName;
  }

  get isConnected(): boolean {
    return this.#state === 'connected';
  }

  get isOver(): boolean {
    return this.#state === 'over';
  }

  get peerCounts(): PeerCounts {
    return this.#peerCounts;
  }

  /** The other end has its answer. */
  answered(): void {
    this.#answeredMs = this.#parts.clock.now();
  }

  /** Of its thread. */
  onEvent(event: PeerEvent): void {
    if (event.type === 'over') this.close(event.cause);
    else if (event.type === 'counts') this.#peerCounts = event.counts;
    else if (event.type !== 'connected') this.onNews(event);
    else if (this.#state === 'connecting') {
      this.#state = 'connected';
      this.onConnected();
    }
  }

  /** Once a second. */
  sweep(nowMs: number, connectTimeoutMs: number): void {
    if (this.#state === 'connecting' && nowMs - this.#answeredMs > connectTimeoutMs) this.close('connect_timeout');
  }

  /** Its credential counts no more. */
  end(reason: SightlineError): void {
    this.close('credentials', reason);
  }

  /** Its camera was changed or removed, or another one has its name. */
  abstract cameraChanged(feeds: Pick<CameraFeeds, 'all'>): void;

  /** `reason` is told to the other end. Idempotent. */
  close(cause: EndCause, reason?: SightlineError): void {
    if (this.#state === 'over') return;
    const wasConnected = this.isConnected;
    this.#state = 'over';
    const { principal, send, id, onEnded } = this.#parts;
    principal.remove(this);
    this.onClosed(cause, wasConnected);
    const message: WebRtcEndMessage | undefined = reason && { type: 'end', code: reason.code, message: reason.message };
    send({ type: 'close', id, last: message && JSON.stringify(message) });
    onEnded(id, cause);
  }

  /** To be called when it is whole: it lives by the credential from then on. */
  protected begin(): void {
    this.#parts.principal.add(this);
  }

  protected abstract onConnected(): void;

  protected onNews(_event: Exclude<PeerEvent, { readonly type: 'over' | 'counts' | 'connected' }>): void {}

  /** Frees what it has. */
  protected abstract onClosed(cause: EndCause, wasConnected: boolean): void;
}
