import { isIPv6 } from 'node:net';
import type { NetworkInterfaceInfo } from 'node:os';
import { isLoopback } from '../../base/addresses.ts';

/** Where viewers are told to find the server by UDP, and where it listens. Pure. */

export interface Addresses {
  readonly addresses: readonly string[];
  /** By family; left out: at all addresses of the machine. */
  readonly listenAt: { readonly udp4?: string; readonly udp6?: string };
}

/** Each of them is a socket of every session. */
export const ADDRESSES_MAX = 8;

/**
 * `told`: addresses that were configured, such as the public one of a machine behind a translator. Without them it is the address on which the server listens, or, where
 * that is any, all of the machine that others can reach.
 */
export function addressesFor(
  host: string,
  told: readonly string[],
  interfaces: NodeJS.Dict<readonly NetworkInterfaceInfo[]>,
): Addresses {
  const all = Object.values(interfaces).flatMap((infos) => infos ?? []);
  const addresses = (told.length > 0 ? told : ownOf(host, all)).slice(0, ADDRESSES_MAX);
  const own = new Set([...all.map(({ address }) => address), ...addresses.filter(isLoopback)]);
  const listenAt = (of: readonly string[]): string | undefined => {
    const [only] = of;
    return of.length === 1 && own.has(only!) ? only : undefined;
  };
  const udp4 = listenAt(addresses.filter((address) => !isIPv6(address)));
  const udp6 = listenAt(addresses.filter((address) => isIPv6(address)));
  return { addresses, listenAt: { ...(udp4 !== undefined && { udp4 }), ...(udp6 !== undefined && { udp6 }) } };
}

function ownOf(host: string, all: readonly NetworkInterfaceInfo[]): readonly string[] {
  const name = host.replace(/^\[(.*)\]$/, '$1');
  if (name === 'localhost') return ['127.0.0.1'];
  if (name !== '0.0.0.0' && name !== '::') return [name];
  return all
    .filter(({ internal, family, address }) => {
      const isLinkLocal = /^(169\.254\.|fe80:)/i.test(address);
      return !internal && !isLinkLocal && (family === 'IPv4' || name === '::');
    })
    .map(({ address }) => address);
}
