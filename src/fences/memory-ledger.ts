import { SightlineError } from '../base/errors.ts';

/**
 * What clients make the server keep, by kind:
 * - `history`: messages that topics remember. Over a bound the oldest go.
 * - `session`: what a client has told the server of itself: subscriptions, positions, aliases, layouts; and critical messages that it does not
 *   read. Refused.
 * - `incoming`: messages that have begun to come, or that wait for their turn. The connection whose message is the oldest ends.
 * - `frames`: pictures that wait for a worker, and results that are kept. The oldest of the client go, over the total those of whoever has most.
 * - `channels`: what viewers are told of topics, such as inferred layouts. Left out.
 */
export const MEMORY_KINDS = ['history', 'session', 'incoming', 'frames', 'channels'] as const;
export type MemoryKind = (typeof MEMORY_KINDS)[number];

/** The lane of the server's own accounts. */
export const SERVER_LANE = 'server';

export interface MemoryBound {
  /** Of all clients together, bytes. */
  readonly totalBytesMax: number;
  /** Of one client, bytes. */
  readonly clientBytesMax: number;
  /** What one client may have, however much all others have, bytes: many that take all they can leave a newcomer this. Default: nothing. */
  readonly reservedBytes?: number;
}

export type MemoryBounds = Readonly<Record<MemoryKind, MemoryBound>>;

/** An account, as reports show it. */
export interface MemoryHolder {
  readonly lane: string;
  readonly client: string;
}

/** Something was refused, or something older had to go, because of a bound. */
export interface BoundMet {
  readonly account: MemoryHolder;
  readonly kind: MemoryKind;
  readonly isRefusal: boolean;
}

/**
 * Says for each client, and for all together, what the server keeps because of them, in bytes as the process has them: what
 * is charged is an estimate that tests hold against the heap. It keeps nothing itself and decides nothing: whoever keeps
 * something charges it before, and follows the policy of its kind where that is refused.
 */
export class MemoryLedger {
  readonly bounds: MemoryBounds;
  /** Since the start, by kind: charges that were refused, and times that something older had to go. */
  readonly refusals: Readonly<Record<MemoryKind, number>>;
  readonly evictions: Readonly<Record<MemoryKind, number>>;
  /** Of the server's own topics, and those of a program that embeds it. */
  readonly server: MemoryAccount;
  /** Takes over the histories of clients that have gone. */
  readonly estate: MemoryAccount;
  readonly #accounts = new Set<MemoryAccount>();
  readonly #totals = zeros();
  readonly #refusals = zeros();
  readonly #evictions = zeros();
  readonly #onBound: (event: BoundMet) => void;

  /** `onBound`: a bound was met. */
  constructor(bounds: MemoryBounds, onBound: (event: BoundMet) => void = () => {}) {
    this.bounds = bounds;
    this.#onBound = onBound;
    this.refusals = this.#refusals;
    this.evictions = this.#evictions;
    this.server = this.open(SERVER_LANE, 'server');
    this.estate = this.open(SERVER_LANE, 'departed');
  }

  /** The accounts of clients, of the server, and the estate. */
  get accounts(): Iterable<MemoryAccount> {
    return this.#accounts;
  }

