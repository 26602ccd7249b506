import { Codec, craftBatch, listOf, messagesBody, packedLists, Packing, readdressed } from '../batches.ts';
import { Pace, type Attack } from '../target.ts';
import { advertise, binary, publish, subscribe, telemetryLane } from './lanes.ts';

/** What a server keeps of what it is sent, beyond the bytes that it counts. */

const MESSAGE_BYTES = 990_000;
const BYTES_PER_S = 24_000_000;

const jsonObjects: Attack = {
  name: 'json_objects',
  what: 'lists of empty objects, a megabyte of JSON each, on 40 topics: parsed they take many times their bytes',
  run: async (target) => {
    const data = listOf('{}', MESSAGE_BYTES);
    await target.insist(
      () => target.webSocket(telemetryLane('json')),
      async (wire) => {
        const pace = new Pace(BYTES_PER_S);
        for (let i = 0; i < 300 && (await wire.hasRoom(target.untilMs)); i += 1) {
          wire.write(publish(`objects/${i % 40}`, data));
          await pace.after(MESSAGE_BYTES);
        }
      },
    );
  },
};

const zlibLists: Attack = {
  name: 'zlib_lists',
  what: 'four batches of 8 kB a second that unpack to 8 MB of empty lists, on 60 topics',
  run: async (target) => {
    const batch = packedLists(Packing.zlib, 0);
    await target.insist(
      () => target.webSocket(telemetryLane('binary')),
      async (wire) => {
        for (let alias = 0; alias < 60; alias += 1) wire.write(advertise(alias, `lists/${alias}`));
        for (let i = 0; await wire.hasRoom(target.untilMs); i += 1) {
          wire.write(binary(readdressed(batch, i % 60)));
          await target.pause(250);
        }
      },
    );
  },
};

const TOPICS = 1_000;
const TINY_MESSAGES = 500;

const oneByte: Attack = {
  name: 'one_byte',
  what: 'messages of one byte in batches of 500, on 1,000 topics, 95,000 a second: an object for each is kept',
  run: async (target) => {
    const payloads = Array<Buffer>(TINY_MESSAGES).fill(Buffer.from('7'));
    const sections = [{ alias: 0, count: TINY_MESSAGES }];
    const batch = craftBatch({ codec: Codec.json, sections, body: messagesBody(payloads) });
    await target.insist(
      () => target.webSocket(telemetryLane('binary')),
      async (wire) => {
        for (let alias = 0; alias < TOPICS; alias += 1) wire.write(advertise(alias, `bytes/${alias}`));
        const pace = new Pace(95_000);
        for (let i = 0; await wire.hasRoom(target.untilMs); i += 1) {
          wire.write(binary(readdressed(batch, i % TOPICS)));
          await pace.after(TINY_MESSAGES);
        }
      },
    );
  },
};

const newestMegabyte: Attack = {
  name: 'newest_megabyte',
  what: 'a megabyte of text on each of 2,000 topics: each keeps its newest',
  run: async (target) => {
    const data = `"${'x'.repeat(MESSAGE_BYTES)}"`;
    await target.insist(
      () => target.webSocket(telemetryLane('json')),
      async (wire) => {
        const pace = new Pace(4 * BYTES_PER_S);
        for (let i = 0; i < 2_000 && (await wire.hasRoom(target.untilMs)); i += 1) {
          wire.write(publish(`newest/${i}`, data));
          await pace.after(MESSAGE_BYTES);
        }
      },
    );
  },
};

const SINCE_MAX = 1_000;

const sinceLists: Attack = {
  name: 'since_lists',
  what: '1,000 subscriptions that each bring 1,000 positions with long names',
  run: async (target) => {
    const tail = 'a'.repeat(240);
    await target.insist(
      () => target.webSocket(telemetryLane('json')),
      async (wire) => {
        const pace = new Pace(BYTES_PER_S);
        for (let id = 0; id < 1_000 && (await wire.hasRoom(target.untilMs)); id += 1) {
          const since = Array.from({ length: SINCE_MAX }, (_, i) => ({
            topic: `${id}-${i}-${tail}`,
            epoch: 1,
            seq: 1,
          }));
          const message = subscribe(id, `since/${id}`, { since });
          wire.write(message);
          await pace.after(message.length);
        }
      },
    );
  },
};

const CONNECTIONS = 8;
const AT_ONCE = 25;

const millionTopics: Attack = {
  name: 'million_topics',
  what: 'each message on a topic of its own, 10,000 a second over eight connections',
  run: async (target) => {
    await target.side(CONNECTIONS, async (side) => {
      // Each has every eighth number.
      let next = side;
      await target.insist(
        () => target.webSocket(telemetryLane('json')),
        async (wire) => {
          const pace = new Pace(10_000 / CONNECTIONS);
          for (; next < 1_000_000 && (await wire.hasRoom(target.untilMs)); next += AT_ONCE * CONNECTIONS) {
            const numbers = Array.from({ length: AT_ONCE }, (_, i) => next + i * CONNECTIONS);
            wire.write(Buffer.concat(numbers.map((n) => publish(`million/${n}`, '1'))));
            await pace.after(AT_ONCE);
          }
        },
      );
    });
  },
};

export const MEMORY: readonly Attack[] = [jsonObjects, zlibLists, oneByte, newestMegabyte, sinceLists, millionTopics];
