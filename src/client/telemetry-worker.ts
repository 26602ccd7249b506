import { toSightlineError } from '../base/errors.ts';
import { decodeBatchHeader } from '../protocol/batch.ts';
import type { ColumnBatch } from '../protocol/columns.ts';
import { platformDecompressors } from './compression.ts';
import type { DecoderReply, DecoderRequest } from './telemetry-decoder.ts';
import { LocalDecoder, ValueBatch } from './telemetry-decoder.ts';

/** The module that a page's decoding worker runs: batches in, typed arrays out. */

interface WorkerScope {
  addEventListener(type: 'message', listener: (event: { readonly data: DecoderRequest }) => void): void;
  postMessage(reply: DecoderReply, transfer: ArrayBuffer[]): void;
}

const scope = globalThis as unknown as WorkerScope;
const decoder = new LocalDecoder(platformDecompressors());

scope.addEventListener('message', ({ data: request }) => {
  if (request.type === 'schema') decoder.setSchema(request.schemaId, request.fields);
  else if (request.type === 'reset') decoder.reset();
  else void answer(request.n, request.bytes);
});
scope.postMessage({ type: 'ready' }, []);

async function answer(n: number, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
  try {
    const batch = decoder.decode(bytes, decodeBatchHeader(bytes));
    reply(n, batch instanceof Promise ? await batch : batch);
  } catch (thrown) {
    const { code, message } = toSightlineError(thrown, 'BATCH_BAD');
    scope.postMessage({ type: 'error', n, code, message }, []);
  }
}

function reply(n: number, batch: ColumnBatch | ValueBatch): void {
  if (batch instanceof ValueBatch) {
    const times = batch.times as Float64Array<ArrayBuffer>;
    const priorities = batch.priorities as Uint8Array<ArrayBuffer>;
    return scope.postMessage({ type: 'values', n, times, priorities, values: batch.values }, []);
  }
  const values = batch.values as Float64Array<ArrayBuffer>;
  const texts: unknown[][] = [];
  for (const { kind, path } of batch.fields) if (kind === 'json') texts.push(batch.texts(path) as unknown[]);
  scope.postMessage({ type: 'columns', n, count: batch.count, values, texts }, [values.buffer]);
}
