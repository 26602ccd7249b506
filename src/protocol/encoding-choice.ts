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
