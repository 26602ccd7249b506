import { lookup as systemLookup } from 'node:dns';
import { connect as connectPlain, isIP, type LookupFunction, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { blockListOf, listHas } from './networks.ts';
import { Outbound, OutboundError, type Lookup } from './outbound.ts';

/**
 * Connections to what an administrator has entered, which may be in a private network, and to where that leads (redirects, entries of a playlist), which may not:
 * otherwise a camera, or whoever answers in its place, could let the server ask what only the server can reach.
 */

/** IANA's registries of special-purpose addresses: everything that is not one place in the public internet. */
const NOT_PUBLIC = blockListOf([
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  // Multicast, reserved, broadcast.
  '224.0.0.0/3',
  // Unspecified, loopback, IPv4-compatible; NAT64 and 6to4, which lead to any IPv4 address; documentation, Teredo among them.
  '::/96',
  '64:ff9b::/96',
  '64:ff9b:1::/48',
  '100::/64',
  '2001::/23',
  '2001:db8::/32',
  '2002::/16',
  '3fff::/20',
  'fc00::/7',
  'fe80::/10',
  'fec0::/10',
  'ff00::/8',
]);

/** Whether an IP address is one of the public internet. IPv4 counts as such also where it is mapped into IPv6. */
export function isPublicAddress(address: string): boolean {
  return !listHas(NOT_PUBLIC, address);
}

export interface ReachOptions {
  /** The host that was entered, as it stands in the address: it may be private. */
  readonly entered: string;
  /** Networks that may be reached besides, link-local ones among them. */
  readonly allowedNetworks: readonly string[];
  readonly lookup?: Lookup;
}

export interface ConnectOptions {
  readonly host: string;
  readonly port: number;
  readonly isTls: boolean;
  /** Until the connection stands, ms. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

export class Reach {
  readonly #entered: string;
  readonly #allowed: ReturnType<typeof blockListOf>;
  readonly #outbound: Outbound;
  readonly #lookup: Lookup;

  constructor({ entered, allowedNetworks, lookup = systemLookup }: ReachOptions) {
    this.#entered = bareHost(entered);
    this.#allowed = blockListOf(allowedNetworks);
    this.#outbound = new Outbound({ allowed: allowedNetworks });
    this.#lookup = lookup;
  }

  /** Whether a host may be called at this address of its own. */
  mayReach(host: string, address: string): boolean {
    if (!this.#outbound.mayCall(address)) return false;
    return bareHost(host) === this.#entered || isPublicAddress(address) || listHas(this.#allowed, address);
  }

  /**
   * The address is looked at in the moment of the connection. The certificate of a public host has to be good; a camera in a private network has one of its own
   * making, if any. Throws OutboundError: `forbidden`, `timeout`, `failed` with the system's error as its cause.
   */
  async connect({ host, port, isTls, timeoutMs, signal }: ConnectOptions): Promise<Socket> {
    const name = bareHost(host);
    if (isIP(name) !== 0 && !this.mayReach(name, name)) throw forbidden(name);
    const timeout = AbortSignal.timeout(timeoutMs);
    const end = signal ? AbortSignal.any([signal, timeout]) : timeout;
    // Without the signal: that would end the socket later on, too, when the time for connecting is over.
    const plain = connectPlain({ host: name, port, lookup: this.#guardedLookup(name), noDelay: true });
    try {
      await opened(plain, 'connect', end);
      if (!isTls) return plain;
      const rejectUnauthorized = isPublicAddress(plain.remoteAddress ?? '0.0.0.0');
      const servername = isIP(name) === 0 ? name : undefined;
      const secure = connectTls({ socket: plain, rejectUnauthorized, ...(servername !== undefined && { servername }) });
      await opened(secure, 'secureConnect', end);
      return secure;
    } catch (thrown) {
      plain.destroy();
      if (thrown instanceof OutboundError) throw thrown;
      if (timeout.aborted) throw new OutboundError('timeout', `no connection within ${timeoutMs / 1000} s`);
      throw new OutboundError('failed', wordsOf(thrown), { cause: thrown });
    }
  }

  #guardedLookup(host: string): LookupFunction {
    return (name, options, callback) => {
      this.#lookup(name, { ...options, all: true }, (error, addresses) => {
        if (error) return callback(error, '', 0);
        const [first, ...others] = addresses.filter(({ address }) => this.mayReach(host, address));
        if (first === undefined) return callback(forbidden(addresses[0]?.address ?? name), '', 0);
        if (options.all) callback(null, [first, ...others]);
        else callback(null, first.address, first.family);
      });
    };
  }
}

/** The listener of errors stays: one that comes after the end of the connection is nobody's. */
function opened(socket: Socket, event: 'connect' | 'secureConnect', end: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = () => {
      socket.destroy();
      reject(new Error('given up'));
    };
    if (end.aborted) return onAbort();
    end.addEventListener('abort', onAbort, { once: true });
    socket.once(event, () => {
      end.removeEventListener('abort', onAbort);
      resolve();
    });
    socket.once('close', () => reject(new Error('the connection was closed')));
    socket.on('error', reject);
  });
}

function bareHost(host: string): string {
  return host.toLowerCase().replace(/^\[(.*)\]$/, '$1');
}

function forbidden(address: string): OutboundError {
  const what = isPublicAddress(address) ? 'a metadata service' : 'in a network that is not public';
  return new OutboundError('forbidden', `${address} is ${what}, and no allowed network has it`);
}

/** Where several addresses of a name were tried, all of them have failed. */
function wordsOf(thrown: unknown): string {
  if (thrown instanceof AggregateError) return [...new Set(thrown.errors.map(wordsOf))].join('; ');
  return thrown instanceof Error ? thrown.message || thrown.name : String(thrown);
}
