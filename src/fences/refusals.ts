import type { ErrorCode } from '../base/errors.ts';

/** Errors that clients were told since the start, by lane and code. */
export class Refusals {
  readonly #counts = new Map<string, Map<ErrorCode, number>>();

  count(lane: string, code: ErrorCode): void {
    const codes = this.#counts.get(lane) ?? new Map<ErrorCode, number>();
    this.#counts.set(lane, codes.set(code, (codes.get(code) ?? 0) + 1));
  }

  *[Symbol.iterator](): Generator<{ readonly lane: string; readonly code: ErrorCode; readonly count: number }> {
    for (const [lane, codes] of this.#counts) for (const [code, count] of codes) yield { lane, code, count };
  }
}
