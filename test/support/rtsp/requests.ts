import { createHash } from 'node:crypto';

/** Requests of RTSP 1.0 (RFC 2326), and who may make them (RFC 7617, RFC 7616). */

export interface RtspRequest {
  readonly method: string;
  readonly url: string;
  /** By names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
}

/** What a client may send before it has said what it wants. */
const HEAD_BYTES_MAX = 16 * 1024;

/** Takes requests out of a connection's bytes, and passes what lies between them: interleaved packets of the client. */
export class RequestReader {
  #bytes: Buffer = Buffer.alloc(0);

  /** Undefined: this is no RTSP. */
  take(bytes: Buffer): RtspRequest[] | undefined {
    this.#bytes = this.#bytes.length === 0 ? bytes : Buffer.concat([this.#bytes, bytes]);
    const requests: RtspRequest[] = [];
    for (;;) {
      const held = this.#bytes;
      if (held[0] === 0x24) {
        if (held.length < 4 || held.length < 4 + held.readUInt16BE(2)) break;
        this.#bytes = held.subarray(4 + held.readUInt16BE(2));
        continue;
      }
      const end = held.indexOf('\r\n\r\n');
      if (end > HEAD_BYTES_MAX || (end < 0 && held.length > HEAD_BYTES_MAX)) return undefined;
      if (end < 0) break;
      const request = parse(held.toString('latin1', 0, end));
      if (!request) return undefined;
      const bodyBytes = Number(request.headers.get('content-length') ?? 0);
      if (!(bodyBytes <= HEAD_BYTES_MAX)) return undefined;
      if (held.length < end + 4 + bodyBytes) break;
      this.#bytes = held.subarray(end + 4 + bodyBytes);
      requests.push(request);
    }
    return requests;
  }
}

function parse(head: string): RtspRequest | undefined {
  const [first, ...lines] = head.split('\r\n');
  const [, method, url] = /^([A-Z_]+) (\S+) RTSP\/1\.0$/.exec(first!) ?? [];
  if (method === undefined || url === undefined) return undefined;
  const headers = new Map<string, string>();
  for (const line of lines) {
    const colon = line.indexOf(':');
    if (colon > 0) headers.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim());
  }
  return { method, url, headers };
}

export interface RtspCredentials {
  readonly scheme: 'basic' | 'digest';
  readonly user: string;
  readonly password: string;
}

const REALM = 'camera';

export function challengeOf({ scheme }: RtspCredentials, nonce: string): string {
  return scheme === 'basic' ? `Basic realm="${REALM}"` : `Digest realm="${REALM}", nonce="${nonce}", qop="auth"`;
}

export function isAllowed({ method, headers }: RtspRequest, credentials: RtspCredentials, nonce: string): boolean {
  const { scheme, user, password } = credentials;
  const [, kind, rest] = /^(\w+) (.*)$/.exec(headers.get('authorization') ?? '') ?? [];
  if (kind?.toLowerCase() !== scheme) return false;
  if (scheme === 'basic') return rest === Buffer.from(`${user}:${password}`).toString('base64');
  const told = new Map([...rest!.matchAll(/(\w+)=(?:"([^"]*)"|([^\s,]+))/g)].map(([, k, a, b]) => [k!, a ?? b!]));
  const proof = told.has('qop') ? [nonce, told.get('nc'), told.get('cnonce'), told.get('qop')] : [nonce];
  const secret = md5(`${user}:${REALM}:${password}`);
  const response = md5([secret, ...proof, md5(`${method}:${told.get('uri')}`)].join(':'));
  return told.get('username') === user && told.get('nonce') === nonce && told.get('response') === response;
}

function md5(text: string): string {
  return createHash('md5').update(text).digest('hex');
}
