import { existsSync, readFileSync } from 'node:fs';
import { SightlineError } from '../base/errors.ts';
import type { Config } from '../config/schema.ts';
import { authorityFiles } from '../tls/authority.ts';
import { readCertificate } from '../tls/identity.ts';
import { trustAuthority } from '../tls/trust.ts';

/** By which authority a command checks a server. */

/** Errors: CERTIFICATE_UNREADABLE, USAGE. */
export function trust(path: string): void {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (thrown) {
    throw new SightlineError('CERTIFICATE_UNREADABLE', `${path} cannot be read: ${(thrown as Error).message}`);
  }
  readCertificate({ path, text });
  trustAuthority(text);
}

/** The authority of this machine, where its server uses one. */
export function trustOwn({ tls: { auto, cert_file: own, folder } }: Config['server']): void {
  const { authority } = authorityFiles(folder);
  if (auto && own === undefined && existsSync(authority)) trust(authority);
}