  /** The account of a client that has come. */
  open(lane: string, client: string): MemoryAccount {
    const account: MemoryAccount = new MemoryAccount({ ledger: this, lane, client, totals: this.#totals });
    this.#accounts.add(account);
    return account;
  }

  /** For `MemoryAccount.close`. */
  closed(account: MemoryAccount): void {
    this.#accounts.delete(account);
  }

  /** Of all accounts together. */
  bytes(kind: MemoryKind): number {
    return this.#totals[kind];
  }

  isOver(kind: MemoryKind): boolean {
    return this.#totals[kind] > this.bounds[kind].totalBytesMax;
  }

  /** The account that holds most of a kind. */
  largest(kind: MemoryKind): MemoryAccount {
    let largest = this.estate;
    for (const account of this.#accounts) if (account.bytes(kind) > largest.bytes(kind)) largest = account;
    return largest;
  }

  /** Notes that a bound was met, and says how. */
  refuse(kind: MemoryKind, account: MemoryAccount, bytes: number): SightlineError {
    this.#refusals[kind]++;
    account.refusals++;
    const { totalBytesMax, clientBytesMax } = this.bounds[kind];
    const message =
      account.bytes(kind) + bytes > clientBytesMax
        ? `${kind}: ${bytes} bytes more would be over the ${clientBytesMax} of a client`
        : `${kind}: ${bytes} bytes more would be over the ${totalBytesMax} of all clients together`;
    this.#onBound({ account, kind, isRefusal: true });
    return new SightlineError('MEMORY_LIMIT_REACHED', message);
  }

  /** Notes that something older of an account has to go, so that a bound is kept. */
  evict(kind: MemoryKind, account: MemoryAccount): void {
    this.#evictions[kind]++;
    account.evictions++;
    this.#onBound({ account, kind, isRefusal: false });
  }
}

/** What one client makes the server keep. */
export class MemoryAccount implements MemoryHolder {
  /** Charges that were refused, and times that something older had to go. */
  refusals = 0;
  evictions = 0;
  readonly lane: string;
  readonly client: string;
  readonly #ledger: MemoryLedger;
  readonly #totals: Record<MemoryKind, number>;
  /** Only while there are any: most clients of a large server keep nothing. */
  #bytes: Record<MemoryKind, number> | undefined;
  #isClosed = false;

  /** For `MemoryLedger.open`. */
  constructor(parts: MemoryHolder & { readonly ledger: MemoryLedger; readonly totals: Record<MemoryKind, number> }) {
    this.lane = parts.lane;
    this.client = parts.client;
    this.#ledger = parts.ledger;
    this.#totals = parts.totals;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  bytes(kind: MemoryKind): number {
    return this.#bytes?.[kind] ?? 0;
  }

  /** The client holds more of a kind than it may. */
  isOver(kind: MemoryKind): boolean {
    return this.bytes(kind) > this.#ledger.bounds[kind].clientBytesMax;
  }

  /** So much more may be charged. */
  hasRoom(kind: MemoryKind, bytes: number): boolean {
    const { totalBytesMax, clientBytesMax, reservedBytes = 0 } = this.#ledger.bounds[kind];
    const own = this.bytes(kind) + bytes;
    // The server itself is no client.
    if (own > clientBytesMax && this.lane !== SERVER_LANE) return false;
    return this.#totals[kind] + bytes <= totalBytesMax || own <= reservedBytes;
  }

  /** Charges what is to be kept. Throws MEMORY_LIMIT_REACHED, and charges nothing, where a bound would be passed. */
  charge(kind: MemoryKind, bytes: number): void {
    if (!this.hasRoom(kind, bytes)) throw this.refuse(kind, bytes);
    this.add(kind, bytes);
  }

  /** Notes that so much more is not kept, and says why. */
  refuse(kind: MemoryKind, bytes: number): SightlineError {
    return this.#ledger.refuse(kind, this, bytes);
  }

  /** Charges what is there already, or will be made room for at once. */
  add(kind: MemoryKind, bytes: number): void {
    if (this.#isClosed || bytes === 0) return;
    this.#bytes ??= zeros();
    this.#bytes[kind] += bytes;
    this.#totals[kind] += bytes;
  }

  release(kind: MemoryKind, bytes: number): void {
    this.add(kind, -bytes);
    if (this.bytes(kind) === 0 && MEMORY_KINDS.every((one) => this.bytes(one) === 0)) this.#bytes = undefined;
  }

  /**
   * The client has gone: what outlives it, its history and what viewers are told of its topics, goes to the estate, the rest is no more, and
   * nothing is charged to it from now on. Idempotent.
   */
  close(): void {
    if (this.#isClosed) return;
    const [history, channels] = [this.bytes('history'), this.bytes('channels')];
    for (const kind of MEMORY_KINDS) this.release(kind, this.bytes(kind));
    this.#isClosed = true;
    this.#ledger.closed(this);
    this.#ledger.estate.add('history', history);
    this.#ledger.estate.add('channels', channels);
  }
}

function zeros(): Record<MemoryKind, number> {
  return { history: 0, session: 0, incoming: 0, frames: 0, channels: 0 };
}

/** A ledger without bounds, for parts that are used by themselves. */
export function boundless(): MemoryLedger {
  const none: MemoryBound = { totalBytesMax: Infinity, clientBytesMax: Infinity };
  return new MemoryLedger({ history: none, session: none, incoming: none, frames: none, channels: none });
}
