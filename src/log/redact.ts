import type { LogFields, LogValue } from './events.ts';

/** Stands in place of a secret. */
export const REDACTED = '[redacted]';

/** A field, or a parameter of a query, with one of these as a word of its name is never written. */
export const SECRET_WORDS = [
  'apikey',
  'auth',
  'authorization',
  'cookie',
  'credential',
  'jwt',
  'key',
  'pass',
  'passphrase',
  'passwd',
  'password',
  'psw',
  'pwd',
  'secret',
  'sig',
  'signature',
  'ticket',
  'token',
] as const;

/** Pairs within pairs that are looked into. */
const PAIRS_DEEP_MAX = 8;
/** Longest field; the rest is cut. */
const TEXT_CHARS_MAX = 2_000;
const SECRETS: ReadonlySet<string> = new Set(SECRET_WORDS.flatMap((word) => [word, `${word}s`]));
/** The same for whom a password belongs to: no secret in a log, and nobody's business in the address of a camera. */
const USERS: ReadonlySet<string> = new Set(['account', 'login', 'user', 'userid', 'username', 'usr']);
/** `name=value` in a query or a form. */
const PAIR = /([\w.%~-]+)=([^\s&;,"'<>#]+)/g;
/** The last one may have been cut. */
const JSON_PAIR = /"([\w.-]+)"\s*:\s*"[^"]*("|$)/g;
/** `user:password@` of an address, such as that of a camera. A password may have an `@` in it. */
const USER_INFO = /\b([a-z][a-z0-9+.-]*:\/\/)[^\s/?#"'<>]*@/gi;
/** The same with what no address may have in it, and people write all the same; but `host:8080/a@b` has none. */
const ODD_USER_INFO = /\b([a-z][a-z0-9+.-]*:\/\/)[^\s/?#"'<>@:]*:(?!\d+(?:[/?#]|$))[^\s"'<>]*@/gi;
/** An address whose end was cut: what is left may be a password. */
const CUT_USER_INFO = /\b([a-z][a-z0-9+.-]*:\/\/)[^\s/?#"'<>@:]*:[^\s"'<>@]*…$/i;
/** The same in a query, percent-encoded. */
const ENCODED_USER_INFO = /(%3a%2f%2f)[^\s&"'<>]*(%40)/gi;
const AUTHORIZATION = /\b(bearer|basic)\s+[\w.~+/=-]{4,}/gi;
/** Keys and tickets of this server; of a key the id may stay. */
const OWN = /\b(sightline_(?:ticket_|[a-z0-9]{8}_))[\w-]{8,}/g;
/** A value that nobody types: long, with letters and digits, and no name of a file. */
const TOKEN = /^(?=.*\d)(?=.*[a-z])[\w+/~%-]{16,}=*$/i;
/** A JSON Web Token (RFC 7515 §3.1): its header is an object in base64. */
const JWT = /\beyJ[\w-]{8,}\.[\w-]{4,}(\.[\w-]*)?/g;
/** Of a password (`auth/passwords.ts`). */
const PASSWORD_HASH = /\$scrypt\$[^\s"']+/g;

/** The fields as they may be written: without secrets, and none of them longer than 2,000 characters. */
export function redactFields(fields: LogFields): LogFields {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [name, isSecretName(name) ? REDACTED : redactValue(value)]),
  );
}

function redactValue(value: LogValue | undefined): LogValue | undefined {
  if (typeof value === 'string') return redactText(value);
  return typeof value === 'object' && value !== null ? value.map((text) => redactText(text)) : value;
}

/** A text without anything that looks like a secret, and with no more than `charsMax` characters and a sign that it was cut. */
export function redactText(text: string, charsMax: number = TEXT_CHARS_MAX): string {
  const short = text.length > charsMax ? `${text.slice(0, charsMax)}…` : text;
  const isHidden = short.includes('://') ? isOfSomebody : isSecretName;
  return short
    .replaceAll(USER_INFO, `$1${REDACTED}@`)
    .replaceAll(ODD_USER_INFO, `$1${REDACTED}@`)
    .replace(CUT_USER_INFO, `$1${REDACTED}…`)
    .replaceAll(ENCODED_USER_INFO, `$1${REDACTED}$2`)
    .replaceAll(OWN, `$1${REDACTED}`)
    .replaceAll(JWT, REDACTED)
    .replaceAll(PASSWORD_HASH, REDACTED)
    .replaceAll(AUTHORIZATION, `$1 ${REDACTED}`)
    .replaceAll(JSON_PAIR, (pair, name: string) => (isSecretName(name) ? `"${name}":"${REDACTED}"` : pair))
    .replaceAll(PAIR, (_pair, name: string, value: string) => shownPair(name, value, isHidden));
}

/**
 * The address of a camera as it may be shown: without user and password, and without what in its query may be one of them. What is no whole
 * address is shown from behind its last `@` on: it may be one in which something was mistyped.
 */
export function redactAddress(text: string): string {
  const whole = text.slice(0, TEXT_CHARS_MAX);
  const known = /^[a-z][a-z0-9+.-]*:\/\//i.test(whole) ? whole : whole.replace(/^[^]*@/, `${REDACTED}@`);
  return redactText(
    known.replaceAll(PAIR, (_pair, name: string, value: string) => shownPair(name, value, isHiddenInAddress)),
  );
}

function isHiddenInAddress(name: string, value: string): boolean {
  return isOfSomebody(name) || TOKEN.test(value);
}

/** Some cameras have pairs within a pair: `user=admin_password=x_channel=1`. */
function shownPair(name: string, value: string, isHidden: (name: string, value: string) => boolean, depth = 0): string {
  if (isHidden(name, value) || depth === PAIRS_DEEP_MAX) return `${name}=${REDACTED}`;
  const inner = value.replaceAll(PAIR, (_pair, deeper: string, end: string) =>
    shownPair(deeper, end, isHidden, depth + 1),
  );
  return `${name}=${inner}`;
}

/** `accessToken`, `x-api-key` and `access%5Ftoken` too. */
function isSecretName(name: string): boolean {
  return wordsOf(name).some((word) => SECRETS.has(word));
}

/** Where there are addresses: who comes in by a password is part of it. */
function isOfSomebody(name: string): boolean {
  return isSecretName(name) || wordsOf(name).some((word) => USERS.has(word));
}

function wordsOf(name: string): string[] {
  return name
    .replaceAll(/%[0-9a-f]{2}/gi, '_')
    .replaceAll(/([a-z0-9])([A-Z])/g, '$1_$2')
    .toLowerCase()
    .split(/[^a-z0-9]+/);
}
