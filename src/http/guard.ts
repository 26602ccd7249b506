import { isIP } from 'node:net';
import { SightlineError } from '../base/errors.ts';

/** Which `Host` and `Origin` headers a server answers to. Pure. */

export interface AddressRules {
  /** The host that the server listens on, and further names that it is known by; without ports. */
  readonly hosts: readonly string[];
  /** Foreign origins that may use the server from a browser, as `https://example.org`. */
  readonly origins: readonly string[];
  /** Other machines can reach it: any IP address may be its own. A page of another name that was rebound does not come by one. */
  readonly takesAddresses?: boolean;
  /** Those of `hosts` that were configured. */
  readonly allowedHosts?: readonly string[];
}

const LOOPBACK_NAMES = ['localhost', '127.0.0.1', '[::1]'];

/**
 * Throws HOST_FORBIDDEN or ORIGIN_FORBIDDEN, and REQUEST_BAD without a `Host` (RFC 9112 §3.2).
 *
 * A foreign page can make a browser connect to a server on loopback. The `Origin` header tells such a page from
 * our own; the `Host` header tells a name that was rebound to loopback (DNS rebinding) from a name of ours. A page that did not come by TLS, which
 * somebody on the way may have changed, is foreign to a connection that does.
 */
export function checkAddress(
  headers: { host?: string | undefined; origin?: string | undefined },
  rules: AddressRules,
  isEncrypted = false,
): void {
  if (headers.host === undefined) throw new SightlineError('REQUEST_BAD', 'the request has no Host');
  const host = parseHost(headers.host, isEncrypted);
  if (!host || !isOwnName(host.hostname, rules)) {
    throw new SightlineError('HOST_FORBIDDEN', `Host "${shorten(headers.host)}" is not a name of this server`);
  }
  const { origin } = headers;
  if (origin === undefined || rules.origins.includes(origin)) return;
  const own = parseOrigin(origin);
  if (own?.host !== host.host || (isEncrypted && own.protocol !== 'https:')) {
    throw new SightlineError(
      'ORIGIN_FORBIDDEN',
      `Origin "${shorten(origin)}" is neither this server nor in server.allowed_origins`,
    );
  }
}

/**
 * Throws REQUEST_BAD where a header comes twice that says who asks, or whom (RFC 9112 §3.2, RFC 9110 §5.3): Node takes the first one, and a proxy
 * in front may have judged by the other. `rawHeaders`: names and values in turn.
 */
export function checkSingle(rawHeaders: readonly string[]): void {
  const seen = new Set<string>();
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!.toLowerCase();
    if (!SINGLE.has(name)) continue;
    if (seen.has(name)) throw new SightlineError('REQUEST_BAD', `the request has ${name} twice`);
    seen.add(name);
  }
}

/**
 * Throws ORIGIN_FORBIDDEN for a request that would change something and that a foreign page has made. A browser says so in
 * `Sec-Fetch-Site` even where it leaves `Origin` out; a program that is not a browser sends neither, and no page can control it.
 */
export function checkChange(headers: {
  origin?: string | undefined;
  'sec-fetch-site'?: string | string[] | undefined;
}): void {
  const site = headers['sec-fetch-site'];
  // Where there is an origin, checkAddress has judged it.
  if (headers.origin !== undefined || site === undefined || site === 'same-origin' || site === 'none') return;
  throw new SightlineError('ORIGIN_FORBIDDEN', 'a page of another site may not change anything here');
}

/**
 * Headers by which a page of an allowed foreign origin may read the answers, errors too, and learns beforehand what it may
 * send (https://fetch.spec.whatwg.org/#http-cors-protocol). No cookies: there are none. Answers to others lack them, so
 * that caches have to know of the difference.
 */
export function corsHeaders(
  method: string,
  headers: {
    origin?: string | undefined;
    'access-control-request-method'?: string | undefined;
    'access-control-request-private-network'?: string | string[] | undefined;
  },
  rules: Pick<AddressRules, 'origins'>,
): { readonly headers: Readonly<Record<string, string>>; readonly isPreflight: boolean } {
  const { origin } = headers;
  if (origin === undefined || !rules.origins.includes(origin)) return { headers: VARY, isPreflight: false };
  const isPreflight = method === 'OPTIONS' && headers['access-control-request-method'] !== undefined;
  // A public page asks for a server in a private network: https://wicg.github.io/private-network-access/
  const isPrivate = headers['access-control-request-private-network'] === 'true';
  return {
    headers: {
      ...VARY,
      'Access-Control-Allow-Origin': origin,
      ...(isPreflight && PREFLIGHT),
      ...(isPreflight && isPrivate && { 'Access-Control-Allow-Private-Network': 'true' }),
    },
    isPreflight,
  };
}

const SINGLE: ReadonlySet<string> = new Set(['authorization', 'host', 'origin']);
const VARY = { Vary: 'Origin' };
const PREFLIGHT = {
  'Access-Control-Allow-Methods': 'GET, HEAD, POST, PUT, PATCH, DELETE',
  'Access-Control-Allow-Headers': 'Authorization, Content-Type, If-Match, Last-Event-ID, Range',
  'Access-Control-Max-Age': '600',
};

function isOwnName(hostname: string, { hosts, takesAddresses = false }: AddressRules): boolean {
  if (LOOPBACK_NAMES.includes(hostname)) return true;
  if (takesAddresses && isIP(hostname.replace(/^\[(.*)\]$/, '$1')) !== 0) return true;
  return hosts.some((own) => own === hostname || `[${own}]` === hostname);
}

function parseHost(host: string, isEncrypted: boolean): URL | undefined {
  // Nothing but a name and a port: `URL` would take "user@host" and "host/path" too.
  if (!/^[A-Za-z0-9.\-_:[\]]+$/.test(host)) return undefined;
  return URL.parse(`${isEncrypted ? 'https' : 'http'}://${host}`) ?? undefined;
}

function parseOrigin(origin: string): URL | undefined {
  const url = URL.parse(origin);
  return url?.protocol === 'http:' || url?.protocol === 'https:' ? url : undefined;
}

function shorten(value: string | undefined): string {
  return (value ?? '').slice(0, 100);
}
