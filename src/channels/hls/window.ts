import { isSameInit, type InitName } from '../../base/camera-frame.ts';
import type { Part, Segment } from '../segmenter.ts';

/** What a channel keeps: the segments of its playlist, and those that were in it lately, since players may be about to ask for them (6.2.2). */

export interface WindowBounds {
  /** The playlist lists so much, s; three target durations at least. */
  readonly listedS: number;
  readonly bytesMax: number;
}

/** Why segments have gone: they were too old, or there was no room, of the channel's own or for all channels. */
export type EvictionBound = 'age' | 'bytes' | 'total_bytes';

const LISTED_DURATIONS_MIN = 3;

export class SegmentWindow {
  readonly #bounds: WindowBounds;
  readonly #onEvicted: (bound: EvictionBound, segments: number) => void;
  /** The oldest first. */
  readonly #all: Segment[] = [];
  /** Of `#all`, from there on. */
  #listedFrom = 0;
  #listedS = 0;
  #goneS = 0;
  #bytes = 0;
  #discontinuities = 0;

  constructor(bounds: WindowBounds, onEvicted: (bound: EvictionBound, segments: number) => void) {
    this.#bounds = bounds;
    this.#onEvicted = onEvicted;
  }

  get listed(): readonly Segment[] {
    return this.#all.slice(this.#listedFrom);
  }

  /** Discontinuities that the playlist had, and has no more. */
  get discontinuitySequence(): number {
    return this.#discontinuities;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get newest(): Segment | undefined {
    return this.#all.at(-1);
  }

  /** May the oldest go? The newest one stays. */
  get canEvict(): boolean {
    return this.#all.length > 1;
  }

  add(segment: Segment, targetS: number): void {
    const { listedS, bytesMax } = this.#bounds;
    const leastS = Math.max(listedS, LISTED_DURATIONS_MIN * targetS);
    this.#all.push(segment);
    this.#bytes += bytesOf(segment);
    this.#listedS += segment.durationS;
    while (this.#listedS - this.#all[this.#listedFrom]!.durationS >= leastS) this.#unlist();
    // As long as any playlist that has it, and itself.
    while (this.#goneS - this.#all[0]!.durationS >= leastS + targetS) this.evict('age');
    while (this.#bytes > bytesMax && this.canEvict) this.evict('bytes');
  }

  /** The oldest. */
  evict(bound: EvictionBound): void {
    if (this.#listedFrom === 0) this.#unlist();
    const segment = this.#all.shift()!;
    this.#listedFrom--;
    this.#goneS -= segment.durationS;
    this.#bytes -= bytesOf(segment);
    this.#onEvicted(bound, 1);
  }

  segment(epoch: number, msn: number): Segment | undefined {
    const found = this.#all[msn - (this.#all[0]?.msn ?? 0)];
    return found?.init.epoch === epoch ? found : undefined;
  }

  part(epoch: number, number: number): Part | undefined {
    const segment = this.#all.findLast(({ parts: [first] }) => first !== undefined && first.number <= number);
    return segment?.init.epoch === epoch ? segment.parts[number - segment.parts[0]!.number] : undefined;
  }

  init(name: InitName): Uint8Array | undefined {
    return this.#all.findLast(({ init }) => isSameInit(name, init))?.init.bytes;
  }

  clear(): void {
    this.#all.length = 0;
    this.#bytes = 0;
  }

  #unlist(): void {
    const segment = this.#all[this.#listedFrom]!;
    this.#listedFrom++;
    this.#listedS -= segment.durationS;
    this.#goneS += segment.durationS;
    if (segment.isDiscontinuous) this.#discontinuities++;
  }
}

function bytesOf({ bytes }: Segment): number {
  return bytes?.length ?? 0;
}
