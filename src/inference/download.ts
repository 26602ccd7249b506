import { SightlineError } from '../base/errors.ts';
import type { FetchLimits } from './npm-file.ts';

const MIB = 1024 * 1024;

/**
 * The bytes behind an `https:` address. The caller checks them. Throws MODEL_FETCH_FAILED when the address is
 * not https, does not answer in time (default 5 minutes for everything) or sends more than `bytesMax` (default 256 MiB).
 * `get` stands in for `fetch` in tests.
 */
export async function download(url: string, limits: FetchLimits = {}, get: typeof fetch = fetch): Promise<Uint8Array> {
  const { bytesMax = 256 * MIB, timeoutMs = 300_000, signal } = limits;
  const failed = (why: string, cause?: unknown) =>
    new SightlineError('MODEL_FETCH_FAILED', `${url}: ${why}`, cause === undefined ? undefined : { cause });
  if (!url.startsWith('https://')) throw failed('only https addresses are fetched');
  const timeout = AbortSignal.timeout(timeoutMs);
  try {
    const response = await get(url, { signal: signal ? AbortSignal.any([signal, timeout]) : timeout });
    if (!response.ok || !response.body) throw failed(`HTTP status ${response.status}`);
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    for await (const chunk of response.body) {
      bytes += chunk.length;
      if (bytes > bytesMax) throw failed(`more than ${bytesMax} bytes`);
      chunks.push(chunk);
    }
    return Buffer.concat(chunks, bytes);
  } catch (thrown) {
    if (thrown instanceof SightlineError) throw thrown;
    if (timeout.aborted) throw failed(`no answer within ${timeoutMs} ms`, thrown);
    const { cause, message } = thrown as Error;
    throw failed(cause instanceof Error ? cause.message : message, thrown);
  }
}
