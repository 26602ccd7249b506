import { open, rename, rm, type FileHandle } from 'node:fs/promises';
import { isErrorCode } from '../base/error-catalogue.ts';
import { SightlineError } from '../base/errors.ts';
import type { Config } from '../config/schema.ts';
import { clean } from './text.ts';
import { trustOwn } from './trust.ts';

/** Documents of a running server over HTTP, for commands that show one. */

const ANSWER_TIMEOUT_MS = 5_000;
/** Of a download. */
const SILENCE_MS = 30_000;
/** A thousand connections on a thousand topics take a few MiB. */
const ANSWER_BYTES_MAX = 64 * 2 ** 20;

/** The JSON at `url`. Errors: CONNECTION_FAILED, the server's own refusals; the signal's reason. */
export async function readJson(
  url: URL,
  signal: AbortSignal,
  headers: Readonly<Record<string, string>> = {},
): Promise<unknown> {
  return await askJson(url, { signal, headers });
}

export interface Asking {
  readonly signal: AbortSignal;
  readonly headers: Readonly<Record<string, string>>;
  readonly method?: 'GET' | 'PUT' | 'POST' | 'DELETE';
  readonly body?: { readonly type: string; readonly text: string };
  readonly timeoutMs?: number;
}

/** What a server answers to a request, which may change something there. Errors: those of `readJson`. */
export async function askJson(
  url: URL,
  { signal, headers, method = 'GET', body, timeoutMs = ANSWER_TIMEOUT_MS }: Asking,
): Promise<unknown> {
  try {
    const timeout = AbortSignal.timeout(timeoutMs);
    const response = await fetch(url, {
      method,
      headers: { ...headers, ...(body && { 'content-type': body.type }) },
      ...(body && { body: body.text }),
      signal: AbortSignal.any([signal, timeout]),
    });
    const text = await boundedText(response);
    if (!response.ok) throw refusal(url, response.status, text);
    return JSON.parse(text);
  } catch (thrown) {
    signal.throwIfAborted();
    if (thrown instanceof SightlineError) throw thrown;
    throw new SightlineError('CONNECTION_FAILED', `${url.href}: ${clean(reasonOf(thrown, timeoutMs))}`, {
      cause: thrown,
    });
  }
}

/**
 * What is at `url`, into a file, which is called `<path>.part` until it is whole. Returns its bytes. Errors: those of `readJson`, also where it breaks off; OUTPUT_FAILED.
 */
export async function download(
  url: URL,
  path: string,
  { signal, headers }: Pick<Asking, 'signal' | 'headers'>,
): Promise<number> {
  const part = `${path}.part`;
  const silent = new AbortController();
  let timer = setTimeout(() => silent.abort(), SILENCE_MS);
  let handle: FileHandle | undefined;
  try {
    const response = await fetch(url, { headers, signal: AbortSignal.any([signal, silent.signal]) });
    if (!response.ok) throw refusal(url, response.status, await boundedText(response));
    handle = await open(part, 'w').catch(unwritable(path));
    let bytes = 0;
    for await (const chunk of response.body ?? []) {
      clearTimeout(timer);
      timer = setTimeout(() => silent.abort(), SILENCE_MS);
      await handle.writeFile(chunk).catch(unwritable(path));
      bytes += chunk.length;
    }
    await handle.close().catch(unwritable(path));
    await rename(part, path).catch(unwritable(path));
    return bytes;
  } catch (thrown) {
    await handle?.close().catch(() => undefined);
    if (handle) await rm(part, { force: true }).catch(() => undefined);
    signal.throwIfAborted();
    if (thrown instanceof SightlineError) throw thrown;
    const why = silent.signal.aborted ? `nothing came for ${SILENCE_MS / 1000} s` : reasonOf(thrown, SILENCE_MS);
    throw new SightlineError('CONNECTION_FAILED', `${url.href}: ${clean(why)}`, { cause: thrown });
  } finally {
    clearTimeout(timer);
  }
}

function unwritable(path: string): (thrown: Error) => never {
  return (thrown) => {
    throw new SightlineError('OUTPUT_FAILED', `${path} cannot be written: ${thrown.message}`, { cause: thrown });
  };
}

async function boundedText(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length;
    if (bytes > ANSWER_BYTES_MAX) throw new Error(`the answer is larger than ${ANSWER_BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

/** The server's own message of a refusal, where it is one of ours. */
function refusal(url: URL, status: number, text: string): SightlineError {
  const { code, message } = errorOf(text);
  if (isErrorCode(code) && typeof message === 'string') {
    return new SightlineError(code, `${url.href}: ${clean(message)}`);
  }
  return new SightlineError('CONNECTION_FAILED', `${url.href}: it answers with HTTP status ${status}`);
}

function errorOf(text: string): { readonly code?: unknown; readonly message?: unknown } {
  try {
    return (JSON.parse(text) as { error?: object } | null)?.error ?? {};
  } catch {
    return {};
  }
}

/** `fetch` says only that it failed; the reason is in its cause, and where a name has several addresses in the causes of that. */
function reasonOf(thrown: unknown, timeoutMs: number): string {
  if (!(thrown instanceof Error)) return String(thrown);
  if (thrown.name === 'TimeoutError') return `no answer within ${timeoutMs / 1000} s`;
  if (thrown instanceof SyntaxError) return 'the answer is not JSON';
  if (thrown instanceof AggregateError && thrown.errors.length > 0) return reasonOf(thrown.errors[0], timeoutMs);
  if (UNTRUSTED.has((thrown as NodeJS.ErrnoException).code ?? '')) {
    return `${thrown.message}: --ca FILE, or SIGHTLINE_CA, names an authority to trust (docs/tls.md)`;
  }
  if ((thrown as NodeJS.ErrnoException).code === 'ERR_SSL_WRONG_VERSION_NUMBER') {
    return 'there is no TLS: http:// in place of https://';
  }
  return thrown.cause === undefined ? thrown.message : reasonOf(thrown.cause, timeoutMs);
}

const UNTRUSTED: ReadonlySet<string> = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
]);

/** An address without credentials in it, which `fetch` would not take, and the headers that stand for them: a token goes before. */
export function entranceOf(
  given: URL,
  token: string | undefined,
): { readonly url: URL; readonly headers: Readonly<Record<string, string>> } {
  const url = new URL(given);
  const { username, password } = url;
  [url.username, url.password] = ['', ''];
  if (token !== undefined) return { url, headers: { authorization: `Bearer ${token}` } };
  if (username + password === '') return { url, headers: {} };
  const credentials = Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString('base64');
  return { url, headers: { authorization: `Basic ${credentials}` } };
}

/** Where the server of this configuration listens, seen from the same machine, which trusts its own authority. Errors: USAGE. */
export function ownUrl(server: Config['server']): URL {
  const { host, port, tls, base_path: path } = server;
  if (port === 0) throw new SightlineError('USAGE', 'server.port is 0, any free one: give its address with --url');
  const near = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  trustOwn(server);
  const scheme = tls.auto || tls.cert_file !== undefined ? 'https' : 'http';
  return new URL(`${scheme}://${near.includes(':') ? `[${near}]` : near}:${port}${path.replace(/\/?$/, '/')}`);
}
