import type { TelemetryFormat } from '../../../src/client/telemetry.ts';
import { schemaOf } from '../batches.ts';
import { flood, many, Pace, type Attack } from '../target.ts';
import { advertise, publish, subscribe, telemetryLane, text, videoLane } from './lanes.ts';

/** Messages that cost their sender nothing and the main thread a little each; what comes back is read. */

const BYTES_PER_S = 8_000_000;

function floods(name: string, what: string, message: () => Buffer, form: TelemetryFormat = 'json'): Attack {
  return {
    name,
    what,
    run: async (target) => {
      const bytes = many(message());
      await target.insist(
        () => target.webSocket(telemetryLane(form)),
        (wire) => flood(target, wire, bytes, { bytesPerS: BYTES_PER_S }),
      );
    },
  };
}

const pinStorm: Attack = {
  name: 'pin_storm',
  what: 'pins the quality of a video session up and down as fast as it can, and reads the grants',
  run: async (target) => {
    const bytes = many(Buffer.concat([text({ type: 'pin', level: 'low' }), text({ type: 'pin', level: 'high' })]));
    await target.insist(
      () => target.webSocket(videoLane()),
      (wire) => flood(target, wire, bytes, { bytesPerS: BYTES_PER_S }),
    );
  },
};

const schemaStorm: Attack = {
  name: 'schema_storm',
  what: '64 layouts of 1,000 fields each, announced anew over and over with other names',
  run: async (target) => {
    await target.insist(
      () => target.webSocket(telemetryLane('binary')),
      async (wire) => {
        const pace = new Pace(BYTES_PER_S);
        for (let i = 0; await wire.hasRoom(target.untilMs); i += 1) {
          const message = text(schemaOf(1 + (i % 64), 1_000, 'f64', `field${i}_`));
          wire.write(message);
          await pace.after(message.length);
        }
      },
    );
  },
};

const forgottenFilters: Attack = {
  name: 'forgotten_filters',
  what: '1,000 subscriptions with wildcards, then the socket is cut and it begins anew',
  run: async (target) => {
    const filters = Buffer.concat(Array.from({ length: 1_000 }, (_, id) => subscribe(id, `+/forgotten/${id}/#`)));
    while (!target.isOver) {
      const wire = await target.webSocket(telemetryLane('json'));
      wire?.write(filters);
      await target.pause(50);
      if (wire !== undefined) target.drop(wire);
    }
  },
};

export const CHEAP: readonly Attack[] = [
  floods('advertise_flood', 'advertises one topic over and over, 8 MB/s', () => advertise(1, 'cheap/topic'), 'binary'),
  floods('subscribe_flood', 'subscribes to everything and leaves it, 8 MB/s', () =>
    Buffer.concat([subscribe(1, '#'), text({ type: 'unsubscribe', id: 1 })]),
  ),
  floods('clock_flood', 'asks for the time, 8 MB/s', () => text({ type: 'clock', t0: 1 })),
  floods('publish_flood', 'publishes one small message over and over, 8 MB/s', () => publish('cheap/topic', '1')),
  floods('refused_topic', 'publishes on a topic that it may not, 8 MB/s', () => publish('$cheap', '1')),
  floods('rubbish_acks', 'acknowledges what it never got, 8 MB/s', () =>
    text({ type: 'ack', id: 7, topic_id: 4_000_000_000, seq: Number.MAX_SAFE_INTEGER }),
  ),
  pinStorm,
  schemaStorm,
  forgottenFilters,
];
