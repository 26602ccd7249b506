import { z } from 'zod';

/** Fields of the documents. Units stand in their names; `null`: not measured, or nothing to measure yet. */

export const count = () => z.int().min(0);
export const amount = () => z.number().min(0);
export const share = (what: string) => z.number().min(0).max(1).describe(`${what}, 0 to 1`);
export const unixMs = (what = 'when this was read') => z.number().describe(`${what}, Unix ms`);

export function each<K extends string, S extends z.ZodType>(keys: readonly K[], schema: () => S) {
  return z.object(Object.fromEntries(keys.map((key) => [key, schema()])) as Record<K, S>);
}
