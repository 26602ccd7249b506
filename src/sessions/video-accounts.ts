import { classOf, type Priority, type PriorityClass } from '../base/sample.ts';
import type { VideoSessionReport, VideoTotals } from '../observe/metrics.ts';
import type { DropCause } from '../protocol/video.ts';

/** received = results + errors + dropped (by cause) + queued + in_flight + unsent, at every moment. */
export type FrameAccounts = VideoSessionReport['accounts'];

/** The frames of all sessions of one pipeline and class, those that have ended included. */
export interface ClassAccounts extends FrameAccounts {
  readonly pipeline: string;
  readonly class: PriorityClass;
  readonly sessions: number;
  readonly grants_told: number;
  readonly ladder_moves: number;
  /** Frames that were refused for what their pictures cost, of those in `errors`. */
  readonly refused_costly: number;
  /** Results that came later than the objective of the class allows. */
  readonly late: number;
  /** Frames that the server dropped: neither had their client gone, nor did it not read. */
  readonly lost: number;
  /** Errors that are no refusals. */
  readonly failed: number;
}

/** The part of a session that the ledger needs. */
export interface AccountedSession {
  readonly priority: Priority;
  /** At least one. */
  accountsByPipeline(): readonly {
    readonly pipeline: string;
    readonly accounts: FrameAccounts;
    readonly late: number;
    readonly lost: number;
    readonly failed: number;
  }[];
  readonly refusedCostly: number;
  readonly control: { report(): { readonly grants_told: number; readonly ladder_moves: number } };
}

export const NO_DROPS: FrameAccounts['dropped'] = {
  queue_full: 0,
  expired: 0,
  superseded: 0,
  stale: 0,
  slow_reader: 0,
  disconnected: 0,
};

const NOTHING: FrameAccounts = {
  received: 0,
  results: 0,
  errors: 0,
  dropped: NO_DROPS,
  queued: 0,
  in_flight: 0,
  unsent: 0,
};

/** Keeps the sums of ended sessions; there are as many entries as pipelines times classes. */
export class VideoLedger {
  readonly #ended = new Map<string, ClassAccounts>();

  /** To be called once, when nothing of it waits any more. */
  end(session: AccountedSession): void {
    enter(this.#ended, session);
  }

  accounts(open: Iterable<AccountedSession>): ClassAccounts[] {
    const all = new Map(this.#ended);
    for (const session of open) enter(all, session);
    return [...all.values()];
  }
}

export function totalsOf(accounts: readonly ClassAccounts[]): VideoTotals {
  const sum = { ...accounts.reduce(addAccounts, NOTHING), sessions: 0, grants_told: 0, ladder_moves: 0 };
  for (const one of accounts) {
    sum.sessions += one.sessions;
    sum.grants_told += one.grants_told;
    sum.ladder_moves += one.ladder_moves;
  }
  const { sessions, received, results, errors, dropped, grants_told, ladder_moves } = sum;
  return { sessions, received, results, errors, dropped, grants_told, ladder_moves };
}

function enter(into: Map<string, ClassAccounts>, session: AccountedSession): void {
  const { priority, refusedCostly } = session;
  const { grants_told, ladder_moves } = session.control.report();
  for (const [i, { pipeline, accounts, late, lost, failed }] of session.accountsByPipeline().entries()) {
    const key = `${priority} ${pipeline}`;
    const before = into.get(key);
    // A session of several is counted once, with its first one.
    const once = i === 0 ? 1 : 0;
    into.set(key, {
      pipeline,
      class: classOf(priority),
      sessions: (before?.sessions ?? 0) + once,
      grants_told: (before?.grants_told ?? 0) + once * grants_told,
      ladder_moves: (before?.ladder_moves ?? 0) + once * ladder_moves,
      refused_costly: (before?.refused_costly ?? 0) + once * refusedCostly,
      late: (before?.late ?? 0) + late,
      lost: (before?.lost ?? 0) + lost,
      failed: (before?.failed ?? 0) + failed,
      ...addAccounts(before ?? NOTHING, accounts),
    });
  }
}

export function addAccounts(a: FrameAccounts, b: FrameAccounts): FrameAccounts {
  const causes = Object.keys(NO_DROPS) as DropCause[];
  return {
    received: a.received + b.received,
    results: a.results + b.results,
    errors: a.errors + b.errors,
    dropped: Object.fromEntries(
      causes.map((cause) => [cause, a.dropped[cause] + b.dropped[cause]]),
    ) as unknown as FrameAccounts['dropped'],
    queued: a.queued + b.queued,
    in_flight: a.in_flight + b.in_flight,
    unsent: a.unsent + b.unsent,
  };
}
