import type { Attack } from '../target.ts';
import { CHEAP } from './cheap.ts';
import { MEMORY } from './memory.ts';
import { NAMES } from './names.ts';
import { PICTURES } from './pictures.ts';
import { PRODUCTS } from './products.ts';
import { SHAPES } from './shapes.ts';
import { SOCKETS_ATTACKS } from './sockets.ts';
import { UNREAD } from './unread.ts';
import { WORK } from './work.ts';

/** Every attack, in the order in which they are run. */
export const ATTACKS: readonly Attack[] = [
  ...MEMORY,
  ...WORK,
  ...PICTURES,
  ...UNREAD,
  ...SOCKETS_ATTACKS,
  ...CHEAP,
  ...PRODUCTS,
  ...SHAPES,
  ...NAMES,
];

/** Throws RangeError. */
export function attackNamed(name: string): Attack {
  const attack = ATTACKS.find((one) => one.name === name);
  if (attack === undefined) throw new RangeError(`there is no attack "${name}"`);
  return attack;
}
