import type { FrameName } from '../../src/base/frame-name.ts';

/** Whether the number in a picture is the one that its source has sent as the frame of that name. Pure. */

export interface SentPicture {
  readonly number: number;
  /** By the camera's clock, Unix ms. */
  readonly captureTimeMs: number;
  /** Unix ms. */
  readonly sentTimeMs: number;
}

export interface NamedFrame {
  readonly frame: Pick<FrameName, 'epoch' | 'seq'>;
  /** As the server tells it, Unix ms. */
  readonly captureTimeMs: number;
}

export interface NamedPicture extends NamedFrame {
  /** That the picture carries; undefined: none can be read in it. */
  readonly number: number | undefined;
}

export interface Identity {
  readonly frames: number;
  readonly mismatches: number;
  readonly unreadable: number;
  readonly epochs: number;
  /** Some of the mismatches. */
  readonly examples: readonly string[];
}

/** What was found on one way. */
export interface FoundIdentity {
  readonly identity: Identity;
  readonly results: number;
  /** Results that are not of the frame whose name they bear. */
  readonly strangers: number;
  /** Where all are to come: frames and messages that are missing, or there twice, though nobody told that. */
  readonly unaccounted?: number;
  readonly more: Readonly<Record<string, number>>;
}

export const NO_IDENTITY: Identity = { frames: 0, mismatches: 0, unreadable: 0, epochs: 0, examples: [] };

const EXAMPLES_MAX = 5;

export function addIdentities(one: Identity, other: Identity): Identity {
  return {
    frames: one.frames + other.frames,
    mismatches: one.mismatches + other.mismatches,
    unreadable: one.unreadable + other.unreadable,
    epochs: one.epochs + other.epochs,
    examples: [...one.examples, ...other.examples].slice(0, EXAMPLES_MAX),
  };
}

/** Clocks of processes on one machine agree to two milliseconds or so; two frames are much further apart. */
const CAPTURE_TOLERANCE_MS = 5;

/** What one camera has sent. */
export class SentLog {
  /** In the order of sending, which is that of decoding and of the frames' numbers in an epoch. */
  readonly #sent: readonly SentPicture[];
  /** Places in it, in the order of capture. */
  readonly #byCapture: readonly number[];
  /** By epoch: the place of its frame 0. */
  readonly #origins = new Map<number, number>();
  #captureOffMsMax = 0;

  constructor(sent: readonly SentPicture[]) {
    this.#sent = sent;
    this.#byCapture = [...sent.keys()].toSorted((a, b) => sent[a]!.captureTimeMs - sent[b]!.captureTimeMs);
  }

  /** Most that the time of capture of a frame that was found was off. */
  get captureOffMsMax(): number {
    return this.#captureOffMsMax;
  }

  /**
   * The picture that was sent as this frame; undefined: none was. Both the time of capture and the number in its epoch have to say so: what was sent while an epoch
   * lasted was not interrupted, so all of its frames are as far from their places as its first one that is asked for.
   */
  find({ frame, captureTimeMs }: NamedFrame): SentPicture | undefined {
    const place = this.#placeAt(captureTimeMs);
    if (place === undefined) return undefined;
    const origin = this.#origins.get(frame.epoch) ?? place - frame.seq;
    this.#origins.set(frame.epoch, origin);
    return place - frame.seq === origin ? this.#sent[place] : undefined;
  }

  /** Of the one captured nearest to this time. */
  #placeAt(timeMs: number): number | undefined {
    const sent = this.#sent;
    let [low, high] = [0, this.#byCapture.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sent[this.#byCapture[middle]!]!.captureTimeMs <= timeMs) low = middle + 1;
      else high = middle;
    }
    const farMs = (place: number | undefined) =>
      place === undefined ? Infinity : Math.abs(sent[place]!.captureTimeMs - timeMs);
    const [before, after] = [this.#byCapture[low - 1], this.#byCapture[low]];
    const nearest = farMs(before) <= farMs(after) ? before : after;
    const offMs = farMs(nearest);
    if (!(offMs <= CAPTURE_TOLERANCE_MS)) return undefined;
    this.#captureOffMsMax = Math.max(this.#captureOffMsMax, offMs);
    return nearest;
  }
}

/** `mismatches`: the number is another one than was sent as that frame, or no frame of that name was sent. */
export function identityOf(log: SentLog, pictures: readonly NamedPicture[]): Identity {
  let [mismatches, unreadable] = [0, 0];
  const epochs = new Set<number>();
  const examples: string[] = [];
  for (const picture of pictures) {
    const { frame, number } = picture;
    epochs.add(frame.epoch);
    const sent = log.find(picture)?.number;
    if (number === undefined) unreadable += 1;
    else if (sent !== number) {
      mismatches += 1;
      const what = sent === undefined ? 'no frame' : `picture ${sent}`;
      if (examples.length < EXAMPLES_MAX) examples.push(`${frame.epoch}/${frame.seq}: ${number}, and ${what} was sent`);
    }
  }
  return { frames: pictures.length, mismatches, unreadable, epochs: epochs.size, examples };
}

/** How many of these results are of a frame that was not sent, or whose picture did not come under that name. */
export function strangersAmong(
  log: SentLog,
  pictures: readonly NamedPicture[],
  results: readonly NamedFrame[],
): number {
  const nameOf = ({ frame }: NamedFrame): string => `${frame.epoch}/${frame.seq}`;
  const numbers = new Map(pictures.map((picture) => [nameOf(picture), picture.number]));
  return results.filter((result) => {
    const sent = log.find(result);
    return sent === undefined || numbers.get(nameOf(result)) !== sent.number;
  }).length;
}
