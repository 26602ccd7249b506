import type { SightlineError } from '../../base/errors.ts';
import type { MemoryAccount } from '../../fences/memory-ledger.ts';
import type { TelemetryError, TelemetrySubprotocol } from '../../protocol/telemetry.ts';
import type { Outbox } from './outbox.ts';

/** What an error is about. */
export type About = Omit<TelemetryError, 'type' | 'code' | 'message'>;

/** The client of a session, as its publications and subscriptions see it. */
export interface SessionClient {
  readonly clientId: string;
  /** Throws PERMISSION_DENIED, and CREDENTIALS_* where its credential counts no more. A filter stands for all that it takes in. */
  requireTopic(action: 'publish' | 'subscribe', topic: string): void;
  /** Throws PERMISSION_DENIED for a client that may not publish with class critical. */
  requireCritical(): void;
  /** What it makes the server keep. */
  readonly memory: MemoryAccount;
  readonly protocol: TelemetrySubprotocol;
  /** Undefined while the session has no socket. */
  readonly outbox: Outbox | undefined;
  /** A piece of work for it has taken so long; fulfilled when it has its next turn. */
  nextTurn(spentMs: number): Promise<void>;
  /** Tells the client of an error. */
  tell(error: SightlineError, about: About): void;
  /** Tells the client that something was refused, and counts it. */
  refuse(error: SightlineError, about: About): void;
  /** Ends the connection of a client that publishes too fast, and remembers the offence. */
  expel(reason: SightlineError): void;
}
