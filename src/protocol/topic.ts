import { SightlineError } from '../base/errors.ts';
import { quote } from './quote.ts';

/**
 * Names of topics and filters over them. The wildcards are those of MQTT 5 (§4.7): `+` stands for one level, `#` at the
 * end for all that follow, none included; a filter that begins with a wildcard leaves out names that begin with `$`.
 */

export const TOPIC_BYTES_MAX = 256;
/** What a UTF-16 code unit takes in UTF-8. */
const UNIT_BYTES_MAX = 3;

const encoder = new TextEncoder();
// oxlint-disable-next-line no-control-regex -- control characters are what is looked for
const CONTROL = /[\u0000-\u001f\u007f-\u009f]/;

/** Throws TOPIC_BAD unless `name` is a topic: see `docs/protocol.md`. */
export function checkTopic(name: unknown): asserts name is string {
  const fault = faultOfName(name) ?? (/[+#]/.test(name as string) ? 'has a wildcard' : undefined);
  if (fault !== undefined) throw new SightlineError('TOPIC_BAD', `topic ${quote(name)} ${fault}`);
}

/** Throws FILTER_BAD unless `filter` is a topic or one with wildcards as whole levels, `#` only as the last. */
export function checkFilter(filter: unknown): asserts filter is string {
  const fault = faultOfName(filter) ?? faultOfWildcards(filter as string);
  if (fault !== undefined) throw new SightlineError('FILTER_BAD', `filter ${quote(filter)} ${fault}`);
}

/** Whether a filter names one topic alone. */
export function isPlain(filter: string): boolean {
  return !/[+#]/.test(filter);
}

/** Whether the name is one of the server's own, which clients do not publish to. */
export function isServerTopic(name: string): boolean {
  return name.startsWith('$');
}

/** Whether a checked filter takes in a checked topic. Walks both once and allocates nothing. */
export function matches(filter: string, topic: string): boolean {
  if (topic.startsWith('$') && !filter.startsWith('$')) return false;
  let inFilter = 0;
  let inTopic = 0;
  for (;;) {
    const filterEnd = levelEnd(filter, inFilter);
    const level = filter[inFilter];
    if (level === '#') return true;
    const topicEnd = levelEnd(topic, inTopic);
    const sameLength = filterEnd - inFilter === topicEnd - inTopic;
    if (level !== '+' && !(sameLength && topic.startsWith(filter.slice(inFilter, filterEnd), inTopic))) return false;
    if (topicEnd === topic.length) {
      // `a/#` takes in `a` itself.
      return filterEnd === filter.length || (filterEnd === filter.length - 2 && filter.endsWith('#'));
    }
    if (filterEnd === filter.length) return false;
    inFilter = filterEnd + 1;
    inTopic = topicEnd + 1;
  }
}

function levelEnd(name: string, from: number): number {
  const end = name.indexOf('/', from);
  return end === -1 ? name.length : end;
}

function faultOfName(name: unknown): string | undefined {
  if (typeof name !== 'string') return 'is not text';
  if (isTooLong(name)) return `has more than ${TOPIC_BYTES_MAX} bytes`;
  if (name.length === 0) return 'is empty';
  if (name.startsWith('/') || name.endsWith('/') || name.includes('//')) return 'has an empty level';
  if (CONTROL.test(name)) return 'has a control character';
  if (!name.isWellFormed()) return 'is not well-formed Unicode';
  return undefined;
}

/** The name is encoded only where its length does not tell: that costs more than the rest of the check. */
function isTooLong(name: string): boolean {
  if (name.length * UNIT_BYTES_MAX <= TOPIC_BYTES_MAX) return false;
  return name.length > TOPIC_BYTES_MAX || encoder.encode(name).length > TOPIC_BYTES_MAX;
}

function faultOfWildcards(filter: string): string | undefined {
  const levels = filter.split('/');
  for (const [place, level] of levels.entries()) {
    if (level.length > 1 && !isPlain(level)) return 'has a wildcard that is not a level of its own';
    if (level === '#' && place !== levels.length - 1) return 'has # before the last level';
  }
  return undefined;
}
