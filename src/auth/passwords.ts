import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto';
import { SightlineError } from '../base/errors.ts';

/**
 * Passwords of people who sign in on the page, as scrypt (RFC 7914). A password is guessable, unlike a key, so that checking it has to be
 * dear: 2^15, 8 and 3 are one of the settings that OWASP's Password Storage Cheat Sheet gives as equally strong. The usual 2^17, 8
 * and 1 would take 128 MiB for each check; this one takes 32 MiB, and the same time, about a quarter of a second of one core.
 */

const COST_LOG = 15;
const BLOCK = 8;
const PARALLEL = 3;
const SALT_BYTES = 16;
const HASH_BYTES = 32;
/** Of one check: `128 · cost · block`. */
const CHECK_BYTES = 128 * 2 ** COST_LOG * BLOCK;
/** Checks at once: each takes a thread of libuv's pool of four, which files and names need as well. */
const CHECKS_AT_ONCE = 2;
/** Checks that wait. */
const CHECKS_WAITING_MAX = 32;
export const PASSWORD_CHECK_BYTES = CHECKS_AT_ONCE * CHECK_BYTES;

export const PASSWORD_CHARS_MIN = 12;
export const PASSWORD_CHARS_MAX = 1_024;

/** In the PHC string format. A file of keys cannot make a check take more memory than one of ours. */
const HASH = /^\$scrypt\$ln=(1[45]),r=8,p=(\d)\$([A-Za-z0-9+/]{22})\$([A-Za-z0-9+/]{43})$/;

export function isPasswordHash(text: string): boolean {
  return HASH.test(text);
}

/** Throws USAGE for one that is too short or too long. */
export async function hashPassword(password: string): Promise<string> {
  const { length } = password;
  if (length < PASSWORD_CHARS_MIN || length > PASSWORD_CHARS_MAX) {
    throw new SightlineError('USAGE', `a password has ${PASSWORD_CHARS_MIN} to ${PASSWORD_CHARS_MAX} characters`);
  }
  const salt = randomBytes(SALT_BYTES);
  const hash = await derive(password, { salt, costLog: COST_LOG, parallel: PARALLEL });
  return `$scrypt$ln=${COST_LOG},r=${BLOCK},p=${PARALLEL}$${unpadded(salt)}$${unpadded(hash)}`;
}

/** Stands for that of a name that there is not: so that it takes as long to say no. */
const NOBODY = `$scrypt$ln=${COST_LOG},r=${BLOCK},p=${PARALLEL}$${'A'.repeat(22)}$${'A'.repeat(43)}`;

/** Checks passwords beside the main thread, few at a time. */
export class PasswordChecker {
  #running = 0;
  readonly #waiting: (() => void)[] = [];

  /** `hash`: undefined where there is none, which takes the same time. Errors: CREDENTIALS_UNCHECKED where too many wait. */
  async check(password: string, hash: string | undefined): Promise<boolean> {
    if (this.#waiting.length >= CHECKS_WAITING_MAX) {
      throw new SightlineError('CREDENTIALS_UNCHECKED', 'too many people sign in at once: try again');
    }
    await this.#turn();
    try {
      return (await matches(password, hash ?? NOBODY)) && hash !== undefined;
    } finally {
      const next = this.#waiting.shift();
      // It takes over the place of this one.
      if (next) next();
      else this.#running--;
    }
  }

  async #turn(): Promise<void> {
    if (this.#running < CHECKS_AT_ONCE) this.#running++;
    else await new Promise<void>((done) => this.#waiting.push(done));
  }
}

async function matches(password: string, text: string): Promise<boolean> {
  const [, costLog, parallel, salt, hash] = HASH.exec(text)!;
  const wanted = Buffer.from(hash!, 'base64');
  const own = await derive(password, {
    salt: Buffer.from(salt!, 'base64'),
    costLog: Number(costLog),
    parallel: Number(parallel),
  });
  return timingSafeEqual(own, wanted);
}

function derive(
  password: string,
  { salt, costLog, parallel }: { salt: Uint8Array; costLog: number; parallel: number },
): Promise<Buffer> {
  const options = { N: 2 ** costLog, r: BLOCK, p: parallel, maxmem: 2 * CHECK_BYTES };
  return new Promise((resolve, reject) => {
    // The same letters may come in several forms, by the keyboard (Unicode, UAX #15).
    scrypt(password.normalize('NFKC'), salt, HASH_BYTES, options, (error, hash) =>
      error ? reject(error) : resolve(hash),
    );
  });
}

function unpadded(bytes: Buffer): string {
  return bytes.toString('base64').replace(/=+$/, '');
}
