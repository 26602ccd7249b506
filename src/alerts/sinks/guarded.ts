import { lookup } from 'node:dns/promises';
import { BlockList, isIP, isIPv6 } from 'node:net';
import { boundedFetch } from '../../auth/bounded-fetch.ts';
import type { Outbound } from './outbound.ts';

/**
 * `Outbound` by `fetch`: no redirects, bounds on time and size, and no address that only this machine gets an answer from, such as the
 * metadata services of clouds, which hand out credentials.
 */

const FORBIDDEN = new BlockList();
for (const [address, prefix] of [
  // Link-local (RFC 3927, RFC 4291 §2.5.6): metadata services of most clouds are at 169.254.169.254.
  ['169.254.0.0', 16],
  ['fe80::', 10],
  // Metadata services elsewhere: of Amazon by IPv6, of Alibaba and of Azure.
  ['fd00:ec2::254', 128],
  ['100.100.100.200', 32],
  ['168.63.129.16', 32],
] as const) {
  FORBIDDEN.addSubnet(address, prefix, isIPv6(address) ? 'ipv6' : 'ipv4');
}

class ForbiddenError extends Error {
  readonly fault = 'forbidden';
}

/** Rejects with an error whose `fault` is `forbidden`, and with those of a name that cannot be looked up. */
export async function requireHost(host: string): Promise<void> {
  const addresses = isIP(host) === 0 ? (await lookup(host, { all: true })).map(({ address }) => address) : [host];
  for (const address of addresses) {
    if (FORBIDDEN.check(address, isIPv6(address) ? 'ipv6' : 'ipv4')) {
      throw new ForbiddenError(`${address} is an address that this server does not call`);
    }
  }
}

export const guardedFetch: Outbound = {
  async fetch(url, { timeoutMs, bytesMax, signal, ...request }) {
    await requireHost(new URL(url).hostname.replace(/^\[(.*)\]$/, '$1'));
    const end = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
    try {
      return await boundedFetch(url, { ...request, redirect: 'manual', signal: end }, bytesMax);
    } catch (thrown) {
      if (end.aborted) throw new Error(`no answer within ${timeoutMs / 1_000} s`, { cause: thrown });
      throw thrown;
    }
  },
};
