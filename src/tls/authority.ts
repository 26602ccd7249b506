import { createPrivateKey, generateKeyPairSync, randomUUID, X509Certificate } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SightlineError } from '../base/errors.ts';
import { normalName, readCertificate, readIdentity, type Identity } from './identity.ts';

/**
 * A certificate authority of this machine alone, and the certificate of its server. Devices come to trust the authority once; the
 * server's certificate is made anew whenever it is time, or the machine has other names.
 */

export interface AuthorityFiles {
  /** May go to everybody. */
  readonly authority: string;
  /** The server's certificate, the authority's, and the server's key, in one file: nobody finds two that do not belong together. */
  readonly server: string;
}

const DAY_MS = 86_400_000;
const AUTHORITY_DAYS = 3_650;
/** Apple's systems take no longer ones from public authorities (398 days), and 825 days from private ones. */
const SERVER_DAYS = 397;
const RENEW_DAYS = 30;
/** Clocks of other machines may be behind. */
const EARLIER_MS = DAY_MS;
const OWNER_ONLY = 0o600;

export function authorityFiles(folder: string): AuthorityFiles {
  return { authority: join(folder, 'authority', 'ca.crt'), server: join(folder, 'server.pem') };
}

/** SHA-256 of a certificate, as people compare it. Errors: CERTIFICATE_UNREADABLE. */
export async function fingerprintOf(path: string): Promise<string> {
  return readCertificate({ path, text: await readFile(path, 'utf8') }).fingerprint256;
}

/**
 * Makes what there is not yet in the folder, and the server's certificate anew where it would end soon, lacks one of the names, or is
 * not the authority's. `nowMs`: the time of day. Errors: OUTPUT_FAILED, CERTIFICATE_UNREADABLE.
 */
export async function maintainAuthority(
  folder: string,
  { machine, names, nowMs }: { readonly machine: string; readonly names: readonly string[]; readonly nowMs: number },
): Promise<void> {
  const files = authorityFiles(folder);
  const authority = await openAuthority(folder, machine, nowMs);
  const current = await readText(files.server);
  if (current !== undefined && isFit(current, { path: files.server, authority, names, nowMs })) return;
  const { signServer } = await signing();
  const { privateKey, publicKey } = newKey();
  const validFromMs = nowMs - EARLIER_MS;
  const certificate = signServer(
    {
      subject: { name: machine.slice(0, 64), publicKey },
      issuer: { name: commonNameOf(authority.certificate), publicKey: authority.certificate.publicKey },
      privateKey: authority.privateKey,
      validFromMs,
      validToMs: validFromMs + SERVER_DAYS * DAY_MS,
    },
    names,
  );
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' });
  const next = `${files.server}.${randomUUID()}.tmp`;
  await attempt(folder, async () => {
    await writeFile(next, `${certificate}${authority.certificate.toString()}${key}`, { mode: OWNER_ONLY, flag: 'wx' });
    await rename(next, files.server);
  });
}

interface Authority {
  readonly certificate: X509Certificate;
  readonly privateKey: ReturnType<typeof createPrivateKey>;
}

/** The one of the folder, or a new one where there is none, or where it ends before what it would sign. */
async function openAuthority(folder: string, machine: string, nowMs: number): Promise<Authority> {
  const place = join(folder, 'authority');
  const [certificateText, keyText] = await Promise.all(['ca.crt', 'ca.key'].map((name) => readText(join(place, name))));
  if (certificateText === undefined && keyText === undefined) {
    await makeAuthority(folder, machine, nowMs);
    return await openAuthority(folder, machine, nowMs);
  }
  const authority = readAuthority(place, certificateText ?? '', keyText ?? '');
  if (Date.parse(authority.certificate.validTo) > nowMs + SERVER_DAYS * DAY_MS) return authority;
  const ended = `${place}-${authority.certificate.serialNumber.slice(0, 8).toLowerCase()}`;
  await attempt(folder, () => rename(place, ended));
  return await openAuthority(folder, machine, nowMs);
}

/** Devices may trust it: what is damaged is not silently replaced by another one. */
function readAuthority(place: string, certificateText: string, keyText: string): Authority {
  try {
    const certificate = new X509Certificate(certificateText);
    const privateKey = createPrivateKey(keyText);
    if (certificate.checkPrivateKey(privateKey)) return { certificate, privateKey };
  } catch {
    // Told below.
  }
  throw new SightlineError(
    'CERTIFICATE_UNREADABLE',
    `${place} holds no authority, or a damaged one: remove the folder, and a new one is made, which devices have to be told to trust`,
  );
}

/** Both of its files come into being at once, so that of two servers that start together one finds the authority of the other. */
async function makeAuthority(folder: string, machine: string, nowMs: number): Promise<void> {
  const { signAuthority } = await signing();
  const { privateKey, publicKey } = newKey();
  const validFromMs = nowMs - EARLIER_MS;
  const certificate = signAuthority({
    // Authorities of several machines stand side by side in a device's list, and a new one of the same machine is another.
    subject: { name: `Sightline of ${machine.slice(0, 40)} ${randomUUID().slice(0, 4)}`, publicKey },
    privateKey,
    validFromMs,
    validToMs: validFromMs + AUTHORITY_DAYS * DAY_MS,
  });
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' });
  const next = join(folder, `authority.${randomUUID()}.tmp`);
  await attempt(folder, async () => {
    await mkdir(next, { recursive: true, mode: 0o700 });
    try {
      await writeFile(join(next, 'ca.crt'), certificate, { mode: OWNER_ONLY });
      await writeFile(join(next, 'ca.key'), key, { mode: OWNER_ONLY });
      await rename(next, join(folder, 'authority'));
    } catch (thrown) {
      // Another server was faster.
      if (!['ENOTEMPTY', 'EEXIST', 'EPERM'].includes((thrown as NodeJS.ErrnoException).code ?? '')) throw thrown;
    } finally {
      await rm(next, { recursive: true, force: true });
    }
  });
}

function isFit(
  text: string,
  terms: {
    readonly path: string;
    readonly authority: Authority;
    readonly names: readonly string[];
    readonly nowMs: number;
  },
): boolean {
  const { path, authority, nowMs } = terms;
  let identity: Identity;
  try {
    identity = readIdentity({ path, text }, { path, text }, nowMs);
  } catch {
    return false;
  }
  if (!new X509Certificate(text).verify(authority.certificate.publicKey)) return false;
  const has = new Set(identity.names);
  return identity.validToMs - nowMs > RENEW_DAYS * DAY_MS && terms.names.every((name) => has.has(normalName(name)));
}

/** Its libraries take their time to load, and are seldom needed. */
function signing() {
  return import('./sign.ts');
}

function newKey() {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' });
}

function commonNameOf({ subject }: X509Certificate): string {
  return /^CN=(.*)$/m.exec(subject)![1]!;
}

/** undefined: there is no such file. */
async function readText(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    const { message } = thrown as Error;
    throw new SightlineError('CERTIFICATE_UNREADABLE', `${path} cannot be read: ${message}`, { cause: thrown });
  }
}

async function attempt(folder: string, work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (thrown) {
    const { message } = thrown as Error;
    throw new SightlineError('OUTPUT_FAILED', `no certificate can be made in ${folder}: ${message}`, { cause: thrown });
  }
}
