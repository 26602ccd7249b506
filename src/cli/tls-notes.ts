import { isLoopback } from '../base/addresses.ts';
import { authorityFiles, fingerprintOf } from '../tls/authority.ts';
import { ownAddresses, ownNames } from '../tls/names.ts';
import type { Config } from '../config/schema.ts';
import type { CliContext } from './context.ts';

/** How other machines come to trust a server whose certificate it has made itself. */

export interface TlsFacts {
  readonly host: string;
  readonly port: string;
  /** Such as `/sightline`; empty: none. */
  readonly basePath: string;
  /** The certificate of the authority, and its SHA-256. */
  readonly authority: string;
  readonly fingerprint: string;
  /** Of this machine. */
  readonly addresses: readonly string[];
  readonly names: readonly string[];
}

/** Addresses for other machines; none where they cannot reach it. The first one is the likeliest. */
export function addressesOf({
  host,
  port,
  basePath,
  addresses,
  names,
}: Omit<TlsFacts, 'authority' | 'fingerprint'>): string[] {
  if (isLoopback(host)) return [];
  const isEvery = /^[0:.]+$/.test(host);
  const far = addresses.filter((address) => !isLoopback(address));
  // IPv4 first: people type it, and some networks carry nothing else.
  const sorted = [...far.filter((one) => !one.includes(':')), ...names, ...far.filter((one) => one.includes(':'))];
  return (isEvery ? sorted : [host]).map((one) => `https://${one.includes(':') ? `[${one}]` : one}:${port}${basePath}`);
}

export function tlsLines(facts: TlsFacts): string[] {
  const [first, ...others] = addressesOf(facts);
  const own = [
    `The certificate is signed by an authority of this machine: ${facts.authority}`,
    `  SHA-256 ${facts.fingerprint}`,
    `  Commands and programs here: SIGHTLINE_CA=${facts.authority} (or --ca), for Node NODE_EXTRA_CA_CERTS, for curl --cacert`,
  ];
  if (first === undefined)
    return [...own, '  Other machines cannot reach the server: --host 0.0.0.0 lets them (and sightline keys add).'];
  return [
    `Other machines: ${[first, ...others].join('  ')}`,
    ...own,
    `  It is at ${first}/ca.crt, too. Compare the SHA-256 on the device before you trust it.`,
    '  iPhone, iPad: open that address in Safari, allow the profile, install it (Settings, Profile Downloaded), then switch it on in',
    '    Settings, General, About, Certificate Trust Settings.',
    '  Android: open that address, then Settings, Security, Encryption & credentials, Install a certificate, CA certificate.',
    '  Others: docs/tls.md',
  ];
}

/** After the line `ready`, where the server has made its certificate itself. */
export async function tellTls(context: CliContext, { server }: Config, url: string): Promise<void> {
  const { auto, cert_file: own, folder } = server.tls;
  if (!auto || own !== undefined) return;
  const { authority } = authorityFiles(folder);
  const facts = {
    host: server.host,
    port: new URL(url).port || '443',
    basePath: new URL(url).pathname.replace(/\/$/, ''),
    authority,
    fingerprint: await fingerprintOf(authority),
    addresses: ownAddresses(),
    names: ownNames(),
  };
  for (const line of tlsLines(facts)) context.text(line);
  const [first] = addressesOf(facts);
  if (first === undefined || !context.isOutputTerminal) return;
  const { renderUnicodeCompact } = await import('uqr');
  for (const line of renderUnicodeCompact(first, { border: 2 }).split('\n')) context.out(line);
}
