import type { Read } from './origins.ts';

/** A part has the letters that need no escaping (RFC 3986 §2.3), so that there is one way to write it. */
const PATH = /^(\/[A-Za-z0-9._~-]+)*$/;

/** A path as `/sightline`, without a slash at its end; `/`: none. Pure. */
export function readBasePath(text: string): Read {
  const value = text.trim().replace(/\/+$/, '');
  if (!PATH.test(value)) return { fault: 'it is a path such as /sightline, of letters, digits and . _ ~ -' };
  if (value.split('/').some((part) => part === '.' || part === '..'))
    return { fault: 'a part of it cannot be . or ..' };
  return { value: value || '/' };
}
