import { SightlineError } from '../../base/errors.ts';
import type { Topic } from '../../stream/topics.ts';
import { QueueGroup, type QueueGroupHost } from './queue-group.ts';

const GROUPS_MAX = 1_000;

/** The queue groups of a lane, by name and filter. */
export class QueueGroups {
  readonly #host: QueueGroupHost;
  readonly #groups = new Map<string, QueueGroup>();

  constructor(host: QueueGroupHost) {
    this.#host = host;
  }

  /** Makes the group if there is none. Errors: SUBSCRIPTION_LIMIT_REACHED. */
  get(name: string, filter: string): QueueGroup {
    const key = `${name}\n${filter}`;
    const known = this.#groups.get(key);
    if (known !== undefined) return known;
    if (this.#groups.size >= GROUPS_MAX) {
      throw new SightlineError(
        'SUBSCRIPTION_LIMIT_REACHED',
        `group "${name}" would exceed the limit of ${GROUPS_MAX} groups`,
      );
    }
    const group = new QueueGroup(this.#host, filter, () => this.#groups.delete(key));
    this.#groups.set(key, group);
    return group;
  }

  /** Something was published to the topic. */
  mark(topic: Topic): void {
    for (const group of this.#groups.values()) group.mark(topic);
  }

  flush(nowMs: number): void {
    for (const group of this.#groups.values()) group.flush(nowMs);
  }
}
