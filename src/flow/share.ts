import type { Priority } from '../base/sample.ts';

/** Divides a capacity that does not suffice for everybody. Pure. */

export interface Demand {
  readonly priority: Priority;
  /** Its measured use, and some more, in the unit of the capacity. */
  readonly wanted: number;
  /** The most that its other bounds allow; default: no more than is wanted. */
  readonly most?: number;
  /** Its floor before classes count, as far as it wants it; default: nothing. */
  readonly floor?: number;
}

/**
 * Class by class from the highest, within a class by max-min fairness: nobody gets more than wanted, and what one leaves over the others
 * of the class share evenly (Bertsekas and Gallager, "Data Networks", §6.5.2). Everybody gets the floor before that, whatever the
 * capacity: the caller makes sure that it is not too much. Returns the shares in the order of the demands.
 */
export function shareCapacity(capacity: number, demands: readonly Demand[]): number[] {
  const shares = demands.map(({ wanted, floor = 0 }) => Math.min(floor, wanted));
  let left = Math.max(0, capacity - sum(shares));
  for (const priority of [3, 2, 1, 0] as const) {
    const members = demands.flatMap((demand, i) => (demand.priority === priority ? [i] : []));
    const before = sum(members.map((i) => shares[i]!));
    const filled = fill(
      left + before,
      members.map((i) => ({ wanted: demands[i]!.wanted, least: shares[i]! })),
    );
    members.forEach((i, at) => {
      shares[i] = filled[at]!;
    });
    left = Math.max(0, left - (sum(filled) - before));
  }
  return shares;
}

/**
 * The same, and what is left when everybody has what they want is divided by the same rules, up to the most of each: a member that begins
 * to use more must not find itself without a limit. Infinity for all while there is enough whatever they do.
 */
export function spreadCapacity(capacity: number, demands: readonly Demand[]): number[] {
  const rooms = demands.map(({ wanted, most = wanted }) => Math.max(wanted, most));
  if (sum(rooms) <= capacity) return demands.map(() => Infinity);
  const shares = shareCapacity(capacity, demands);
  const more = demands.map(({ priority }, i) => ({ priority, wanted: rooms[i]! - shares[i]! }));
  const spare = shareCapacity(Math.max(0, capacity - sum(shares)), more);
  return shares.map((share, i) => share + spare[i]!);
}

interface Member {
  readonly wanted: number;
  /** No more than is wanted; all together no more than there is. */
  readonly least: number;
}

/** Max-min fair filling: members whose least is above the even share keep it, the others share the rest evenly. */
function fill(capacity: number, members: readonly Member[]): number[] {
  const given = members.map(({ least }) => least);
  let left = capacity;
  let open = members.map((_, i) => i);
  while (open.length > 0) {
    const level = levelOf(
      left,
      open.map((i) => members[i]!.wanted),
    );
    const over = open.filter((i) => members[i]!.least > level);
    if (over.length === 0) {
      for (const i of open) given[i] = Math.min(members[i]!.wanted, level);
      return given;
    }
    left = Math.max(0, left - sum(over.map((i) => members[i]!.least)));
    open = open.filter((i) => members[i]!.least <= level);
  }
  return given;
}

/** Fills all members evenly: the least demanding are satisfied first. */
function levelOf(capacity: number, wanted: readonly number[]): number {
  let left = Math.max(0, capacity);
  let open = wanted.length;
  for (const want of wanted.toSorted((a, b) => a - b)) {
    if (want * open >= left) return left / open;
    left -= want;
    open--;
  }
  return Infinity;
}

export function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
