/**
 * Who may drive: one driver at a time, by a lease that ends on its own unless it is renewed (Gray and Cheriton 1989). All
 * pure. Each grant has a higher number than the one before, and a command must name it, so that commands of an earlier driver
 * that the network delayed are refused (a fencing token). The lease keeps honest drivers apart; permissions decide who may publish
 * commands at all.
 */

/** A driver that is silent for this long has lost the vehicle. */
export const LEASE_MS = 2_000;

export interface LeaseRequest {
  readonly action: 'acquire' | 'renew' | 'release';
  /** The driver's own name for itself: hard to guess, the same in all of its messages. */
  readonly driver: string;
  /** For people. */
  readonly name?: string | undefined;
}

export interface Lease {
  readonly driver: string;
  readonly name: string;
  /** Unix ms. */
  readonly expiresTimeMs: number;
}

export interface LeaseBook {
  /** Number of the last grant; 0 for none. */
  readonly number: number;
  readonly holder: Lease | undefined;
}

export const NO_LEASE: LeaseBook = { number: 0, holder: undefined };

/** The book without a lease that is over. */
export function expireLease(book: LeaseBook, nowMs: number): LeaseBook {
  return book.holder && nowMs >= book.holder.expiresTimeMs ? { ...book, holder: undefined } : book;
}

/**
 * The book after a request; the same one when it was refused. A holder that acquires again renews. A lease that has run out is not
 * renewed but must be acquired anew, since somebody else may have driven meanwhile.
 */
export function decideLease(before: LeaseBook, request: LeaseRequest, nowMs: number): LeaseBook {
  const book = expireLease(before, nowMs);
  const { action, driver } = request;
  const isHolder = book.holder?.driver === driver;
  if (action === 'release') return isHolder ? { ...book, holder: undefined } : book;
  const name = request.name ?? (isHolder ? book.holder!.name : 'somebody');
  const holder = { driver, name, expiresTimeMs: nowMs + LEASE_MS };
  if (isHolder) return { ...book, holder };
  return action === 'acquire' && !book.holder ? { number: book.number + 1, holder } : book;
}

export type CommandRefusal = 'not_driver' | 'lease_old' | 'expired';

/**
 * May this command go to the vehicle? Undefined: yes. It must be of the holder, under the lease that is in force, and not be
 * older than it says itself.
 */
export function refuseCommand(
  book: LeaseBook,
  command: { readonly driver: string; readonly lease: number; readonly expiresTimeMs: number },
  nowMs: number,
): CommandRefusal | undefined {
  if (expireLease(book, nowMs).holder?.driver !== command.driver) return 'not_driver';
  if (command.lease !== book.number) return 'lease_old';
  return nowMs >= command.expiresTimeMs ? 'expired' : undefined;
}
