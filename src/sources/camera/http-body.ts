import { request as requestPlain, type IncomingMessage } from 'node:http';
import { SightlineError } from '../../base/errors.ts';
import type { Reach } from '../../net/reach.ts';
import { authorizer, credentialsOf, type Credentials } from './credentials.ts';
import { connectionFault, statusFault } from './faults.ts';

/**
 * What a camera sends over HTTP, read by Node and not by FFmpeg: so each connection, that of a redirect or of a playlist's entry too, is one that
 * `Reach` allows in the moment in which it is made.
 */

export interface HttpOptions {
  readonly reach: Reach;
  /** Until the answer begins, ms. */
  readonly timeoutMs: number;
  /** Without a byte for so long it has stalled, ms. */
  readonly stallTimeoutMs: number;
  readonly signal: AbortSignal;
  /** Of the address that was entered: they go to its host and no other. */
  readonly credentials: Credentials | undefined;
  readonly enteredHost: string;
}

const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);
const REDIRECTS_MAX = 5;
const HEADER_BYTES_MAX = 16 * 1024;

/** The user and password of an address are taken out of it. */
export function httpTarget(text: string): { readonly url: URL; readonly credentials: Credentials | undefined } {
  const url = new URL(text);
  const credentials = credentialsOf(url);
  url.username = '';
  url.password = '';
  return { url, credentials };
}

export class HttpBody {
  /** Where it came from, after redirects. */
  readonly url: URL;
  readonly contentType: string;
  /** Of the whole, bytes; undefined: without an end, or not told. */
  readonly length: number | undefined;
  /** It can be read from any place on. */
  readonly isSeekable: boolean;
  readonly #answer: IncomingMessage;
  readonly #chunks: AsyncIterator<Buffer>;
  readonly #options: HttpOptions;
  #rest: Buffer | undefined;

  private constructor(url: URL, answer: IncomingMessage, options: HttpOptions) {
    this.url = url;
    this.#answer = answer;
    this.#options = options;
    this.#chunks = (answer as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
    const { headers } = answer;
    this.contentType = (headers['content-type'] ?? '').split(';')[0]!.trim().toLowerCase();
    const total = /\/(\d+)$/.exec(headers['content-range'] ?? '')?.[1] ?? headers['content-length'];
    this.length = total === undefined ? undefined : Number(total);
    this.isSeekable =
      this.length !== undefined && /bytes/.test(headers['accept-ranges'] ?? headers['content-range'] ?? '');
    answer.setTimeout(options.stallTimeoutMs, () => {
      answer.destroy(new SightlineError('CAMERA_STALLED', `nothing came for ${options.stallTimeoutMs / 1000} s`));
    });
  }

  /** Follows redirects as far as they may be followed. `range`: of bytes, the last one included. Errors: those of a camera. */
  static async open(
    url: URL,
    options: HttpOptions,
    range?: readonly [from: number, to: number | undefined],
  ): Promise<HttpBody> {
    let target = url;
    for (let redirects = 0; ; redirects++) {
      const answer = await ask(target, options, range);
      const status = answer.statusCode!;
      if (!REDIRECTS.has(status) || answer.headers.location === undefined) {
        if (status === 200 || status === 206) return new HttpBody(target, answer, options);
        answer.destroy();
        throw statusFault(status, answer.statusMessage);
      }
      answer.destroy();
      if (redirects === REDIRECTS_MAX) throw new SightlineError('CAMERA_UNREACHABLE', 'it redirects without end');
      target = entryUrl(answer.headers.location, target);
    }
  }

  /** Some bytes, at most so many; undefined: there are no more. Errors: those of a camera. */
  async read(bytesMax: number): Promise<Buffer | undefined> {
    try {
      while (!this.#rest || this.#rest.length === 0) {
        const { done, value } = await this.#chunks.next();
        if (done === true) return undefined;
        this.#rest = value;
      }
    } catch (thrown) {
      throw connectionFault(thrown);
    }
    const taken = this.#rest.subarray(0, bytesMax);
    this.#rest = this.#rest.subarray(taken.length);
    return taken;
  }

