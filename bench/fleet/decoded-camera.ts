import { decodePictures } from '../../test/support/decoded.ts';
import type { NamedFrame, NamedPicture } from './identity-log.ts';

/** All pictures of a camera that came to one reader, decoded, each beside the name that came with it. */

export interface CodedPicture extends NamedFrame {
  readonly isKey: boolean;
  /** In the order of which pictures are shown. */
  readonly mediaTimeS: number;
  /** What is decoded before the first one of a group. */
  readonly head?: Uint8Array;
  readonly bytes: Uint8Array;
}

/** Groups of pictures that wait to be decoded; more of them are an error of the benchmark, which is to ask for less. */
const WAITING_MAX = 200;

export class DecodedCamera {
  readonly pictures: NamedPicture[] = [];
  /** That came. */
  frames = 0;
  /** Those of them that cannot be decoded, as one before them, since the last key frame, did not come. */
  headless = 0;
  #group: CodedPicture[] = [];
  #waiting = 0;
  #decoding = Promise.resolve();

  take(coded: CodedPicture): void {
    const last = this.#group.at(-1)?.frame;
    const { frame, isKey } = coded;
    this.frames += 1;
    if (isKey || frame.epoch !== last?.epoch || frame.seq !== last.seq + 1) this.#decodeGroup();
    if (isKey || this.#group.length > 0) this.#group.push(coded);
    else this.headless += 1;
  }

  /** Resolves when all groups that have ended are decoded. */
  settled(): Promise<void> {
    return this.#decoding;
  }

  /** Resolves when all that has come is decoded. */
  async flush(): Promise<void> {
    this.#decodeGroup();
    await this.#decoding;
  }

  #decodeGroup(): void {
    const group = this.#group;
    if (group.length === 0) return;
    this.#group = [];
    if (this.#waiting >= WAITING_MAX) throw new Error(`${WAITING_MAX} groups of pictures wait to be decoded`);
    this.#waiting += 1;
    this.#decoding = this.#decodeAfter(this.#decoding, group);
    // It is told by `flush`.
    this.#decoding.catch(() => undefined);
  }

  async #decodeAfter(before: Promise<void>, group: readonly CodedPicture[]): Promise<void> {
    await before;
    this.pictures.push(...(await decode(group)));
    this.#waiting -= 1;
  }
}

/** FFmpeg gives pictures in the order in which they are shown, which is that of their times in the medium. Where some are missing, nobody knows which: then all of them are. */
async function decode(group: readonly CodedPicture[]): Promise<NamedPicture[]> {
  const { head } = group[0]!;
  const bytes = group.map((coded) => coded.bytes);
  const pictures = await decodePictures(Buffer.concat(head ? [head, ...bytes] : bytes));
  if (pictures.length !== group.length) return [];
  return group
    .toSorted((a, b) => a.mediaTimeS - b.mediaTimeS)
    .map(({ frame, captureTimeMs }, i) => ({ frame, captureTimeMs, number: pictures[i]!.number }));
}
