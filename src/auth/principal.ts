import { SightlineError } from '../base/errors.ts';
import { allows, allowsSome, type Action, type Grant } from './grants.ts';

/** What lives by a credential. An interface, and no callback: thousands of sessions may live by one. */
export interface Dependant {
  /** The credential counts no more. */
  end(reason: SightlineError): void;
}

/** Whoever came in, with what they may do. Lives for as long as its credential. */
export class Principal {
  /** The same for all that comes in by one credential: `key:3kd82m1p`. A name that it takes is its own. */
  readonly id: string;
  /** For people. */
  readonly name: string;
  readonly grants: readonly Grant[];
  #ended: SightlineError | undefined;
  readonly #dependants = new Set<Dependant>();

  constructor(parts: { readonly id: string; readonly name: string; readonly grants: readonly Grant[] }) {
    this.id = parts.id;
    this.name = parts.name;
    this.grants = parts.grants;
  }

  /** What lives by the credential. */
  get dependants(): number {
    return this.#dependants.size;
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
    const dependant: Dependant = { end: listener };
    this.add(dependant);
    return () => this.remove(dependant);
  }

  /** Ends it, once, when the credential counts no more: at once if that is so already. */
  add(dependant: Dependant): void {
    if (this.#ended) dependant.end(this.#ended);
    else this.#dependants.add(dependant);
  }

  /** It lives by the credential no longer. Idempotent. */
  remove(dependant: Dependant): void {
    this.#dependants.delete(dependant);
  }

  /** The credential counts no more. Idempotent. */
  end(reason: SightlineError): void {
    if (this.#ended) return;
    this.#ended = reason;
    const dependants = [...this.#dependants];
    this.#dependants.clear();
    for (const dependant of dependants) dependant.end(reason);
  }
}
