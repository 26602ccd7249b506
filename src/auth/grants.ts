import { SightlineError } from '../base/errors.ts';

/**
 * What somebody may do: an action on resources. A resource is a path such as `topics/rover/pose`, `sessions/gate-4` or `metrics`;
 * a grant may have the wildcards of topic filters in it (`+` for one level, `#` at the end for all that follow). Pure.
 */

/** `unmasked`: the frames of a camera without its masks. `admin` takes in the others. */
export const ACTIONS = ['publish', 'subscribe', 'read', 'unmasked', 'admin'] as const;
export type Action = (typeof ACTIONS)[number];

/** What resources begin with. */
export const RESOURCES = [
  'topics',
  'sessions',
  'priority',
  'metrics',
  'config',
  'engine',
  'alerts',
  'cameras',
  'cache',
  'demo',
] as const;

export interface Grant {
  readonly action: Action;
  /** Of the resources. */
  readonly filter: string;
}

/** Grants of one holder. */
export const GRANTS_MAX = 64;
const FILTER_CHARS_MAX = 300;
const EVERYTHING = '#';

/** What everybody may do where nobody is asked who they are. */
export const ALL_GRANTS: readonly Grant[] = [{ action: 'admin', filter: EVERYTHING }];

/** `subscribe:topics/rover/#`, or `read` for everything that can be read. Throws USAGE. */
export function parseGrant(text: string): Grant {
  const [, word = '', filter = EVERYTHING] = /^([^:]*)(?::(.*))?$/s.exec(text) ?? [];
  const action = ACTIONS.find((known) => known === word);
  if (action === undefined) throw bad(text, `begins with none of ${ACTIONS.join(', ')}`);
  if (filter.length > FILTER_CHARS_MAX) throw bad(text, `has more than ${FILTER_CHARS_MAX} characters`);
  const levels = filter.split('/');
  for (const [place, level] of levels.entries()) {
    if (level === '') throw bad(text, 'has an empty level');
    if (level.length > 1 && /[+#]/.test(level)) throw bad(text, 'has a wildcard that is not a level of its own');
    if (level === '#' && place !== levels.length - 1) throw bad(text, 'has # before the last level');
  }
  return { action, filter };
}

/** Throws USAGE where it is for nothing that there is, as by a slip of the pen. */
export function requireResource(grant: Grant): void {
  const [first = ''] = grant.filter.split('/');
  if (first === '#' || first === '+' || RESOURCES.some((known) => known === first)) return;
  throw bad(grantText(grant), `is for nothing that there is: a resource begins with one of ${RESOURCES.join(', ')}`);
}

export function grantText({ action, filter }: Grant): string {
  return filter === EVERYTHING ? action : `${action}:${filter}`;
}

/** Whether one of the grants allows the action on a resource, or on all that a filter of resources takes in. */
export function allows(grants: readonly Grant[], action: Action, resource: string): boolean {
  return grants.some(
    (grant) => (grant.action === action || grant.action === 'admin') && covers(grant.filter, resource),
  );
}

/** Whether one of them allows the action on the resource, or on something below it. */
export function allowsSome(grants: readonly Grant[], action: Action, resource: string): boolean {
  return grants.some(
    (grant) =>
      (grant.action === action || grant.action === 'admin') &&
      (covers(grant.filter, resource) || meets(grant.filter, `${resource}/#`)),
  );
}

/** Whether the first filter takes in all that the second one does; `a/#` takes in `a`. */
function covers(filter: string, wanted: string): boolean {
  if (filter === EVERYTHING) return true;
  const [own, other] = [filter.split('/'), wanted.split('/')];
  for (const [place, level] of own.entries()) {
    if (level === '#') return true;
    const asked = other[place];
    if (asked === undefined || asked === '#' || (level !== '+' && level !== asked)) return false;
  }
  return own.length === other.length;
}

/** Whether something is in both. */
function meets(filter: string, other: string): boolean {
  const [one, two] = [filter.split('/'), other.split('/')];
  for (let place = 0; ; place++) {
    const [a, b] = [one[place], two[place]];
    if (a === '#' || b === '#') return true;
    if (a === undefined || b === undefined) return a === b;
    if (a !== '+' && b !== '+' && a !== b) return false;
  }
}

function bad(text: string, fault: string): SightlineError {
  return new SightlineError('USAGE', `the permission ${JSON.stringify(text.slice(0, 80))} ${fault}`);
}
