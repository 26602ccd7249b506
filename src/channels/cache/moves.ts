/**
 * What viewers of recordings ask for next: a model of first order of their moves (Markov), learned from all of them. Pure.
 *
 * A move leads from one fragment to another: so many fragments on or back (`+1`, `-3`), to the same time of another camera, or anywhere else. How likely each is
 * depends on the viewer's last move alone. Sequences of moves as states of a Markov chain are a common model of requests on the web
 * (Padmanabhan and Mogul, "Using predictive prefetching to improve World Wide Web latency", 1996).
 */

/** A fragment of a recording, as far as moves go. */
export interface Place {
  readonly camera: string;
  readonly fromMs: number;
  readonly toMs: number;
}

/** Where a viewer may go: `camera` at `timeMs`. */
export interface Guess {
  readonly camera: string;
  readonly timeMs: number;
  /** That at least one of those who are where it is goes there. */
  readonly probability: number;
}

interface Viewer {
  place: Place;
  move: string;
}

const VIEWERS_MAX = 4_096;
const CAMERAS_MAX = 512;
/** Moves of further fragments are one. */
const STEPS_MAX = 10;
/** When so many moves from a state are counted, all of its counts are halved: what viewers did long ago is forgotten. */
const COUNTS_MAX = 512;
/** Of a state that was seen seldom nothing is guessed. */
const COUNTS_MIN = 8;
const GUESSES_MAX = 3;
const BEGIN = 'begin';
const SAME = '+0';
const OTHER = 'other';
const AWAY = 'away';

export class Moves {
  /** The one that asked least lately comes first. */
  readonly #viewers = new Map<string, Viewer>();
  /** By the last move, what came then. */
  readonly #next = new Map<string, Counter>();
  /** By camera, to which other one viewers went. */
  readonly #others = new Map<string, Counter>();
  /** How many viewers are there. */
  readonly #crowds = new Map<string, number>();

  /** A viewer has asked for a fragment. */
  observe(viewer: string, place: Place): void {
    const before = this.#viewers.get(viewer);
    const move = before ? moveOf(before.place, place) : BEGIN;
    // Asked for once more, such as by parts: it goes nowhere.
    if (move === SAME) return;
    if (before) {
      counterOf(this.#next, before.move).add(move);
      if (move === OTHER) counterOf(this.#others, before.place.camera, CAMERAS_MAX).add(place.camera);
      this.#leave(before.place);
      this.#viewers.delete(viewer);
    }
    this.#viewers.set(viewer, { place, move });
    const crowd = crowdOf(place);
    this.#crowds.set(crowd, (this.#crowds.get(crowd) ?? 0) + 1);
    if (this.#viewers.size <= VIEWERS_MAX) return;
    const [oldest, { place: left }] = this.#viewers.entries().next().value!;
    this.#viewers.delete(oldest);
    this.#leave(left);
  }

  /** The likeliest first. */
  guesses(viewer: string): Guess[] {
    const at = this.#viewers.get(viewer);
    const counter = at && this.#next.get(at.move);
    if (!counter || counter.total < COUNTS_MIN) return [];
    const { place } = at;
    const crowd = this.#crowds.get(crowdOf(place)) ?? 1;
    const lengthMs = place.toMs - place.fromMs;
    const guesses: Guess[] = [];
    for (const [move, share] of counter.shares()) {
      const steps = Number(move);
      if (move === OTHER) {
        for (const [camera, part] of this.#others.get(place.camera)?.shares() ?? [])
          guesses.push({ camera, timeMs: place.fromMs + lengthMs / 2, probability: anyOf(share * part, crowd) });
      } else if (Number.isFinite(steps) && Math.abs(steps) < STEPS_MAX) {
        const timeMs = place.fromMs + (steps + 0.5) * lengthMs;
        guesses.push({ camera: place.camera, timeMs, probability: anyOf(share, crowd) });
      }
    }
    return guesses.toSorted((a, b) => b.probability - a.probability).slice(0, GUESSES_MAX);
  }

  #leave(place: Place): void {
    const crowd = crowdOf(place);
    const left = this.#crowds.get(crowd)! - 1;
    if (left > 0) this.#crowds.set(crowd, left);
    else this.#crowds.delete(crowd);
  }
}

/** How often each of a few things was seen. */
class Counter {
  total = 0;
  readonly #counts = new Map<string, number>();

  add(what: string): void {
    this.#counts.set(what, (this.#counts.get(what) ?? 0) + 1);
    this.total++;
    if (this.total < COUNTS_MAX) return;
    this.total = 0;
    for (const [one, count] of this.#counts) {
      const half = Math.floor(count / 2);
      if (half === 0) this.#counts.delete(one);
      else this.#counts.set(one, half);
      this.total += half;
    }
  }

  *shares(): Generator<readonly [what: string, share: number]> {
    for (const [what, count] of this.#counts) yield [what, count / this.total];
  }
}

/** The oldest gives way to a new one beyond `max`. */
function counterOf(counters: Map<string, Counter>, name: string, max = Infinity): Counter {
  let counter = counters.get(name);
  if (counter) return counter;
  if (counters.size >= max) counters.delete(counters.keys().next().value!);
  counters.set(name, (counter = new Counter()));
  return counter;
}

function moveOf(from: Place, to: Place): string {
  const lengthMs = Math.max(1, from.toMs - from.fromMs);
  const steps = (to.fromMs - from.fromMs) / lengthMs;
  if (from.camera !== to.camera) return Math.abs(steps) < 1 ? OTHER : AWAY;
  const whole = Math.max(-STEPS_MAX, Math.min(STEPS_MAX, Math.round(steps)));
  return `${whole < 0 ? '-' : '+'}${Math.abs(whole)}`;
}

function crowdOf({ camera, fromMs }: Place): string {
  return `${camera}/${fromMs}`;
}

/** That at least one of so many does what each does with that probability. */
function anyOf(probability: number, count: number): number {
  return 1 - (1 - probability) ** count;
}
