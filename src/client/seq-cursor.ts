/** Positions `from` to `to`, the end not included. */
export interface SeqSpan {
  readonly from: number;
  readonly to: number;
}

/** Holes remembered; a stream with more of them is one of chosen samples, and its old holes are not filled any more. */
const HOLES_MAX = 256;

/**
 * The arrived messages of one topic: everything before `next`, but for the *holes* (messages that a critical one overtook, that
 * come later because the newest went first, or that never come). So each message is let in once, in whatever order. Pure.
 */
export class SeqCursor {
  #next: number;
  #holes: { from: number; to: number }[] = [];
  #missing = 0;

  constructor(next: number) {
    this.#next = next;
  }

  /** The first seq that has not appeared yet. */
  get next(): number {
    return this.#next;
  }

  /** Everything up to this one has arrived. */
  get contiguous(): number {
    return (this.#holes[0]?.from ?? this.#next) - 1;
  }

  /** Messages before `next` that have not arrived. */
  get missing(): number {
    return this.#missing;
  }

  /** Marks `first`, `first` + 1, … (`count` of them) as arrived if they are what comes next: the usual case, which allocates nothing. */
  advance(first: number, count: number): boolean {
    if (first !== this.#next) return false;
    this.#next = first + count;
    return true;
  }

  /** The parts of `first`, `first` + 1, … (`count` of them) that are new, and marks them as arrived; oldest first. */
  accept(first: number, count: number): SeqSpan[] {
    const end = first + count;
    if (first >= this.#next) {
      this.skipTo(first);
      this.#next = end;
      return [{ from: first, to: end }];
    }
    const fresh = this.#fill(first, Math.min(end, this.#next));
    if (end > this.#next) {
      fresh.push({ from: this.#next, to: end });
      this.#next = end;
    }
    return joined(fresh);
  }

  /** The messages between here and `next` are missing; they may still come. */
  skipTo(next: number): void {
    if (next <= this.#next) return;
    this.#holes.push({ from: this.#next, to: next });
    this.#missing += next - this.#next;
    this.#next = next;
    if (this.#holes.length > HOLES_MAX) this.#holes.shift();
  }

  #fill(from: number, to: number): SeqSpan[] {
    const fresh: SeqSpan[] = [];
    // Nothing but repetitions, as after most reconnections.
    if ((this.#holes.at(-1)?.to ?? 0) <= from) return fresh;
    const holes: { from: number; to: number }[] = [];
    for (const hole of this.#holes) {
      const filled = { from: Math.max(hole.from, from), to: Math.min(hole.to, to) };
      if (filled.from >= filled.to) {
        holes.push(hole);
        continue;
      }
      fresh.push(filled);
      this.#missing -= filled.to - filled.from;
      if (hole.from < filled.from) holes.push({ from: hole.from, to: filled.from });
      if (filled.to < hole.to) holes.push({ from: filled.to, to: hole.to });
    }
    this.#holes = holes;
    return fresh;
  }
}

function joined(spans: SeqSpan[]): SeqSpan[] {
  const result: { from: number; to: number }[] = [];
  for (const { from, to } of spans) {
    const last = result.at(-1);
    if (last?.to === from) last.to = to;
    else result.push({ from, to });
  }
  return result;
}
