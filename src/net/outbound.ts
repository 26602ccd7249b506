import { lookup as systemLookup, type LookupAddress, type LookupOptions } from 'node:dns';
import { request as requestPlain, type IncomingMessage } from 'node:http';
import { request as requestTls } from 'node:https';
import { isIP, type LookupFunction } from 'node:net';
import { blockListOf, listHas } from './networks.ts';

/**
 * The one way by which the server calls addresses by itself: those of an identity provider, a program that decides who comes in, a
 * collector of traces, a webhook. Such an address is somebody's setting, and what answers there may be anything. So none of them
 * leads to where only this machine gets an answer (link-local addresses, the metadata services of clouds, which hand out
 * credentials), whatever its name resolves to at the moment of the connection; none leads elsewhere by a redirect; and no answer
 * takes more time or memory than its caller has set.
 *
 * Not `fetch`: it cannot be told to look at the address that it connects to without a library of its own, and it takes no user and
 * password in an address.
 */

/** Networks that are never called unless a setting allows it. */
const FORBIDDEN = [
  // Link-local (RFC 3927, RFC 4291 §2.5.6): metadata services of most clouds are at 169.254.169.254.
  '169.254.0.0/16',
  'fe80::/10',
  // The same by other spellings: IPv4-compatible (RFC 4291 §2.5.5.1), NAT64 (RFC 6052), 6to4 (RFC 3056).
  '::a9fe:0/112',
  '64:ff9b::a9fe:0/112',
  '2002:a9fe::/32',
  // Metadata services elsewhere: of Amazon and Google by IPv6, of Alibaba, Azure and Oracle.
  'fd00:ec2::254/128',
  'fd20:ce::254/128',
  '100.100.100.200/32',
  '168.63.129.16/32',
  '192.0.0.192/32',
];

/** Statuses that stand for "ask elsewhere" (RFC 9110 §15.4). */
const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);
/** Statuses that `Response` takes no body for. */
const BODILESS: ReadonlySet<number> = new Set([204, 205, 304]);
const HEADER_BYTES_MAX = 16 * 1024;

export interface OutboundRequest {
  /** Default: GET. */
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  /** For all of it, from looking up the name to the last byte, ms. */
  readonly timeoutMs: number;
  /** A longer answer is an error, and is not read to its end. */
  readonly bytesMax: number;
  /** Gives it up. */
  readonly signal?: AbortSignal;
}

/** Why there is no answer: its address may not be called; it leads elsewhere; out of time; too much; anything else. */
export type OutboundFault = 'forbidden' | 'redirected' | 'timeout' | 'too_long' | 'failed';

/** The message has nothing of the address in it but what the system says of it. */
export class OutboundError extends Error {
  readonly fault: OutboundFault;

  constructor(fault: OutboundFault, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'OutboundError';
    this.fault = fault;
  }
}

