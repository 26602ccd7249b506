import { REDACTED, redactAddress, redactText } from '../log/redact.ts';
import { CONFIG_KEYS, ENTRY_SECTIONS } from './keys.ts';

/** A value of the configuration as it may be shown, also to who may read the configuration: without what is secret in it. */
export function shownValue<T>(path: string, value: T): T {
  return without(value, path.split('.')) as T;
}

/** All of a configuration, or of its part at `steps`. */
function without(value: unknown, steps: readonly string[]): unknown {
  if (typeof value === 'string') {
    return isSecret(steps) ? REDACTED : isAddress(steps) ? redactAddress(value) : redactText(value);
  }
  if (Array.isArray(value)) {
    const isPairs = isSecret(steps);
    return value.map((item) => (isPairs && typeof item === 'string' ? namesOnly(item) : without(item, steps)));
  }
  if (typeof value !== 'object' || value === null) return value;
  if (isSecret(steps) || isAddress(steps)) return REDACTED;
  const entries = value instanceof Map ? [...value] : Object.entries(value);
  return Object.fromEntries(entries.map(([name, inner]) => [name, without(inner, [...steps, String(name)])]));
}

/** `steps`: a dotted name of an entry counts for several, so that the end decides. */
export function isSecret(steps: readonly string[]): boolean {
  const path = steps.filter((step) => step !== '').join('.');
  const key = CONFIG_KEYS.get(path);
  if (key) return key.isSecret;
  if (![...ENTRY_SECTIONS.keys()].some((section) => path.startsWith(`${section}.`))) return false;
  return [...CONFIG_KEYS.values()].some((one) => one.isSecret && path.endsWith(`.${one.path}`));
}

/** Of entries alone: `cameras.gate.url`. */
function isAddress(steps: readonly string[]): boolean {
  const path = steps.filter((step) => step !== '').join('.');
  return [...ENTRY_SECTIONS.values()].some(
    (section) =>
      path.startsWith(`${section.path}.`) &&
      [...section.keys].some(([tail, key]) => key.isAddress && path.endsWith(`.${tail}`)),
  );
}

/** `name=value` without the value. */
function namesOnly(text: string): string {
  const at = text.indexOf('=');
  return at < 0 ? REDACTED : `${text.slice(0, at)}=${REDACTED}`;
}
