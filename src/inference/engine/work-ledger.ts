import type { WorkStats } from './types.ts';

/** Most kinds of work in the figures; the least recent one makes room. */
export const WORK_KINDS_MAX = 64;
/** Weight of one frame in the cost of a kind of work. */
const LEARNING = 0.1;

/** The programs that an engine runs, and their costs, by their models. */
export class WorkLedger {
  /** In order of use, the least recent first. */
  readonly #kinds = new Map<string, WorkStats>();
  readonly #programs = new Set<string>();

  note(program: string, models: Readonly<Record<string, string>>, workerMs: number): void {
    const key = JSON.stringify([program, models]);
    const before = this.#kinds.get(key);
    this.#kinds.delete(key);
    this.#kinds.set(key, {
      program,
      models,
      completed: (before?.completed ?? 0) + 1,
      workerMs: (before?.workerMs ?? 0) + workerMs,
      costMs: before ? before.costMs + LEARNING * (workerMs - before.costMs) : workerMs,
    });
    if (this.#kinds.size > WORK_KINDS_MAX) this.#kinds.delete(this.#kinds.keys().next().value!);
  }

  /** URLs of the programs that were used, for a new worker to import before its first frame. */
  get programs(): string[] {
    return [...this.#programs];
  }

  asked(program: string): void {
    if (this.#programs.size < WORK_KINDS_MAX) this.#programs.add(program);
  }

  stats(): WorkStats[] {
    return [...this.#kinds.values()];
  }
}
