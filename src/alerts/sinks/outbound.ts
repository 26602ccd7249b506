/** The way by which notifications go out: what the sinks need of it, whoever makes it. */
export interface Outbound {
  /** The whole answer, whatever its status. Rejects with an error; one that has `fault` says by it why there is no answer. */
  fetch(
    url: string,
    request: {
      readonly method: string;
      readonly headers: Readonly<Record<string, string>>;
      readonly body: string;
      readonly timeoutMs: number;
      readonly bytesMax: number;
      readonly signal: AbortSignal;
    },
  ): Promise<Response>;
  /** For a connection that a library makes: rejects where a host may not be called, or cannot be looked up. */
  requireHost(host: string): Promise<void>;
}

/** These will be the same at the next attempt: the address may not be called, or leads elsewhere. */
const FINAL: ReadonlySet<unknown> = new Set(['forbidden', 'redirected']);

export function isFinal(thrown: unknown): boolean {
  return FINAL.has((thrown as { fault?: unknown } | null)?.fault);
}
