/** When clients that a stopping server sends away, or does not let in, are told to come back. The next one may be there by then; if not, they back off. */
export const RETRY_AFTER_MS = 1_000;
