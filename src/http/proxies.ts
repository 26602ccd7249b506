import type { IncomingMessage } from 'node:http';
import { isIP } from 'node:net';
import { blockListOf, listHas } from '../net/networks.ts';

/**
 * Where a request comes from that a proxy has passed on: by `X-Forwarded-For`, or `Forwarded` (RFC 7239), of proxies that are trusted alone. From
 * others these headers are a client's own words. So is one of both that the proxy does not know and passes on as it came: where both are there
 * `X-Forwarded-For` counts, which nearly all proxies write, while few know `Forwarded`.
 */

/** A longer chain of proxies is nobody’s. */
const HOPS_MAX = 32;
const HEADER_CHARS_MAX = 4_096;

type Request = Pick<IncomingMessage, 'headers'> & { readonly socket: { readonly remoteAddress?: string | undefined } };

export class Proxies {
  readonly #isTrusted: (address: string) => boolean;

  /** `trusted`: networks, such as `10.0.0.0/8`. */
  constructor(trusted: readonly string[]) {
    const list = blockListOf(trusted);
    this.#isTrusted = (address) => listHas(list, address);
  }

  /** Address of the client, or of the nearest proxy that does not say where it has the request from; undefined: the connection is gone. */
  addressOf({ headers, socket: { remoteAddress } }: Request): string | undefined {
    if (remoteAddress === undefined || !this.#isTrusted(remoteAddress)) return remoteAddress;
    let address = remoteAddress;
    // Each proxy adds the one that it has heard, at the end: what stands before an untrusted one is that one’s own claim.
    for (const hop of hopsOf(headers).toReversed()) {
      const heard = addressIn(hop);
      if (heard === undefined) return address;
      address = heard;
      if (!this.#isTrusted(address)) return address;
    }
    return address;
  }

  /** The client speaks TLS: to the proxy, where that says so, else to this server. */
  isSecure({ headers, socket }: Request): boolean {
    const { remoteAddress } = socket;
    if (remoteAddress === undefined || !this.#isTrusted(remoteAddress)) return isEncrypted(socket);
    const [forwarded = ''] = partsOf(headers.forwarded);
    const proto = first(headers['x-forwarded-proto']) ?? parameter(forwarded, 'proto');
    return proto === undefined ? isEncrypted(socket) : proto.trim().toLowerCase() === 'https';
  }
}

/** Of a connection to this server, or to another program's that hands it on. */
export function isEncrypted(socket: object): boolean {
  return (socket as { readonly encrypted?: unknown }).encrypted === true;
}

/** The client first. */
function hopsOf(headers: IncomingMessage['headers']): string[] {
  const written = first(headers['x-forwarded-for']);
  if (written !== undefined) return partsOf(written);
  return partsOf(headers.forwarded).map((part) => parameter(part, 'for') ?? '');
}

function partsOf(header: string | undefined): string[] {
  if (header === undefined || header.length > HEADER_CHARS_MAX) return [];
  const parts = header.split(',');
  return parts.length > HOPS_MAX ? [] : parts.map((part) => part.trim());
}

function first(header: string | readonly string[] | undefined): string | undefined {
  return typeof header === 'object' ? header.join(',') : header;
}

/** Of `for=192.0.2.7;proto=https`. */
function parameter(part: string, name: string): string | undefined {
  for (const pair of part.split(';')) {
    const at = pair.indexOf('=');
    if (at > 0 && pair.slice(0, at).trim().toLowerCase() === name) return pair.slice(at + 1).trim();
  }
  return undefined;
}

/** Of `192.0.2.7`, `192.0.2.7:1234`, `"[2001:db8::7]:1234"`; undefined: it is none, such as `unknown` or a name of the proxy’s own. */
function addressIn(hop: string): string | undefined {
  const text = hop.replace(/^"(.*)"$/, '$1');
  const bare = /^\[(.*)\](?::\d+)?$/.exec(text)?.[1] ?? (text.split(':').length === 2 ? text.split(':')[0]! : text);
  return isIP(bare) === 0 ? undefined : bare;
}
