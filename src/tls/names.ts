import { hostname, networkInterfaces } from 'node:os';

/** By which names and addresses other machines find this one. */

/** A certificate of more names is refused by some clients. */
const NAMES_MAX = 100;

/** What this machine calls itself, in the letters that a name on a network may have. */
export function machineName(): string {
  return hostname()
    .toLowerCase()
    .replaceAll(/[^a-z0-9._-]/g, '-');
}

/** Of this machine: its own name, and that of multicast DNS (RFC 6762). */
export function ownNames(): string[] {
  const name = machineName();
  return name.includes('.') ? [name] : [name, `${name}.local`];
}

/** Of its interfaces, but for those that count on one link alone (`fe80::`). */
export function ownAddresses(): string[] {
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  return all.filter(({ scopeid }) => !scopeid).map(({ address }) => address);
}

/** What a certificate of this machine is for: `more` first, then its own names and addresses. */
export function certificateNames(more: readonly string[]): string[] {
  const names = ['localhost', ...more, ...ownNames(), '127.0.0.1', '::1', ...ownAddresses()];
  return [...new Set(names)].slice(0, NAMES_MAX);
}
