import { isIP } from 'node:net';
import type { Read } from './origins.ts';

/** Bits of an address by its family. */
const BITS: Readonly<Record<number, number>> = { 4: 32, 6: 128 };

/** An address or a network in the form `192.0.2.0/24`, normalised to one with its prefix. Pure. */
export function readNetwork(text: string): Read {
  const [address = '', prefix, ...rest] = text.trim().toLowerCase().split('/');
  const bits = BITS[isIP(address)];
  if (bits === undefined || address.includes('%')) {
    return { fault: 'it is not an address, such as 192.0.2.7, or a network, such as 10.0.0.0/8' };
  }
  if (rest.length > 0 || (prefix !== undefined && !(/^\d{1,3}$/.test(prefix) && Number(prefix) <= bits))) {
    return { fault: `a network ends in the number of its fixed bits, from /0 to /${bits}` };
  }
  return { value: `${address}/${Number(prefix ?? bits)}` };
}

/** A single address, normalised. Pure. */
export function readAddress(text: string): Read {
  const address = text.trim().toLowerCase();
  return isIP(address) === 0 || address.includes('%')
    ? { fault: 'it is not an address, such as 192.0.2.7' }
    : { value: address };
}
