import type { CameraFragment, CameraView } from '../../src/client/camera-session.ts';
import { decodePictures } from '../../test/support/decoded.ts';
import type { NamedPicture } from './identity-log.ts';

/** All pictures of a view of the raw channel, decoded, each beside the name that came with its fragment. */

/** Groups of pictures that wait to be decoded; more of them are an error of the benchmark, which is to ask for less. */
const WAITING_MAX = 200;

export class DecodedView {
  readonly pictures: NamedPicture[] = [];
  /** Fragments that came. */
  fragments = 0;
  #group: CameraFragment[] = [];
  #waiting = 0;
  #decoding = Promise.resolve();

  /** May be called again, with another view of the same camera. */
  watch(view: CameraView): void {
    view.on('fragment', (fragment) => this.#take(fragment));
  }

  /** Resolves when all that has come is decoded. */
  async flush(): Promise<void> {
    this.#decodeGroup();
    await this.#decoding;
  }

  #take(fragment: CameraFragment): void {
    const last = this.#group.at(-1)?.frame;
    const { frame, isKey } = fragment;
    if (isKey || frame.epoch !== last?.epoch || frame.seq !== last.seq + 1) this.#decodeGroup();
    this.#group.push(fragment);
    this.fragments += 1;
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

  async #decodeAfter(before: Promise<void>, group: readonly CameraFragment[]): Promise<void> {
    await before;
    this.pictures.push(...(await decoded(group)));
    this.#waiting -= 1;
  }
}

/** FFmpeg gives pictures in the order in which they are shown, which is that of their times in the medium. Where some are missing, nobody knows which: then all of them are. */
async function decoded(group: readonly CameraFragment[]): Promise<NamedPicture[]> {
  const pictures = await decodePictures(Buffer.concat([group[0]!.init.bytes, ...group.map(({ bytes }) => bytes)]));
  if (pictures.length !== group.length) return [];
  return group
    .toSorted((a, b) => a.mediaTimeS - b.mediaTimeS)
    .map(({ frame, serverCaptureTimeMs }, i) => ({
      frame,
      captureTimeMs: serverCaptureTimeMs,
      number: pictures[i]!.number,
    }));
}
