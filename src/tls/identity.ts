import { createPrivateKey, X509Certificate, type KeyObject } from 'node:crypto';
import { isIP } from 'node:net';
import { createSecureContext } from 'node:tls';
import { SightlineError } from '../base/errors.ts';

/** A certificate with its key, read and found fit to serve by. Pure. */

export interface Identity {
  /** PEM: the server's certificate first, then those that have signed it. */
  readonly certificate: string;
  /** PEM. */
  readonly key: string;
  /** Names and addresses that it is for, as `localhost` and `192.0.2.7`. */
  readonly names: readonly string[];
  /** Unix ms. */
  readonly validFromMs: number;
  readonly validToMs: number;
}

/** What cannot be read, and how messages call it. */
export interface PemFile {
  readonly path: string;
  readonly text: string;
}

/** `nowMs`: the time of day. Errors: CERTIFICATE_UNREADABLE, CERTIFICATE_BAD. */
export function readIdentity(certificate: PemFile, key: PemFile, nowMs: number): Identity {
  const leaf = readCertificate(certificate);
  const privateKey = readKey(key);
  if (!leaf.checkPrivateKey(privateKey)) {
    throw new SightlineError('CERTIFICATE_BAD', `the key ${key.path} does not belong to ${certificate.path}`);
  }
  const [validFromMs, validToMs] = [Date.parse(leaf.validFrom), Date.parse(leaf.validTo)];
  if (nowMs >= validToMs) {
    throw new SightlineError('CERTIFICATE_BAD', `${certificate.path} has expired at ${dateOf(validToMs)}`);
  }
  if (nowMs < validFromMs) {
    throw new SightlineError('CERTIFICATE_BAD', `${certificate.path} counts only from ${dateOf(validFromMs)} on`);
  }
  try {
    // OpenSSL has rules of its own, such as for keys that are too short.
    createSecureContext({ cert: certificate.text, key: key.text });
  } catch (thrown) {
    throw new SightlineError('CERTIFICATE_BAD', `${certificate.path}: ${(thrown as Error).message}`, { cause: thrown });
  }
  return { certificate: certificate.text, key: key.text, names: namesOf(leaf), validFromMs, validToMs };
}

/** The first one of a file. Errors: CERTIFICATE_UNREADABLE. */
export function readCertificate({ path, text }: PemFile): X509Certificate {
  try {
    return new X509Certificate(text);
  } catch (thrown) {
    throw new SightlineError('CERTIFICATE_UNREADABLE', `${path} is no certificate in PEM form`, { cause: thrown });
  }
}

function readKey({ path, text }: PemFile): KeyObject {
  try {
    return createPrivateKey(text);
  } catch (thrown) {
    // As RFC 7468 §11 and RFC 1421 §4.6.1.1 mark it.
    const fault = text.includes('ENCRYPTED')
      ? 'is encrypted: the server needs it without a passphrase'
      : 'is no private key in PEM form';
    throw new SightlineError('CERTIFICATE_UNREADABLE', `${path} ${fault}`, { cause: thrown });
  }
}

function namesOf({ subjectAltName = '' }: X509Certificate): string[] {
  return [...subjectAltName.matchAll(/(?:DNS|IP Address):([^,"]+)/g)].map(([, name]) => normalName(name!));
}

/** One way to write it, of the several that there are for an IPv6 address. */
export function normalName(name: string): string {
  if (isIP(name) !== 6) return name.toLowerCase();
  return URL.parse(`http://[${name}]`)!.hostname.slice(1, -1);
}

function dateOf(ms: number): string {
  return new Date(ms).toISOString();
}
