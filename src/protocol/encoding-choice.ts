import {
  type BatchHead,
  type BatchMessage,
  type Compressors,
  decodeBatch,
  decodeBatchHeader,
  type Decompressors,
  encodeBatch,
} from './batch.ts';
import type { Compression, PayloadCodec } from './telemetry.ts';

/** What one way of writing a topic's messages was measured to cost, for each message. */
export interface EncodingTrial {
  readonly codec: PayloadCodec;
  readonly compression: Compression;
  readonly bytes: number;
  /** Done once for all readers. */
  readonly encodeNs: number;
  /** Done by each reader. */
  readonly decodeNs: number;
}

export interface EncodingConditions {
  readonly readers: number;
  /** What a byte costs on its way to one reader: 80 on a line of 100 Mbit/s, about 1 within one machine. */
  readonly nsPerByte: number;
  /** What is in force; it stays unless another is clearly better. */
  readonly current?: EncodingTrial;
}

/** A change costs a schema and a cold cache: so much has to be gained. */
const GAIN_MIN = 0.1;

/**
 * The trial that costs a reader the least time for each message: its share of the encoding, the way, and the decoding.
 * `undefined` only when there are no trials.
 */
export function chooseEncoding(
  trials: readonly EncodingTrial[],
  conditions: EncodingConditions,
): EncodingTrial | undefined {
  const { readers, nsPerByte, current } = conditions;
  const costNs = (trial: EncodingTrial) =>
    trial.encodeNs / Math.max(1, readers) + trial.bytes * nsPerByte + trial.decodeNs;
  let best: EncodingTrial | undefined;
  for (const trial of trials) if (best === undefined || costNs(trial) < costNs(best)) best = trial;
  if (best === undefined || current === undefined) return best;
  return costNs(best) < costNs(current) * (1 - GAIN_MIN) ? best : current;
}

/**
 * Each way of writing these messages tried once, there and back, as this machine does it. A compression that was not worth
 * it, as `encodeBatch` finds, is counted as what came out: none. `nowMs`: a clock with fractions, for the durations.
 */
export function tryEncodings(
  heads: readonly BatchHead[],
  messages: readonly BatchMessage[],
  compressors: Compressors,
  decompressors: Decompressors,
  nowMs: () => number,
): EncodingTrial[] {
  return heads.map((head) => {
    const beganMs = nowMs();
    const bytes = encodeBatch(head, messages, compressors);
    const encodedMs = nowMs();
    decodeBatch(bytes, () => head.schema, decompressors);
    const decodedMs = nowMs();
    const perMessage = 1 / messages.length;
    return {
      codec: head.codec,
      compression: decodeBatchHeader(bytes).compression,
      bytes: bytes.length * perMessage,
      encodeNs: (encodedMs - beganMs) * 1e6 * perMessage,
      decodeNs: (decodedMs - encodedMs) * 1e6 * perMessage,
    };
  });
}
