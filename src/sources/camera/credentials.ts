import { createHash, randomBytes } from 'node:crypto';

/** User and password for a camera that asks for them, over HTTP and RTSP: RFC 7617 and RFC 7616. */

export interface Credentials {
  readonly user: string;
  readonly password: string;
}

/** Of an address; undefined: there are none in it. */
export function credentialsOf(url: URL): Credentials | undefined {
  if (url.username === '' && url.password === '') return undefined;
  return { user: decoded(url.username), password: decoded(url.password) };
}

export interface AuthorizedRequest {
  readonly method: string;
  /** As it stands in the request. */
  readonly uri: string;
}

const HASHES: Readonly<Record<string, string>> = { MD5: 'md5', 'SHA-256': 'sha256' };

/**
 * Answers a challenge (`WWW-Authenticate`, one or more). Digest is taken before Basic, which tells the password. A function, since each request has its own
 * answer to the same challenge; undefined: there is no challenge that can be answered.
 */
export function authorizer(
  challenges: readonly string[],
  { user, password }: Credentials,
  nonceOf: () => string = () => randomBytes(8).toString('hex'),
): ((request: AuthorizedRequest) => string) | undefined {
  const digest = challenges.map(digestOf).find((found) => found !== undefined);
  if (digest) {
    const { realm, nonce, opaque, algorithm, hash, hasQop } = digest;
    const of = (text: string) => createHash(hash).update(text).digest('hex');
    let count = 0;
    return ({ method, uri }) => {
      const [secret, request] = [of(`${user}:${realm}:${password}`), of(`${method}:${uri}`)];
      count += 1;
      const nc = count.toString(16).padStart(8, '0');
      const cnonce = nonceOf();
      const response = of(
        hasQop ? `${secret}:${nonce}:${nc}:${cnonce}:auth:${request}` : `${secret}:${nonce}:${request}`,
      );
      const fields = [
        `username="${quoted(user)}"`,
        `realm="${quoted(realm)}"`,
        `nonce="${quoted(nonce)}"`,
        `uri="${quoted(uri)}"`,
        ...(algorithm === undefined ? [] : [`algorithm=${algorithm}`]),
        ...(hasQop ? ['qop=auth', `nc=${nc}`, `cnonce="${cnonce}"`] : []),
        `response="${response}"`,
        ...(opaque === undefined ? [] : [`opaque="${quoted(opaque)}"`]),
      ];
      return `Digest ${fields.join(', ')}`;
    };
  }
  if (!challenges.some((challenge) => /(^|,\s*)basic\b/i.test(challenge))) return undefined;
  const basic = `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
  return () => basic;
}

function digestOf(challenge: string) {
  const text = /(?:^|,\s*)digest\s+(.*)/i.exec(challenge)?.[1];
  if (text === undefined) return undefined;
  const fields = new Map<string, string>();
  for (const [, name, quotedText, plain] of text.matchAll(/([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]*))/g)) {
    // Of the first challenge, where several stand in one line.
    const key = name!.toLowerCase();
    if (!fields.has(key)) fields.set(key, quotedText === undefined ? plain! : quotedText.replace(/\\(.)/g, '$1'));
  }
  const [realm, nonce, algorithm] = [fields.get('realm'), fields.get('nonce'), fields.get('algorithm')];
  const hash = HASHES[(algorithm ?? 'MD5').toUpperCase()];
  if (realm === undefined || nonce === undefined || hash === undefined) return undefined;
  const qop = fields.get('qop');
  const hasQop = qop !== undefined && qop.split(',').some((each) => each.trim().toLowerCase() === 'auth');
  if (qop !== undefined && !hasQop) return undefined;
  return { realm, nonce, opaque: fields.get('opaque'), algorithm, hash, hasQop };
}

function quoted(text: string): string {
  return text.replace(/["\\]/g, '\\$&');
}

/** People write a `%` that is none of an encoding, too. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
