import { z } from 'zod';
import { wallTimeMs, type Clock } from '../base/clock.ts';
import { SightlineError } from '../base/errors.ts';
import type { Outbound } from '../net/outbound.ts';
import { GRANTS_MAX, parseGrant } from './grants.ts';
import type { Verified } from './verified.ts';

/**
 * A program of the operator's decides who comes in: it gets the credential and the caller's address as JSON by POST, and answers with
 * a name and permissions, or 401 or 403. The idea is MediaMTX's (`authHTTPAddress`).
 */

export interface CallbackSettings {
  readonly url: string;
}

const ANSWER_BYTES_MAX = 64 * 1024;
const TIMEOUT_MS = 5_000;
const LIFE_S = 60;

const answerSchema = z.object({
  name: z.string().min(1).max(128),
  permissions: z.array(z.string()).min(1).max(GRANTS_MAX),
  expires_in_s: z.number().min(1).max(86_400).default(LIFE_S),
});

export class CallbackVerifier {
  readonly #clock: Clock;
  readonly #url: string;
  readonly #outbound: Outbound;

  constructor(parts: { readonly clock: Clock; readonly outbound: Outbound; readonly settings: CallbackSettings }) {
    this.#clock = parts.clock;
    this.#outbound = parts.outbound;
    this.#url = parts.settings.url;
  }

  /** Errors: CREDENTIALS_BAD; CREDENTIALS_UNCHECKED where there is no answer that can be read. */
  async verify(credential: string, address: string | undefined): Promise<Verified> {
    const response = await this.#ask({ credential, address });
    if (response.status === 401 || response.status === 403) {
      throw new SightlineError('CREDENTIALS_BAD', 'the credential does not count here');
    }
    if (!response.ok) throw this.#unchecked(`it answers with status ${response.status}`);
    try {
      const { name, permissions, expires_in_s: lifeS } = answerSchema.parse(await response.json());
      return {
        id: `callback:${name}`,
        name,
        grants: permissions.map(parseGrant),
        expiresAtMs: wallTimeMs(this.#clock) + lifeS * 1000,
      };
    } catch (thrown) {
      throw this.#unchecked(`its answer cannot be read: ${faultOf(thrown)}`, thrown);
    }
  }

  async #ask(question: object): Promise<Response> {
    try {
      return await this.#outbound.fetch(this.#url, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify(question),
        timeoutMs: TIMEOUT_MS,
        bytesMax: ANSWER_BYTES_MAX,
      });
    } catch (thrown) {
      throw this.#unchecked(faultOf(thrown), thrown);
    }
  }

  #unchecked(why: string, cause?: unknown): SightlineError {
    return new SightlineError('CREDENTIALS_UNCHECKED', `auth.callback_url does not decide: ${why}`, { cause });
  }
}

function faultOf(thrown: unknown): string {
  // Its words would quote the answer.
  if (thrown instanceof SyntaxError) return 'it is not JSON';
  if (thrown instanceof z.ZodError) return thrown.issues[0]?.message ?? 'it has another form';
  return thrown instanceof Error ? thrown.message : String(thrown);
}
