import type { BatchMessage, Compressors, Decompressors } from '../../protocol/batch.ts';
import { headOf, type BatchDraft } from '../../protocol/batch-drafts.ts';
import { chooseEncoding, tryEncodings, type EncodingTrial } from '../../protocol/encoding-choice.ts';
import type { Compression, PayloadCodec } from '../../protocol/telemetry.ts';
import type { Topic } from '../../stream/topics.ts';

/** What is tried without being asked for: every client can read these. */
const CANDIDATES: readonly Compression[] = ['none', 'lz4', 'zlib'];
/** A topic's choice is looked at again after so long, and only one in so long for all topics together: a trial takes about 3 ms. */
const AGAIN_MS = 30_000;
const BETWEEN_MS = 100;
/** After so many batches in a row that compression did not make smaller it rests for so many. */
const MISSES_MAX = 4;
const REST_BATCHES = 64;

export interface CompressionSettings {
  /** `auto`: for each topic what costs its readers the least, by trial. */
  readonly compression: Compression | 'auto';
  /** Batches up to this size are not compressed. */
  readonly compressionThresholdBytes: number;
  /** What a byte costs on the way to a reader. */
  readonly nsPerByte: number;
}

interface Choice {
  trial: EncodingTrial | undefined;
  againMs: number;
  /** Messages of the batch that it was tried on. */
  messages: number;
}

interface State {
  misses: number;
  restBatches: number;
  readonly choices: Map<PayloadCodec, Choice>;
}

/** How the batches of each topic are compressed: as the setting says, or as measured. */
export class CompressionChoice {
  readonly #settings: CompressionSettings;
  readonly #compressors: Compressors;
  readonly #decompressors: Decompressors;
  readonly #now: () => number;
  /** Weak: it goes with the topic. */
  readonly #states = new WeakMap<Topic, State>();
  #nextTrialMs = -Infinity;

  /** `now`: a clock with fractions of a millisecond. */
  constructor(
    settings: CompressionSettings,
    compressors: Compressors,
    decompressors: Decompressors,
    now: () => number,
  ) {
    this.#settings = settings;
    this.#compressors = compressors;
    this.#decompressors = decompressors;
    this.#now = now;
  }

  /** For a batch whose first messages are of this topic. */
  choose(topic: Topic, draft: BatchDraft): Compression {
    const { compression, compressionThresholdBytes } = this.#settings;
    if (draft.bytes <= compressionThresholdBytes) return 'none';
    const state = this.#stateOf(topic);
    if (state.restBatches > 0) {
      state.restBatches--;
      return 'none';
    }
    return compression === 'auto' ? this.#measured(topic, draft, state) : compression;
  }

  /** Compression that gains nothing is paused, and tried again now and then. */
  learn(topic: Topic, hasGained: boolean): void {
    const state = this.#stateOf(topic);
    state.misses = hasGained ? 0 : state.misses + 1;
    if (state.misses >= MISSES_MAX) state.restBatches = REST_BATCHES;
  }

  #measured(topic: Topic, draft: BatchDraft, { choices }: State): Compression {
    let choice = choices.get(draft.codec);
    if (choice === undefined)
      choices.set(draft.codec, (choice = { trial: undefined, againMs: -Infinity, messages: 0 }));
    const nowMs = this.#now();
    // What one message alone does not gain, many together may.
    const isLarger = draft.sample.length >= 2 * choice.messages;
    if ((isLarger || nowMs >= choice.againMs) && nowMs >= this.#nextTrialMs) {
      choice.messages = draft.sample.length;
      choice.trial = this.#try(topic, draft, choice.trial);
      choice.againMs = nowMs + AGAIN_MS;
      this.#nextTrialMs = nowMs + BETWEEN_MS;
    }
    return choice.trial?.compression ?? (draft.codec === 'columns' ? 'none' : 'lz4');
  }

  #try(topic: Topic, draft: BatchDraft, current: EncodingTrial | undefined): EncodingTrial | undefined {
    const { sample } = draft;
    const [section] = draft.sections;
    const sections = [{ ...section!, count: sample.length }];
    const small = { ...draft, sections };
    const heads = CANDIDATES.map((compression) => headOf(small, compression));
    const trial = (messages: readonly BatchMessage[]): EncodingTrial[] =>
      tryEncodings(heads, messages, this.#compressors, this.#decompressors, this.#now);
    // The first time is that of code and caches that are not warm.
    trial(sample);
    const { nsPerByte } = this.#settings;
    return chooseEncoding(trial(sample), {
      readers: topic.stream.readerCount,
      nsPerByte,
      ...(current && { current }),
    });
  }

  #stateOf(topic: Topic): State {
    let state = this.#states.get(topic);
    if (state === undefined) this.#states.set(topic, (state = { misses: 0, restBatches: 0, choices: new Map() }));
    return state;
  }
}
