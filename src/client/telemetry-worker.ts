import { toSightlineError } from '../base/errors.ts';
import { platformDecompressors } from './compression.ts';
import type { DecoderReply, DecoderRequest, RawBatch } from './telemetry-decoder.ts';
import { LocalDecoder } from './telemetry-decoder.ts';

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
    const raw = decoder.decodeRaw(bytes);
    reply(n, raw instanceof Promise ? await raw : raw);
  } catch (thrown) {
    const { code, message } = toSightlineError(thrown, 'BATCH_BAD');
    scope.postMessage({ type: 'error', n, code, message }, []);
  }
}

function reply(n: number, raw: RawBatch): void {
  if (raw.kind === 'values') return scope.postMessage({ type: 'values', n, batch: raw }, []);
  const { batch, plainBytes } = raw;
  const values = batch.values as Float64Array<ArrayBuffer>;
  const texts: unknown[][] = [];
  for (const { kind, path } of batch.fields) if (kind === 'json') texts.push(batch.texts(path) as unknown[]);
  const message = {
    type: 'columns' as const,
    n,
    count: batch.count,
    values,
    texts,
    plainBytes,
  } satisfies DecoderReply;
  scope.postMessage(message, [values.buffer]);
}