/** All addresses of a name, as `dns.lookup` finds them. */
export type Lookup = (
  name: string,
  options: LookupOptions & { readonly all: true },
  callback: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void;

export class Outbound {
  readonly #forbidden = blockListOf(FORBIDDEN);
  readonly #allowed: ReturnType<typeof blockListOf>;
  readonly #resolve: Lookup;

  /** `allowed`: networks that may be called all the same, such as `169.254.7.0/24`. */
  constructor({ allowed = [], lookup = systemLookup }: { allowed?: readonly string[]; lookup?: Lookup } = {}) {
    this.#allowed = blockListOf(allowed);
    this.#resolve = lookup;
  }

  /**
   * The whole answer, whatever its status. A new connection for each call, so that its address is looked at each time; a user and
   * password in the address go along as `Authorization: Basic`. Throws OutboundError.
   */
  async fetch(url: string | URL, request: OutboundRequest): Promise<Response> {
    const target = new URL(url);
    const { timeoutMs, signal } = request;
    const timeout = AbortSignal.timeout(timeoutMs);
    const end = signal === undefined ? timeout : AbortSignal.any([signal, timeout]);
    try {
      this.#require(target);
      const answer = await this.#ask(target, request, end);
      const status = answer.statusCode!;
      if (REDIRECTS.has(status)) {
        answer.destroy();
        throw new OutboundError('redirected', `it leads elsewhere (status ${status}), which is not followed`);
      }
      return responseOf(status, answer, await bodyOf(answer, request.bytesMax));
    } catch (thrown) {
      if (thrown instanceof OutboundError) throw thrown;
      const options = { cause: thrown };
      if (timeout.aborted) throw new OutboundError('timeout', `no answer within ${timeoutMs / 1000} s`, options);
      throw new OutboundError('failed', wordsOf(thrown), options);
    }
  }

  /** An address that is written as numbers is not looked up. */
  #require({ protocol, hostname }: URL): void {
    if (protocol !== 'http:' && protocol !== 'https:') {
      throw new OutboundError('forbidden', `it is no http: or https: address`);
    }
    const address = hostname.replace(/^\[(.*)\]$/, '$1');
    if (isIP(address) !== 0 && !this.mayCall(address)) throw forbidden(address);
  }

  /**
   * For a connection that a library makes: throws OutboundError where a host, or an address that its name resolves to now, may not be
   * called, and what the system says of a name that cannot be looked up.
   */
  async requireHost(host: string): Promise<void> {
    for (const address of isIP(host) === 0 ? await this.#addressesOf(host) : [host]) {
      if (!this.mayCall(address)) throw forbidden(address);
    }
  }

  #addressesOf(name: string): Promise<string[]> {
    return new Promise((resolve, reject) => {
      this.#resolve(name, { all: true }, (error, addresses) => {
        if (error) reject(error);
        else resolve(addresses.map(({ address }) => address));
      });
    });
  }

  /** Whether an IP address may be called. */
  mayCall(address: string): boolean {
    return !listHas(this.#forbidden, address) || listHas(this.#allowed, address);
  }

  /** At the moment of the connection: what a name resolved to before proves nothing (DNS rebinding). */
  readonly #lookup: LookupFunction = (name, options, callback) => {
    this.#resolve(name, { ...options, all: true }, (error, addresses) => {
      if (error) return callback(error, '', 0);
      const [first, ...others] = addresses.filter(({ address }) => this.mayCall(address));
      if (first === undefined) return callback(forbidden(addresses[0]?.address ?? name), '', 0);
      if (options.all) callback(null, [first, ...others]);
      else callback(null, first.address, first.family);
    });
  };

  #ask(
    url: URL,
    { method = 'GET', headers = {}, body }: OutboundRequest,
    signal: AbortSignal,
  ): Promise<IncomingMessage> {
    const send = url.protocol === 'https:' ? requestTls : requestPlain;
    return new Promise((resolve, reject) => {
      const options = { method, headers, signal, agent: false, lookup: this.#lookup, maxHeaderSize: HEADER_BYTES_MAX };
      const outgoing = send(url, options as Parameters<typeof send>[1], resolve);
      outgoing.on('error', reject);
      // Without a listener Node ends the connection and tells nobody.
      outgoing.on('upgrade', (_answer, socket) => {
        socket.destroy();
        reject(new OutboundError('failed', 'it answers with another protocol'));
      });
      outgoing.end(body);
    });
  }
}

async function bodyOf(answer: IncomingMessage, bytesMax: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  // Leaving the loop ends the connection.
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > bytesMax) throw new OutboundError('too_long', `the answer has more than ${bytesMax} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function responseOf(status: number, { headersDistinct }: IncomingMessage, body: Buffer): Response {
  const headers = new Headers();
  for (const [name, values = []] of Object.entries(headersDistinct)) {
    for (const value of values) headers.append(name, value);
  }
  // Throws for a status that there is not, such as 999.
  return new Response(BODILESS.has(status) ? null : new Uint8Array(body), { status, headers });
}

function forbidden(address: string): OutboundError {
  return new OutboundError(
    'forbidden',
    `${address} is link-local or a metadata service, which is called only if outbound.allowed_networks has it`,
  );
}

/** Where several addresses of a name were tried, all of them have failed. */
function wordsOf(thrown: unknown): string {
  if (thrown instanceof AggregateError) return [...new Set(thrown.errors.map(wordsOf))].join('; ');
  return thrown instanceof Error ? thrown.message || thrown.name : String(thrown);
}
