/** `npm run test:long`. */
export const isLongRun = process.env['REPETITIONS'] === '1';

/**
 * Of the forms of a test: the first ones, of which each shows something of its own, and, in `npm run test:long` alone, those that show the same
 * again.
 */
export function withRepetitions<T>(forms: readonly T[], repetitions: readonly T[]): readonly T[] {
  return isLongRun ? [...forms, ...repetitions] : forms;
}
