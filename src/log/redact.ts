import type { LogFields, LogValue } from './events.ts';

/** Stands in place of a secret. */
export const REDACTED = '[redacted]';

/** A field, or a parameter of a query, with one of these as a word of its name is never written. */
export const SECRET_WORDS = [
  'apikey',
  'authorization',
  'cookie',
  'credential',
  'key',
  'passphrase',
  'passwd',
  'password',
  'pwd',
  'secret',
  'signature',
  'token',
] as const;

/** Longest field; the rest is cut. */
const TEXT_CHARS_MAX = 2_000;
const SECRETS: ReadonlySet<string> = new Set(SECRET_WORDS.flatMap((word) => [word, `${word}s`]));
/** `name=value` in a query or a form. */
const PAIR = /([\w.%~-]+)=([^\s&;,"'<>#]+)/g;
const JSON_PAIR = /"([\w.-]+)"\s*:\s*"[^"]*"/g;
/** `user:password@` of an address, such as that of a camera. */
const USER_INFO = /\b([a-z][a-z0-9+.-]*:\/\/)[^\s/?#"'<>@]*@/gi;
const AUTHORIZATION = /\b(bearer|basic)\s+[\w.~+/=-]{4,}/gi;

/** The fields as they may be written: without secrets, and none of them longer than 2,000 characters. */
export function redactFields(fields: LogFields): LogFields {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [name, isSecretName(name) ? REDACTED : redactValue(value)]),
  );
}

function redactValue(value: LogValue | undefined): LogValue | undefined {
  if (typeof value === 'string') return redactText(value);
  return typeof value === 'object' && value !== null ? value.map(redactText) : value;
}

/** A text without anything that looks like a secret. */
export function redactText(text: string): string {
  const short = text.length > TEXT_CHARS_MAX ? `${text.slice(0, TEXT_CHARS_MAX)}…` : text;
  return short
    .replaceAll(USER_INFO, `$1${REDACTED}@`)
    .replaceAll(AUTHORIZATION, `$1 ${REDACTED}`)
    .replaceAll(JSON_PAIR, (pair, name: string) => (isSecretName(name) ? `"${name}":"${REDACTED}"` : pair))
    .replaceAll(PAIR, (pair, name: string) => (isSecretName(name) ? `${name}=${REDACTED}` : pair));
}

/** `accessToken`, `x-api-key` and `access%5Ftoken` too. */
function isSecretName(name: string): boolean {
  const words = name
    .replaceAll(/%[0-9a-f]{2}/gi, '_')
    .replaceAll(/([a-z0-9])([A-Z])/g, '$1_$2')
    .toLowerCase()
    .split(/[^a-z0-9]+/);
  return words.some((word) => SECRETS.has(word));
}
