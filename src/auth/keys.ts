import { createHash, randomBytes, randomInt } from 'node:crypto';
import { z } from 'zod';
import { SightlineError } from '../base/errors.ts';
import { GRANTS_MAX, grantText, parseGrant, type Grant } from './grants.ts';
import { isPasswordHash } from './passwords.ts';

/**
 * API keys: 256 random bits, of which the server keeps a SHA-256 alone. So many bits cannot be guessed, so that a hash that is
 * slow to compute, as for passwords, would only make each connection dear. The beginning of a key names it in lists and logs.
 */

export interface ApiKey {
  /** Part of the key itself, and no secret. */
  readonly id: string;
  /** For people; two keys may not share one. */
  readonly name: string;
  /** SHA-256 of the whole key, hexadecimal; undefined: there is no key, but a password. */
  readonly hash?: string | undefined;
  /** Of a person who signs in on the page by name (`passwords.ts`). */
  readonly password?: string | undefined;
  readonly grants: readonly Grant[];
  readonly createdMs: number;
  /** Unix ms; undefined: it does not expire. */
  readonly expiresAtMs?: number | undefined;
}

/** What the file of keys holds. */
export interface KeyRing {
  readonly keys: readonly ApiKey[];
  /** Of tokens of the identity provider: their `jti`. */
  readonly revokedTokens: readonly string[];
}

export const NO_KEYS: KeyRing = { keys: [], revokedTokens: [] };

const PREFIX = 'sightline';
const ID_CHARS = 8;
const SECRET_BYTES = 32;
/** Digits and letters that are not mistaken for each other. */
const ALPHABET = 'abcdefghjkmnpqrstuvwxyz23456789';
const KEY = new RegExp(`^${PREFIX}_([${ALPHABET}]{${ID_CHARS}})_[A-Za-z0-9_-]{43}$`);
/** Keys of one file. */
export const KEYS_MAX = 10_000;
/** Of more the oldest are forgotten: by then they have expired. */
export const REVOKED_MAX = 10_000;
export const TOKEN_ID_CHARS_MAX = 256;
export const KEY_NAME = /^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$/;
export const KEY_NAME_CHARS_MAX = 64;

/** A new key. `text` is shown once, and kept nowhere. */
export function makeKey(parts: {
  readonly name: string;
  readonly grants: readonly Grant[];
  readonly createdMs: number;
  readonly expiresAtMs?: number | undefined;
}): { readonly key: ApiKey; readonly text: string } {
  const id = newId();
  const text = `${PREFIX}_${id}_${randomBytes(SECRET_BYTES).toString('base64url')}`;
  return { key: { id, ...parts, hash: hashOf(text) }, text };
}

/** A person who signs in on the page by name and password, and has no key. `password`: its hash. */
export function makePerson(parts: Parameters<typeof makeKey>[0] & { readonly password: string }): ApiKey {
  return { id: newId(), ...parts };
}

function newId(): string {
  return Array.from({ length: ID_CHARS }, () => ALPHABET[randomInt(ALPHABET.length)]).join('');
}

/** The id of a text that has the form of a key. */
export function idOfKey(text: string): string | undefined {
  return KEY.exec(text)?.[1];
}

export function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

const keySchema = z
  .strictObject({
    id: z.string().regex(new RegExp(`^[${ALPHABET}]{${ID_CHARS}}$`)),
    name: z.string().regex(KEY_NAME),
    sha256: z
      .string()
      .regex(/^[0-9a-f]{64}$/)
      .optional(),
    password: z.string().refine(isPasswordHash, 'is no hash of a password that this version knows').optional(),
    allow: z.array(z.string()).min(1).max(GRANTS_MAX),
    created_at: z.iso.datetime(),
    expires_at: z.iso.datetime().optional(),
  })
  .refine(({ sha256, password }) => sha256 !== undefined || password !== undefined, 'has neither sha256 nor password');
const fileSchema = z.strictObject({
  version: z.literal(1),
  keys: z.array(keySchema).max(KEYS_MAX),
  revoked_tokens: z.array(z.string().min(1).max(TOKEN_ID_CHARS_MAX)).max(REVOKED_MAX).default([]),
});

/** Of a file of keys. Throws CREDENTIALS_UNREADABLE, saying where it is wrong. */
export function readKeys(text: string, path: string): KeyRing {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (thrown) {
    throw unreadable(path, `is not JSON: ${(thrown as Error).message}`, thrown);
  }
  const result = fileSchema.safeParse(parsed);
  if (!result.success) {
    const [issue] = result.error.issues;
    throw unreadable(path, `${issue!.path.join('.') || 'the document'}: ${issue!.message}`);
  }
  const keys = result.data.keys.map(({ id, name, sha256, password, allow, created_at, expires_at }): ApiKey => {
    let grants: Grant[];
    try {
      grants = allow.map(parseGrant);
    } catch (thrown) {
      throw unreadable(path, `key ${id}: ${(thrown as Error).message}`, thrown);
    }
    return {
      id,
      name,
      ...(sha256 !== undefined && { hash: sha256 }),
      ...(password !== undefined && { password }),
      grants,
      createdMs: Date.parse(created_at),
      expiresAtMs: expires_at === undefined ? undefined : Date.parse(expires_at),
    };
  });
  for (const field of ['id', 'name'] as const) {
    const seen = new Set(keys.map((key) => key[field]));
    if (seen.size < keys.length) throw unreadable(path, `two keys have the same ${field}`);
  }
  return { keys, revokedTokens: result.data.revoked_tokens };
}

/** The text of a file of keys. */
export function writeKeys({ keys, revokedTokens }: KeyRing): string {
  const rows = keys.map(({ id, name, hash, password, grants, createdMs, expiresAtMs }) => ({
    id,
    name,
    ...(hash !== undefined && { sha256: hash }),
    ...(password !== undefined && { password }),
    allow: grants.map(grantText),
    created_at: new Date(createdMs).toISOString(),
    ...(expiresAtMs !== undefined && { expires_at: new Date(expiresAtMs).toISOString() }),
  }));
  const revoked = revokedTokens.length === 0 ? {} : { revoked_tokens: revokedTokens.slice(-REVOKED_MAX) };
  return `${JSON.stringify({ version: 1, keys: rows, ...revoked }, undefined, 2)}\n`;
}

export function unreadable(path: string, fault: string, cause?: unknown): SightlineError {
  return new SightlineError('CREDENTIALS_UNREADABLE', `${path}: ${fault}`, { cause });
}
