import type { Read } from './origins.ts';

const SCHEMES = new Set(['redis:', 'rediss:']);

/** An address of Redis, as it is. */
export function readRedisUrl(text: string): Read {
  const url = URL.parse(text);
  if (!url || !SCHEMES.has(url.protocol)) return { fault: 'it is no address of the kind redis://host:6379' };
  if (url.hostname === '') return { fault: 'it names no host' };
  if (!/^(\/\d{0,5})?$/.test(url.pathname)) return { fault: 'behind the host there is only the number of a database' };
  return { value: text };
}
