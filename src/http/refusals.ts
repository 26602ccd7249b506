import type { ErrorCode } from '../base/errors.ts';
import { readHostName, readOrigin } from '../config/origins.ts';
import type { Log } from '../log/log.ts';
import type { AddressRules } from './guard.ts';

/** Longest value of a stranger that is logged. */
const VALUE_CHARS_MAX = 100;

/**
 * Logs a request whose `Origin` or `Host` was refused, with the line of configuration that would allow it. Other codes than those
 * of addresses are ignored.
 */
export function logRefusal(
  log: Log,
  rules: AddressRules,
  code: ErrorCode,
  headers: { host?: string | undefined; origin?: string | undefined },
): void {
  const header = code === 'ORIGIN_FORBIDDEN' ? 'Origin' : code === 'HOST_FORBIDDEN' ? 'Host' : undefined;
  const value = header === 'Origin' ? headers.origin : (headers.host ?? '');
  if (header === undefined || value === undefined) return;
  const remedy = remedyFor(header, value, rules);
  log.write('address_refused', { code, header, value: value.slice(0, VALUE_CHARS_MAX), remedy });
}

function remedyFor(header: 'Origin' | 'Host', value: string, { origins, allowedHosts = [] }: AddressRules): string {
  const [name, known, read] =
    header === 'Origin'
      ? (['allowed_origins', origins, readOrigin(value)] as const)
      : // The port of a Host header counts for nothing.
        (['allowed_hosts', allowedHosts, readHostName(value.replace(/:\d*$/, ''))] as const);
  if (read.fault !== undefined) return `it cannot be allowed: ${read.fault}`;
  return `if it is yours, this allows it: server: { ${name}: ${JSON.stringify([...known, read.value])} }`;
}
