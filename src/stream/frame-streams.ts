import type { FrameOutcome } from '../base/frame.ts';
import type { Picture } from '../base/picture.ts';
import type { Sample } from '../base/sample.ts';
import { textBytes } from '../base/text-bytes.ts';
import type { MemoryAccount, MemoryLedger } from '../fences/memory-ledger.ts';
import type { Hub } from './hub.ts';
import type { Stream } from './stream.ts';

/**
 * What V8 takes for a frame beside its picture's bytes, for a result, for each object or hand in it, and for an outcome that is none. Measured in
 * Node 24 by `frame-streams-memory.test.ts`, which holds them to a factor of 1.5.
 */
const FRAME_BYTES = 400;
const RESULT_BYTES = 520;
const DETECTION_BYTES = 225;
const HAND_BYTES = 4_900;
const LOSS_BYTES = 180;

/** A stream whose samples are charged. */
interface Held {
  readonly stream: Stream<unknown>;
  bytes: number;
}

/**
 * The streams of sources: frames that wait for a worker, and what became of them. What their rings hold is charged to the source's client.
 * Over its bound, the oldest in the fullest of its streams go, but for the newest; where all sources together are over theirs, the oldest of
 * whoever holds most.
 */
export class FrameStreams {
  readonly #hub: Hub;
  readonly #ledger: MemoryLedger;
  readonly #held = new Map<MemoryAccount, Set<Held>>();

  constructor(hub: Hub, ledger: MemoryLedger) {
    this.#hub = hub;
    this.#ledger = ledger;
  }

  /** `accountOf`: of the client; asked with each sample. Errors: STREAM_LIMIT_REACHED, STREAM_OPTION_BAD, STREAM_CLOSED. */
  frames(name: string, capacity: number, accountOf: () => MemoryAccount): Stream<Picture> {
    return this.create<Picture>(name, capacity, accountOf, ({ bytes }) => bytes.length + FRAME_BYTES);
  }

  /** As `frames`. */
  outcomes(name: string, capacity: number, accountOf: () => MemoryAccount): Stream<FrameOutcome> {
    return this.create(name, capacity, accountOf, outcomeBytes);
  }

  /** The same for what else a source keeps. `bytesOf`: what one of them takes, the same whenever it is asked. `onEvict`: as in `StreamOptions`. */
  create<T>(
    name: string,
    capacity: number,
    accountOf: () => MemoryAccount,
    bytesOf: (data: T) => number,
    onEvict?: (sample: Sample<T>) => void,
  ): Stream<T> {
    const stream: Stream<T> = this.#hub.create<T>(name, {
      capacity,
      onPublish: ({ data }) => {
        const account = accountOf();
        this.#add(account, held, bytesOf(data));
        this.#bound(account);
      },
      onEvict: (sample) => {
        this.#release(accountOf(), held, bytesOf(sample.data));
        onEvict?.(sample);
      },
    });
    const held: Held = { stream: stream as Stream<unknown>, bytes: 0 };
    return stream;
  }

  #add(account: MemoryAccount, held: Held, bytes: number): void {
    if (held.bytes === 0) {
      const all = this.#held.get(account) ?? new Set();
      this.#held.set(account, all.add(held));
    }
    held.bytes += bytes;
    account.add('frames', bytes);
  }

  #release(account: MemoryAccount, held: Held, bytes: number): void {
    held.bytes -= bytes;
    account.release('frames', bytes);
    if (held.bytes > 0) return;
    const all = this.#held.get(account);
    all?.delete(held);
    if (all?.size === 0) this.#held.delete(account);
  }

  #bound(account: MemoryAccount): void {
    while (account.isOver('frames') && this.#dropOldest(account, 1));
    while (this.#ledger.isOver('frames') && this.#dropOldest(this.#ledger.largest('frames'), 0));
  }

  /** Of the fullest stream with more than `keep` samples. False: there is none. */
  #dropOldest(account: MemoryAccount, keep: number): boolean {
    let fullest: Held | undefined;
    for (const held of this.#held.get(account) ?? []) {
      const { head, oldest } = held.stream;
      if (head - oldest > keep && (fullest === undefined || held.bytes > fullest.bytes)) fullest = held;
    }
    if (fullest === undefined) return false;
    this.#ledger.evict('frames', account);
    fullest.stream.trim(fullest.stream.oldest + 1);
    return true;
  }
}

/** Memory of an outcome, bytes. */
export function outcomeBytes(outcome: FrameOutcome): number {
  if (outcome.kind === 'dropped') return LOSS_BYTES;
  if (outcome.kind === 'error') return LOSS_BYTES + textBytes(outcome.message);
  const { result } = outcome;
  switch (result.pipeline) {
    case 'objects':
      return RESULT_BYTES + result.detections.length * DETECTION_BYTES;
    case 'hands':
      return RESULT_BYTES + result.hands.length * HAND_BYTES;
  }
}
