import { classOf, type Priority } from '../base/sample.ts';
import { addClass, addAccounts, NO_FRAMES, type ClassAccounts, type FrameAccounts } from '../observe/frame-accounts.ts';
import type { VideoTotals } from '../observe/metrics.ts';

/** The frames of all sessions of one pipeline and class, those that have ended included. */
export interface VideoAccounts extends ClassAccounts {
  readonly sessions: number;
  readonly grants_told: number;
  readonly ladder_moves: number;
  /** Frames that were refused for what their pictures cost, of those in `errors`. */
  readonly refused_costly: number;
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

/** Keeps the sums of ended sessions; there are as many entries as pipelines times classes. */
export class VideoLedger {
  readonly #ended = new Map<string, VideoAccounts>();

  /** To be called once, when nothing of it waits any more. */
  end(session: AccountedSession): void {
    enter(this.#ended, session);
  }

  accounts(open: Iterable<AccountedSession>): VideoAccounts[] {
    const all = new Map(this.#ended);
    for (const session of open) enter(all, session);
    return [...all.values()];
  }
}

export function totalsOf(accounts: readonly VideoAccounts[]): VideoTotals {
  const sum = { ...accounts.reduce(addAccounts, NO_FRAMES), sessions: 0, grants_told: 0, ladder_moves: 0 };
  for (const one of accounts) {
    sum.sessions += one.sessions;
    sum.grants_told += one.grants_told;
    sum.ladder_moves += one.ladder_moves;
  }
  const { sessions, received, results, errors, dropped, grants_told, ladder_moves } = sum;
  return { sessions, received, results, errors, dropped, grants_told, ladder_moves };
}

function enter(into: Map<string, VideoAccounts>, session: AccountedSession): void {
  const { priority, refusedCostly } = session;
  const { grants_told, ladder_moves } = session.control.report();
  for (const [i, { pipeline, accounts, late, lost, failed }] of session.accountsByPipeline().entries()) {
    const key = `${priority} ${pipeline}`;
    const before = into.get(key);
    // A session of several is counted once, with its first one.
    const once = i === 0 ? 1 : 0;
    into.set(key, {
      ...addClass(before, { ...accounts, lane: 'video', pipeline, class: classOf(priority), late, lost, failed }),
      sessions: (before?.sessions ?? 0) + once,
      grants_told: (before?.grants_told ?? 0) + once * grants_told,
      ladder_moves: (before?.ladder_moves ?? 0) + once * ladder_moves,
      refused_costly: (before?.refused_costly ?? 0) + once * refusedCostly,
    });
  }
}
