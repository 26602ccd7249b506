import { Priority } from '../../src/base/sample.ts';
import { CHECK_PATHS, type RoverMessage } from '../../src/load/rover-messages.ts';
import { decompressors } from '../../src/sessions/compression.ts';
import { BATCH_LIMITS, decodeBatch, decodeColumns, encodeBatch, type BatchMessage } from '../../src/protocol/batch.ts';
import { BatchDrafts, bodyOf, headOf } from '../../src/protocol/batch-drafts.ts';
import { Payload } from '../../src/protocol/payload.ts';
import { SchemaBook } from '../../src/protocol/schema-book.ts';
import type { SchemaField } from '../../src/protocol/telemetry.ts';
import type { CheckColumns } from './meter.ts';
import type { Peer } from './peer.ts';
import { open, shut } from './plain-ws.ts';

/**
 * The limit: Sightline's batches of columns over bare `ws`, flushed once a turn, relayed by a server that looks into none.
 * There are no subscriptions, accounts, clocks or reconnections: what those cost is the distance of the SDK from here.
 */

interface SchemaText {
  readonly id: number;
  readonly fields: readonly SchemaField[];
}

export const columnsWs: Peer = {
  connectPublisher: async (url, topics) => {
    const socket = await open(`${url}/publish`);
    const aliases = topics.map((_, number) => ({ number }));
    const book = new SchemaBook<{ readonly number: number }>(16);
    const told = new Set<number>();
    const gathered = topics.map((): BatchMessage[] => []);
    return {
      publish: (topic, message, timeMs) => {
        gathered[topic]!.push({ timeMs, priority: Priority.normal, payload: Payload.of({ ...message }) });
      },
      flush: () => {
        const drafts = new BatchDrafts(book, ['columns', 'msgpack']);
        for (const [topic, messages] of gathered.entries()) {
          const first = messages[0];
          if (first === undefined) continue;
          const { seq } = first.payload.value() as RoverMessage;
          drafts.add(aliases[topic]!, { topicId: topic, epoch: 0, firstSeq: seq }, messages);
          gathered[topic] = [];
        }
        for (const draft of drafts.drafts) {
          const { schema } = draft;
          if (schema !== undefined && !told.has(schema.id)) {
            told.add(schema.id);
            socket.send(JSON.stringify({ id: schema.id, fields: schema.fields } satisfies SchemaText));
          }
          socket.send(encodeBatch(headOf(draft, 'none'), bodyOf(draft), {}));
        }
      },
      backlogBytes: () => socket.bufferedAmount,
      close: () => shut(socket),
    };
  },

  connectSubscriber: async ({ url, decode, firstPair, meter }) => {
    const socket = await open(`${url}/subscribe`);
    const schemas = new Map<number, readonly SchemaField[]>();
    const schemaOf = (id: number) => schemas.get(id);
    let received = 0;
    socket.on('message', (bytes: Buffer, isBinary: boolean) => {
      if (!isBinary) {
        const { id, fields } = JSON.parse(bytes.toString()) as SchemaText;
        schemas.set(id, fields);
        return;
      }
      received += bytes.length;
      if (decode === 'columns') {
        const { envelope, columns } = decodeColumns(bytes, schemaOf, decompressors, BATCH_LIMITS, 'brief');
        let from = 0;
        for (const { topicId, count } of envelope.sections) {
          const part = columns.part(from, count);
          const checked = CHECK_PATHS.map((path) => part.column(path)!) as unknown as CheckColumns;
          meter.columns(firstPair + topicId, part.times, checked);
          from += count;
        }
        return;
      }
      const { envelope, messages } = decodeBatch(bytes, schemaOf, decompressors);
      let next = 0;
      for (const { topicId, count } of envelope.sections) {
        for (let i = 0; i < count; i += 1, next += 1) {
          const { timeMs, payload } = messages[next]!;
          meter.object(firstPair + topicId, timeMs, payload.value() as RoverMessage);
        }
      }
    });
    return { bytes: () => received, close: () => shut(socket) };
  },
};
