import { platformDecompressors } from '../../../src/client/compression.ts';
import { decodingWorker } from '../../../src/client/index.ts';
import {
  LocalDecoder,
  ValueBatch,
  WorkerDecoder,
  type BatchDecoder,
  type DecodedBatch,
} from '../../../src/client/telemetry-decoder.ts';
import { decodeBatchHeader } from '../../../src/protocol/batch.ts';
import type { DecodeOptions } from '../tab-api.ts';

/** One batch at a time, decoded where it came or in the worker. */

const EVERY_MS = 4;

const here = new LocalDecoder(platformDecompressors());
let there: WorkerDecoder | undefined;
/** So that nothing is left out: the sum of what was decoded. */
let sum = 0;

export async function loadWorker(): Promise<void> {
  const worker = decodingWorker();
  if (worker === undefined) throw new Error('the page has no worker');
  const loaded = new Promise<void>((resolve) => worker.addEventListener('message', () => resolve()));
  // Everything goes over that can.
  there = new WorkerDecoder(worker, new LocalDecoder(platformDecompressors()), 0);
  await loaded;
}

export async function decodeBatches({ batch, fields, place, times }: DecodeOptions): Promise<void> {
  const decoder: BatchDecoder = place === 'worker' ? there! : here;
  const bytes = Uint8Array.from(atob(batch), (character) => character.charCodeAt(0));
  if (fields.length > 0) decoder.setSchema(1, fields);
  for (let i = 0; i < times; i += 1) {
    await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
    // It goes over with the request.
    const own = bytes.slice();
    if (own.length === 0) continue;
    const decoded = decoder.decode(own, decodeBatchHeader(own), 'brief');
    lookAt(decoded instanceof Promise ? await decoded : decoded);
  }
  if (!Number.isFinite(sum)) throw new Error('the batches are not what they were');
}

function lookAt(batch: DecodedBatch): void {
  sum += batch instanceof ValueBatch ? batch.objects().length : batch.column('pose.x')![batch.count - 1]!;
}
