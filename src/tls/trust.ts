import tls from 'node:tls';
import { SightlineError } from '../base/errors.ts';

/** Authorities by which this process checks servers, beside those that Node knows. */

const trusted: string[] = [];

/** PEM of those that were added, for processes that are to trust them as well. */
export function trustedAuthorities(): readonly string[] {
  return trusted;
}

/** For `fetch`, WebSockets and all else of this process, from now on. Errors: USAGE before Node 24.5. */
export function trustAuthority(certificate: string): void {
  if (typeof tls.setDefaultCACertificates !== 'function') {
    throw new SightlineError(
      'USAGE',
      'this Node takes further authorities by its environment alone: NODE_EXTRA_CA_CERTS',
    );
  }
  trusted.push(certificate);
  tls.setDefaultCACertificates([...tls.getCACertificates('default'), certificate]);
}
