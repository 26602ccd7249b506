import { readdir, readFile } from 'node:fs/promises';
import { basename, extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { sha256Of } from '../../src/inference/model-store.ts';
import { openVideo } from '../../src/sources/file.ts';

/** Ten isolated signs of American Sign Language; they lie beside the clone and are no part of it. */
export const CLIPS = fileURLToPath(new URL('../../../shared/media/asl/', import.meta.url));

export interface Clip {
  /** The sign that it shows. */
  readonly name: string;
  readonly path: string;
  readonly sha256: string;
}

/** Packed RGB, 3 bytes a pixel, its own memory. */
export interface ClipFrame {
  readonly bytes: Uint8Array;
  readonly width: number;
  readonly height: number;
  readonly ptsS: number;
}

/** In the order of their names. */
export async function findClips(folder: string): Promise<Clip[]> {
  const files = await readdir(folder).catch(() => [] as string[]);
  const paths = files
    .filter((file) => extname(file) === '.mkv')
    .toSorted()
    .map((file) => join(folder, file));
  if (paths.length === 0) throw new Error(`there are no clips in ${folder}`);
  return await Promise.all(
    paths.map(async (path) => ({ name: basename(path, '.mkv'), path, sha256: sha256Of(await readFile(path)) })),
  );
}

export function clipNamed(clips: readonly Clip[], wanted: string): Clip {
  const clip = clips.find(({ name }) => name === wanted);
  if (!clip) throw new Error(`there is no clip "${wanted}" in ${CLIPS}`);
  return clip;
}

export async function* framesOf({ path }: Clip): AsyncGenerator<ClipFrame, void, undefined> {
  await using file = await openVideo(path);
  for await (const { data, width, height, ptsS } of file) {
    yield { bytes: new Uint8Array(data), width, height, ptsS };
  }
}