  /** Its first bytes, which are read once more later. Errors: those of a camera. */
  async peek(bytesMax: number): Promise<Buffer> {
    const first = await this.read(bytesMax);
    if (!first) return Buffer.alloc(0);
    this.#rest = Buffer.concat([first, this.#rest ?? Buffer.alloc(0)]);
    return first;
  }

  /** All of it. Errors: those of a camera; CAMERA_FORMAT for more than so many bytes. */
  async readAll(bytesMax: number): Promise<Buffer> {
    const parts: Buffer[] = [];
    let bytes = 0;
    for (let part = await this.read(bytesMax); part; part = await this.read(bytesMax)) {
      bytes += part.length;
      if (bytes > bytesMax) {
        this.close();
        throw new SightlineError('CAMERA_FORMAT', `a playlist of more than ${bytesMax} bytes`);
      }
      parts.push(part);
    }
    return Buffer.concat(parts);
  }

  /** The same from another place on. */
  reopen(from: number): Promise<HttpBody> {
    this.close();
    return HttpBody.open(this.url, this.#options, [from, undefined]);
  }

  close(): void {
    this.#answer.destroy();
  }
}

/** An address in an answer, which may be relative. Errors: CAMERA_FORMAT, CAMERA_FORBIDDEN. */
export function entryUrl(text: string, base: URL): URL {
  const url = URL.parse(text, base.href);
  if (!url) throw new SightlineError('CAMERA_FORMAT', 'it leads to an address that is none');
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw new SightlineError('CAMERA_FORBIDDEN', `it leads to an address of the kind ${url.protocol}`);
  }
  return url;
}

async function ask(
  url: URL,
  options: HttpOptions,
  range: readonly [number, number | undefined] | undefined,
): Promise<IncomingMessage> {
  const first = await send(url, options, range, undefined);
  if (first.statusCode !== 401 || !options.credentials || url.host !== options.enteredHost) return first;
  const challenges = first.headersDistinct['www-authenticate'] ?? [];
  const authorize = authorizer(challenges, options.credentials);
  if (!authorize) return first;
  first.destroy();
  return await send(url, options, range, authorize({ method: 'GET', uri: `${url.pathname}${url.search}` }));
}

async function send(
  url: URL,
  { reach, timeoutMs, signal }: HttpOptions,
  range: readonly [number, number | undefined] | undefined,
  authorization: string | undefined,
): Promise<IncomingMessage> {
  const isTls = url.protocol === 'https:';
  const timeout = AbortSignal.timeout(timeoutMs);
  try {
    const port = Number(url.port) || (isTls ? 443 : 80);
    const socket = await reach.connect({ host: url.hostname, port, isTls, timeoutMs, signal });
    return await new Promise((resolve, reject) => {
      const giveUp = () => void socket.destroy(new SightlineError('CAMERA_UNREACHABLE', 'it does not answer in time'));
      const onEnd = () => void socket.destroy();
      timeout.addEventListener('abort', giveUp, { once: true });
      signal.addEventListener('abort', onEnd, { once: true });
      socket.once('close', () => signal.removeEventListener('abort', onEnd));
      const outgoing = requestPlain(
        {
          createConnection: () => socket,
          method: 'GET',
          path: `${url.pathname}${url.search}`,
          maxHeaderSize: HEADER_BYTES_MAX,
          headers: {
            host: url.host,
            accept: '*/*',
            connection: 'close',
            ...(authorization !== undefined && { authorization }),
            ...(range && { range: `bytes=${range[0]}-${range[1] ?? ''}` }),
          },
        },
        (answer) => {
          timeout.removeEventListener('abort', giveUp);
          resolve(answer);
        },
      );
      outgoing.on('error', reject);
      // Without a listener Node ends the connection and tells nobody.
      outgoing.on('upgrade', (_answer, upgraded) => {
        upgraded.destroy();
        reject(new SightlineError('CAMERA_FORMAT', 'it answers with another protocol'));
      });
      outgoing.end();
    });
  } catch (thrown) {
    if (timeout.aborted && !signal.aborted)
      throw new SightlineError('CAMERA_UNREACHABLE', 'it does not answer in time');
    throw connectionFault(thrown);
  }
}
