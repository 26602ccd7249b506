import { createHash } from 'node:crypto';
import { Decoder, Demuxer } from 'node-av/api';
import { readNumber } from './picture-number.ts';

export interface DecodedPicture {
  /** Of all its planes. */
  readonly hash: string;
  /** That it carries (`picture-number.ts`). */
  readonly number: number | undefined;
  readonly ptsS: number;
  readonly isKey: boolean;
  readonly width: number;
  readonly height: number;
}

/** All pictures of a stream, as FFmpeg decodes them, in the order in which they are shown. */
export async function decodePictures(input: string | Buffer): Promise<DecodedPicture[]> {
  const pictures: DecodedPicture[] = [];
  await using demuxer = await Demuxer.open(input);
  const stream = demuxer.video()!;
  using decoder = await Decoder.create(stream, { context: { threadCount: 1 } });
  for await (const frame of decoder.frames(demuxer.packets(stream.index))) {
    if (!frame) break;
    const { width, height, timeBase } = frame;
    // 8 bits of luma come first, rows without padding.
    const data = frame.toBuffer();
    pictures.push({
      hash: createHash('sha256').update(data).digest('base64'),
      number: readNumber({ data, width, height, pixelBytes: 1 }),
      ptsS: (Number(frame.pts) * timeBase.num) / timeBase.den,
      isKey: frame.keyFrame === 1,
      width,
      height,
    });
    frame.free();
  }
  return pictures;
}
