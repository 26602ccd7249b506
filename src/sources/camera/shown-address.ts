import { REDACTED, redactAddress } from '../../log/redact.ts';

/** The address of a camera as it may be shown to anybody: without user and password, and whatever else in it may be a secret. */
export function shownAddress(url: string): string {
  return redactAddress(url).replace(`${REDACTED}@`, '');
}
