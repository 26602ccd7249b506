import { Pace, type Attack, type Target } from '../target.ts';
import { FOXGLOVE, publish, subscribe, telemetryLane } from './lanes.ts';

/** Small numbers that are multiplied: readers by topics, topics by viewers. */

const TOPICS = 1_000;

/** A publisher whose messages go round over so many topics. */
async function publisher(target: Target, topics: number, perS: number): Promise<void> {
  await target.insist(
    () => target.webSocket(telemetryLane('json')),
    async (wire) => {
      const pace = new Pace(perS);
      for (let i = 0; await wire.hasRoom(target.untilMs); i += 1) {
        wire.write(publish(`products/${i % topics}`, String(i)));
        await pace.after(1);
      }
    },
  );
}

function readers(name: string, what: string, subscription: (id: number) => Buffer): Attack {
  return {
    name,
    what,
    run: async (target) => {
      const subscriptions = Buffer.concat(Array.from({ length: 1_000 }, (_, id) => subscription(id)));
      const reading = target.insist(
        () => target.webSocket(telemetryLane('json')),
        async (wire) => wire.write(subscriptions),
      );
      await Promise.all([reading, publisher(target, TOPICS, 2_000)]);
    },
  };
}

const KEYS = 2_000;
const VIEWERS = 20;

const foxgloveKeys: Attack = {
  name: 'foxglove_keys',
  what: '60 topics whose message is a megabyte of keys, beside 20 viewers that do not read the schemas made of them',
  run: async (target) => {
    const tail = 'z'.repeat(480);
    const data = `{${Array.from({ length: KEYS }, (_, i) => `"k${i}${tail}":1`).join(',')}}`;
    const viewers = target.side(VIEWERS, () =>
      target.insist(
        () => target.webSocket(FOXGLOVE, { reads: false }),
        async () => undefined,
      ),
    );
    const publishing = target.insist(
      () => target.webSocket(telemetryLane('json')),
      async (wire) => {
        const pace = new Pace(16_000_000);
        for (let i = 0; i < 60 && (await wire.hasRoom(target.untilMs)); i += 1) {
          wire.write(publish(`keys/${i}`, data));
          await pace.after(data.length);
        }
      },
    );
    await Promise.all([viewers, publishing]);
  },
};

const criticalFlood: Attack = {
  name: 'critical_flood',
  what: 'critical messages of 500 bytes with a time to live, for 20 sessions of its own that do not read',
  run: async (target) => {
    const filter = subscribe(1, 'critical/#');
    const reading = target.side(20, () =>
      target.insist(
        () => target.webSocket(telemetryLane('json'), { reads: false }),
        async (wire) => wire.write(filter),
      ),
    );
    const message = publish('critical/stop', `"${'!'.repeat(500)}"`, ',"priority":3,"ttl_ms":60000');
    const publishing = target.insist(
      () => target.webSocket(telemetryLane('json')),
      async (wire) => {
        const pace = new Pace(5_000);
        while (await wire.hasRoom(target.untilMs)) {
          wire.write(message);
          await pace.after(1);
        }
      },
    );
    await Promise.all([reading, publishing]);
  },
};

export const PRODUCTS: readonly Attack[] = [
  readers('groups', '1,000 groups of everything in one session, beside 2,000 messages a second on 1,000 topics', (id) =>
    subscribe(id, '#', { group: `group${id}` }),
  ),
  readers('wildcards', '1,000 subscriptions to everything in one session, beside the same messages', (id) =>
    subscribe(id, id % 2 === 0 ? '#' : '+/#'),
  ),
  foxgloveKeys,
  criticalFlood,
];
