import type { Priority } from '../base/sample.ts';

/** Who gets how much of a capacity that does not suffice for everybody. Pure. */

export interface Demand {
  readonly priority: Priority;
  /** What this one has shown that it uses, and some more, in the unit of the capacity. */
  readonly wanted: number;
  /** What its other bounds let through; default: no more than is wanted. */
  readonly most?: number;
}

/**
 * Class by class from the highest, within a class by max-min fairness: nobody gets more than wanted, and what one leaves the others
 * of the class share evenly (Bertsekas and Gallager, "Data Networks", §6.5.2). Everybody has `floor` before that, whatever the capacity: who
 * calls sees to it that it is not too much. Gives the shares in the order of the demands.
 */
export function shareCapacity(capacity: number, demands: readonly Demand[], floor: number): number[] {
  const shares = demands.map(({ wanted }) => Math.min(floor, wanted));
  let left = Math.max(0, capacity - sum(shares));
  for (const priority of [3, 2, 1, 0] as const) {
    const members = demands.map((demand, i) => (demand.priority === priority ? demand.wanted - shares[i]! : 0));
    const more = fill(left, members);
    for (let i = 0; i < shares.length; i++) shares[i]! += more[i]!;
    left = Math.max(0, left - sum(more));
  }
  return shares;
}

/** Max-min fair filling: the least demanding are satisfied first. */
function fill(capacity: number, wanted: readonly number[]): number[] {
  const given = wanted.map(() => 0);
  const rising = wanted.map((_, i) => i).toSorted((a, b) => wanted[a]! - wanted[b]!);
  let left = capacity;
  let open = wanted.filter((want) => want > 0).length;
  for (const i of rising) {
    if (wanted[i]! <= 0) continue;
    given[i] = Math.min(wanted[i]!, left / open);
    left -= given[i];
    open--;
  }
  return given;
}

export function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
