import type { ERRORS } from './error-catalogue.ts';

/** One of the catalogue, which a page need not load. */
export type ErrorCode = keyof typeof ERRORS;

/** The one error class. `message` names the bad value; `code` is stable. */
export class SightlineError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'SightlineError';
    this.code = code;
  }
}

/** Any thrown value as a SightlineError; any other value becomes `fallback` with the original as its cause. */
export function toSightlineError(thrown: unknown, fallback: ErrorCode = 'INTERNAL'): SightlineError {
  if (thrown instanceof SightlineError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new SightlineError(fallback, message, { cause: thrown });
}
