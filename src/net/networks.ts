import { BlockList, isIPv6 } from 'node:net';

/** A list of networks, such as `10.0.0.0/8`, that can be asked about an address. */
export function blockListOf(networks: readonly string[]): BlockList {
  const list = new BlockList();
  for (const network of networks) {
    const [address = '', prefix] = network.split('/');
    list.addSubnet(address, Number(prefix), isIPv6(address) ? 'ipv6' : 'ipv4');
  }
  return list;
}

/** IPv4 counts as such also where it is mapped into IPv6. */
export function listHas(list: BlockList, address: string): boolean {
  return list.check(address, isIPv6(address) ? 'ipv6' : 'ipv4');
}
