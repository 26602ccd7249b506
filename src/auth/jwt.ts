import { createRemoteJWKSet, customFetch, errors, jwtVerify, type JWTPayload, type RemoteJWKSet } from 'jose';
import { wallTimeMs, type Clock } from '../base/clock.ts';
import { SightlineError } from '../base/errors.ts';
import type { Outbound } from '../net/outbound.ts';
import { GRANTS_MAX, parseGrant, type Grant } from './grants.ts';
import { TOKEN_ID_CHARS_MAX } from './keys.ts';
import type { Verified } from './verified.ts';

/** JSON Web Tokens of an identity provider (RFC 7519), checked by the keys that it publishes (RFC 7517). */

export interface JwtSettings {
  readonly jwksUrl: string;
  readonly issuer: string;
  readonly audience: string;
  /** By name: a token does not choose how it is checked. */
  readonly algorithms: readonly string[];
  /** The claim that holds permissions: a list of texts, or one text with spaces between them. */
  readonly permissionsClaim: string;
}

/** A provider publishes a few keys of some kilobytes. */
const JWKS_BYTES_MAX = 256 * 1024;
const JWKS_TIMEOUT_MS = 5_000;
const JWKS_AGE_MS = 600_000;
/** A key that is not known is looked for again, but no more often than this. */
const JWKS_COOLDOWN_MS = 30_000;
/** Clocks of provider and server may differ by so much. */
const TOLERANCE_S = 5;
const NAME_CHARS_MAX = 128;

export class JwtVerifier {
  readonly #clock: Clock;
  readonly #settings: JwtSettings;
  readonly #keys: RemoteJWKSet;

  constructor({
    clock,
    settings,
    outbound,
  }: {
    readonly clock: Clock;
    readonly settings: JwtSettings;
    readonly outbound: Outbound;
  }) {
    this.#clock = clock;
    this.#settings = settings;
    this.#keys = createRemoteJWKSet(new URL(settings.jwksUrl), {
      timeoutDuration: JWKS_TIMEOUT_MS,
      cacheMaxAge: JWKS_AGE_MS,
      cooldownDuration: JWKS_COOLDOWN_MS,
      [customFetch]: async (url, { headers, signal }) =>
        await outbound.fetch(url, {
          headers: Object.fromEntries(headers),
          signal,
          timeoutMs: JWKS_TIMEOUT_MS,
          bytesMax: JWKS_BYTES_MAX,
        }),
    });
  }

  /** Whether a credential has the form of a token. */
  static isToken(credential: string): boolean {
    return /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*$/.test(credential);
  }

  /** Errors: CREDENTIALS_BAD, CREDENTIALS_EXPIRED, CREDENTIALS_UNCHECKED where the provider's keys cannot be had. */
  async verify(token: string): Promise<Verified> {
    const { issuer, audience, algorithms, permissionsClaim } = this.#settings;
    try {
      const { payload } = await jwtVerify(token, this.#keys, {
        issuer,
        audience,
        algorithms: [...algorithms],
        currentDate: new Date(wallTimeMs(this.#clock)),
        clockTolerance: TOLERANCE_S,
        requiredClaims: ['sub', 'exp'],
      });
      return verifiedOf(payload, payload[permissionsClaim], permissionsClaim);
    } catch (thrown) {
      throw refusalOf(thrown);
    }
  }
}

function verifiedOf({ iss, sub = '', exp = 0, jti }: JWTPayload, permissions: unknown, claim: string): Verified {
  const grants = grantsOf(permissions);
  if (grants.length === 0) throw bad(`its claim "${claim}" has no permission of this server`);
  if (sub === '' || sub.length > NAME_CHARS_MAX)
    throw bad(`its subject has 0 or more than ${NAME_CHARS_MAX} characters`);
  // What could not be revoked later is not let in.
  if (jti !== undefined && (typeof jti !== 'string' || jti.length > TOKEN_ID_CHARS_MAX))
    throw bad('its jti is too long');
  return { id: `jwt:${iss} ${sub}`, name: sub, grants, expiresAtMs: exp * 1000, tokenId: jti };
}

/** Others are left out: a claim such as `scope` holds what is meant for other programs as well. */
function grantsOf(claim: unknown): Grant[] {
  const texts = typeof claim === 'string' ? claim.split(' ') : Array.isArray(claim) ? claim : [];
  const grants: Grant[] = [];
  for (const text of texts) {
    if (typeof text !== 'string' || grants.length >= GRANTS_MAX) continue;
    try {
      grants.push(parseGrant(text));
    } catch {
      // Not meant for this server.
    }
  }
  return grants;
}

function refusalOf(thrown: unknown): SightlineError {
  if (thrown instanceof SightlineError) return thrown;
  const options = { cause: thrown };
  if (thrown instanceof errors.JWTExpired)
    return new SightlineError('CREDENTIALS_EXPIRED', 'the token has expired', options);
  const isOfToken =
    thrown instanceof errors.JWTClaimValidationFailed ||
    thrown instanceof errors.JWTInvalid ||
    thrown instanceof errors.JWSInvalid ||
    thrown instanceof errors.JWSSignatureVerificationFailed ||
    thrown instanceof errors.JWKSNoMatchingKey ||
    thrown instanceof errors.JWKSMultipleMatchingKeys ||
    thrown instanceof errors.JOSEAlgNotAllowed ||
    thrown instanceof errors.JOSENotSupported;
  if (isOfToken) return bad((thrown as Error).message, thrown);
  return new SightlineError(
    'CREDENTIALS_UNCHECKED',
    `the keys of auth.jwt.jwks_url cannot be had: ${thrown instanceof Error ? thrown.message : String(thrown)}`,
    options,
  );
}

function bad(why: string, cause?: unknown): SightlineError {
  return new SightlineError('CREDENTIALS_BAD', `the token does not count: ${why}`, { cause });
}
