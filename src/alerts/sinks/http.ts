import type { SendOutcome } from '../delivery.ts';
import { isFinal, type Outbound } from './outbound.ts';

/** One POST of JSON, and what its answer means. */

/** Nobody reads more of an answer. */
const ANSWER_BYTES_MAX = 16 * 1024;

export interface Post {
  readonly url: string;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  /** For `Retry-After` with a date: Unix ms. */
  readonly wallMs: number;
}

/** Never rejects. Statuses: RFC 9110; of the client's errors 408 and 429 pass. */
export async function post(
  outbound: Outbound,
  { url, body, headers, timeoutMs, signal, wallMs }: Post,
): Promise<SendOutcome> {
  let answer: Response;
  try {
    answer = await outbound.fetch(url, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', 'User-Agent': 'sightline', ...headers },
      body,
      timeoutMs,
      bytesMax: ANSWER_BYTES_MAX,
      signal,
    });
  } catch (thrown) {
    const reason = wordsOf(thrown);
    return isFinal(thrown) ? { kind: 'refused', reason } : { kind: 'failed', reason };
  }
  const { status } = answer;
  if (answer.ok) return { kind: 'delivered' };
  const reason = `it answers with status ${status}`;
  if (status >= 300 && status < 500 && status !== 408 && status !== 429) return { kind: 'refused', reason };
  return { kind: 'failed', reason, afterMs: retryAfterMs(answer.headers.get('retry-after'), wallMs) };
}

/** `Retry-After` (RFC 9110 §10.2.3): seconds, or a date. */
export function retryAfterMs(value: string | null, wallMs: number): number | undefined {
  if (value === null) return undefined;
  if (/^\d{1,9}$/.test(value)) return Number(value) * 1_000;
  // `Date.parse` takes much for a date.
  const dateMs = value.endsWith(' GMT') ? Date.parse(value) : Number.NaN;
  return Number.isNaN(dateMs) ? undefined : Math.max(0, dateMs - wallMs);
}

function wordsOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown);
  // What `fetch` says is in its cause.
  return thrown.cause instanceof Error && thrown.message === 'fetch failed' ? wordsOf(thrown.cause) : thrown.message;
}
