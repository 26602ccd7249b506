import type { Topic } from '../../stream/topics.ts';
import { QueueGroup, type Membership, type QueueGroupHost, type QueueMember } from './queue-group.ts';
import { TopicSets } from './topic-sets.ts';

/** The queue groups of a lane, by name and filter. */
export class QueueGroups {
  readonly #host: QueueGroupHost;
  readonly #groups = new Map<string, QueueGroup>();
  /** Those that read a topic: a publication costs nothing for others. */
  readonly #readers = new TopicSets<QueueGroup>();
  /** Those that may have something to give out, and somebody to give it to. */
  readonly #work = new Set<QueueGroup>();

  constructor(host: QueueGroupHost) {
    this.#host = host;
  }

  /** Makes the group if there is none. */
  join(name: string, member: QueueMember): Membership {
    const key = `${name}\n${member.subscription.filter}`;
    let group = this.#groups.get(key);
    if (group === undefined) {
      group = this.#make(key);
      this.#groups.set(key, group);
    }
    return group.join(member);
  }

  get hasWork(): boolean {
    return this.#work.size > 0;
  }

  /** Something was published to the topic. */
  mark(topic: Topic): void {
    for (const group of this.#readers.of(topic)) group.mark(topic);
  }

  /** Gives out what waits, group by group, until a moment. Returns the time. */
  flush(startMs: number, untilMs: number): number {
    let nowMs = startMs;
    for (const group of this.#work) {
      if (nowMs >= untilMs) break;
      this.#work.delete(group);
      nowMs = group.flush(nowMs, untilMs);
    }
    return nowMs;
  }

  #make(key: string): QueueGroup {
    const group: QueueGroup = new QueueGroup(this.#host, {
      onTopic: (topic, isRead) => {
        if (isRead) this.#readers.add(topic, group);
        else this.#readers.remove(topic, group);
      },
      onWork: () => void this.#work.add(group),
      onEmpty: () => {
        this.#groups.delete(key);
        this.#work.delete(group);
      },
    });
    return group;
  }
}
