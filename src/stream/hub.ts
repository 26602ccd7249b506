import type { Clock } from '../base/clock.ts';
import { SightlineError } from '../base/errors.ts';
import type { Random } from '../base/random.ts';
import { Guard } from './guard.ts';
import { Stream } from './stream.ts';
import type { StreamOptions } from './stream.ts';

export interface HubOptions {
  readonly clock: Clock;
  /** Streams that may be open at once. */
  readonly streamsMax: number;
  /** For the streams' epochs. Default: `Math.random`. */
  readonly random?: Random;
}

/** The registry of streams, by name, with a limit. */
export class Hub {
  readonly #options: HubOptions;
  readonly #streams = new Map<string, Stream<unknown>>();
  readonly #guard = new Guard();
  #closed = false;

  constructor(options: HubOptions) {
    this.#options = options;
  }

  /** Runs a callback of another owner: its exceptions are counted, and go no further. */
  guard(callback: () => void): void {
    this.#guard.run(callback);
  }

  /** Callbacks of readers, streams and others (`guard`) that threw since the start. */
  get callbackFaults(): { readonly count: number; readonly last: unknown } {
    return { count: this.#guard.faults, last: this.#guard.lastFault };
  }

  /** Errors: STREAM_NAME_IN_USE, STREAM_LIMIT_REACHED, STREAM_OPTION_BAD, STREAM_CLOSED (the hub is). */
  create<T>(name: string, options: StreamOptions<T>): Stream<T> {
    const { clock, streamsMax, random = Math.random } = this.#options;
    if (this.#closed) throw new SightlineError('STREAM_CLOSED', `the hub is closed: no stream "${name}"`);
    if (name === '') throw new SightlineError('STREAM_OPTION_BAD', 'name "" is empty');
    if (this.#streams.has(name)) throw new SightlineError('STREAM_NAME_IN_USE', `stream "${name}" exists`);
    if (this.#streams.size >= streamsMax) {
      throw new SightlineError(
        'STREAM_LIMIT_REACHED',
        `stream "${name}" would exceed the limit of ${streamsMax} streams`,
      );
    }
    const onClosed = () => this.#streams.delete(name);
    const stream = new Stream<T>({ name, epoch: epochOf(random), clock, guard: this.#guard, onClosed }, options);
    this.#streams.set(name, stream as Stream<unknown>);
    return stream;
  }

  /** The open stream of that name. Its type is that of its creator: the caller must know it. */
  get<T = unknown>(name: string): Stream<T> | undefined {
    return this.#streams.get(name) as Stream<T> | undefined;
  }

  list(): Stream<unknown>[] {
    return [...this.#streams.values()];
  }

  /** Closes one stream, or the hub with all of its streams, after which none can be made. Idempotent. */
  close(name?: string): void {
    if (name !== undefined) {
      this.#streams.get(name)?.close();
      return;
    }
    this.#closed = true;
    for (const stream of this.list()) stream.close();
  }
}

/** 64 bits of chance as letters and digits, so that it can stand in an event id. */
function epochOf(random: Random): string {
  const word = () => Math.floor(random() * 2 ** 32).toString(36);
  return `${word()}${word().padStart(7, '0')}`;
}
