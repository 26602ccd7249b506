/**
 * The seeds of the worlds that a simulation runs: the first `few` of them, a thousand in `npm run test:long`. `RANDOM_SEED=<seed>`
 * runs one alone.
 */
export function worldSeeds(few: number): readonly number[] {
  const only = process.env['RANDOM_SEED'];
  if (only !== undefined) return [Number(only)];
  const count = process.env['RANDOM_WORLDS'] ?? few;
  return Array.from({ length: Number(count) }, (_, i) => i + 1);
}
