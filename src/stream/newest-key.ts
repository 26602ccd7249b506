import type { Stream } from './stream.ts';

/** Position of the newest key frame that a stream of frames still holds, from a position on. */
export function newestKey(stream: Stream<{ readonly isKey: boolean }>, from = stream.oldest): number | undefined {
  for (let position = stream.head - 1; position >= from; position--) {
    if (stream.at(position)?.data.isKey) return position;
  }
  return undefined;
}
