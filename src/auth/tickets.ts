import { randomBytes } from 'node:crypto';
import type { Clock } from '../base/clock.ts';
import { SightlineError } from '../base/errors.ts';
import type { Principal } from './principal.ts';

/**
 * Tickets stand for a credential for a minute, at one address, to read there. A page of another origin has no cookie, and its WebSockets, images
 * and media cannot set headers: with a ticket in the address the key itself stays out of addresses, which end up in logs and histories.
 */

/** ms. */
export const TICKET_MS = 60_000;
/** Of all holders; of more the oldest goes. */
export const TICKETS_MAX = 10_000;
/** The same of one holder. */
export const TICKETS_OF_ONE_MAX = 256;
const PREFIX = 'sightline_ticket_';
const SECRET_BYTES = 32;
const TICKET = new RegExp(`^${PREFIX}[A-Za-z0-9_-]{43}$`);

/** `used`: a request or a socket came in by one; `refused`: one did not count; `evicted`: one gave way to others. */
export const TICKET_OUTCOMES = ['issued', 'used', 'refused', 'evicted'] as const;
export type TicketOutcome = (typeof TICKET_OUTCOMES)[number];

interface Ticket {
  readonly principal: Principal;
  readonly path: string;
  readonly untilMs: number;
  readonly forget: () => void;
}

/** How a ticket is used. */
export interface TicketUse {
  /** Of the address, without its query. */
  readonly path: string;
  readonly method: string;
  /** It opens a WebSocket: which one ticket does once. */
  readonly isSocket: boolean;
}

export class Tickets {
  readonly #clock: Clock;
  /** The oldest first. */
  readonly #tickets = new Map<string, Ticket>();
  readonly #byHolder = new Map<Principal, Set<string>>();
  readonly #counts: Record<TicketOutcome, number> = { issued: 0, used: 0, refused: 0, evicted: 0 };
  #isToSweep = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get size(): number {
    return this.#tickets.size;
  }

  /** Since the start. */
  get counts(): Readonly<Record<TicketOutcome, number>> {
    return this.#counts;
  }

  static isTicket(credential: string): boolean {
    return TICKET.test(credential);
  }

  /** `path`: where it counts. */
  issue(principal: Principal, path: string): string {
    this.#forgetOver();
    const text = `${PREFIX}${randomBytes(SECRET_BYTES).toString('base64url')}`;
    // What it opens lives by the credential: so its end must be told, also before anybody has used the ticket.
    const forget = principal.onEnd(() => this.#forget(text));
    this.#tickets.set(text, { principal, path, untilMs: this.#clock.now() + TICKET_MS, forget });
    const own = this.#byHolder.get(principal) ?? new Set();
    this.#byHolder.set(principal, own.add(text));
    this.#counts.issued++;
    if (own.size > TICKETS_OF_ONE_MAX) this.#evict(own.values().next().value!);
    else if (this.#tickets.size > TICKETS_MAX) this.#evict(this.#tickets.keys().next().value!);
    this.#wakeUp();
    return text;
  }

  /** Throws CREDENTIALS_BAD. */
  principalOf(text: string, { path, method, isSocket }: TicketUse): Principal {
    const ticket = this.#tickets.get(text);
    const isOver = ticket === undefined || this.#clock.now() >= ticket.untilMs || ticket.principal.isEnded;
    if (isOver || ticket.path !== path || !(method === 'GET' || method === 'HEAD')) {
      this.#counts.refused++;
      throw new SightlineError(
        'CREDENTIALS_BAD',
        isOver ? 'the ticket is over, or was used' : 'the ticket is for reading at another address',
      );
    }
    this.#counts.used++;
    if (isSocket) this.#forget(text);
    return ticket.principal;
  }

  #evict(text: string): void {
    this.#counts.evicted++;
    this.#forget(text);
  }

  #forgetOver(): void {
    const nowMs = this.#clock.now();
    for (const [text, { untilMs }] of this.#tickets) {
      if (untilMs > nowMs) return;
      this.#forget(text);
    }
  }

  #forget(text: string): void {
    const ticket = this.#tickets.get(text);
    if (!ticket) return;
    this.#tickets.delete(text);
    ticket.forget();
    const own = this.#byHolder.get(ticket.principal)!;
    own.delete(text);
    if (own.size === 0) this.#byHolder.delete(ticket.principal);
  }

  /** So that a credential that only old tickets stand for is not asked about for ever. */
  #wakeUp(): void {
    if (this.#isToSweep) return;
    this.#isToSweep = true;
    setTimeout(() => {
      this.#isToSweep = false;
      this.#forgetOver();
      if (this.#tickets.size > 0) this.#wakeUp();
    }, TICKET_MS).unref();
  }
}
