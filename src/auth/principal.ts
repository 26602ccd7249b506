import { SightlineError } from '../base/errors.ts';
import { allows, allowsSome, type Action, type Grant } from './grants.ts';

/** Whoever came in, with what they may do. Lives for as long as its credential. */
export class Principal {
  /** The same for all that comes in by one credential: `key:3kd82m1p`. A name that it takes is its own. */
  readonly id: string;
  /** For people. */
  readonly name: string;
  readonly grants: readonly Grant[];
  #ended: SightlineError | undefined;
  readonly #listeners = new Set<(reason: SightlineError) => void>();

  constructor(parts: { readonly id: string; readonly name: string; readonly grants: readonly Grant[] }) {
    this.id = parts.id;
    this.name = parts.name;
    this.grants = parts.grants;
  }

  /** What lives by the credential. */
  get dependants(): number {
    return this.#listeners.size;
  }

  /** The credential counts no more. */
  get isEnded(): boolean {
    return this.#ended !== undefined;
  }

  allows(action: Action, resource: string): boolean {
    return this.#ended === undefined && allows(this.grants, action, resource);
  }

  /** Whether it may do so with the resource, or with something below it. */
  allowsSome(action: Action, resource: string): boolean {
    return this.#ended === undefined && allowsSome(this.grants, action, resource);
  }

  /** Throws PERMISSION_DENIED, and CREDENTIALS_* where the credential counts no more. */
  require(action: Action, resource: string): void {
    if (this.#ended) throw this.#ended;
    if (!this.allows(action, resource)) throw this.denied(action, resource);
  }

  denied(action: Action, resource: string): SightlineError {
    return new SightlineError('PERMISSION_DENIED', `"${this.name}" has no permission ${action}:${resource}`);
  }

  /** Calls back, once, when the credential counts no more: at once if that is so already. Returns how to take that back. */
  onEnd(listener: (reason: SightlineError) => void): () => void {
    if (this.#ended) {
      listener(this.#ended);
      return () => undefined;
    }
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** The credential counts no more. Idempotent. */
  end(reason: SightlineError): void {
    if (this.#ended) return;
    this.#ended = reason;
    const listeners = [...this.#listeners];
    this.#listeners.clear();
    for (const listener of listeners) listener(reason);
  }
}
