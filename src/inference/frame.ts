import { SightlineError } from '../base/errors.ts';
import type { PictureInput } from '../vision/types.ts';
import type { ProvenTensor } from './prove.ts';

/** What pictures a model takes, according to its input. Pure. */

export type PictureFrame = Pick<PictureInput, 'width' | 'height' | 'layout'>;

/** Throws MODEL_UNSUPPORTED for an input that is not a picture in three colours or in grey. */
export function frameOf(name: string, { dims, name: tensor }: ProvenTensor): PictureFrame {
  const [, a = 0, b = 0, c = 0] = dims;
  if (dims.length === 4 && a === 3) return { layout: 'nchw', height: b, width: c };
  if (dims.length === 4 && c === 3) return { layout: 'nhwc', height: a, width: b };
  if (dims.length === 4 && a === 1) return { layout: 'nchw', height: b, width: c };
  if (dims.length === 4 && c === 1) return { layout: 'nhwc', height: a, width: b };
  throw new SightlineError(
    'MODEL_UNSUPPORTED',
    `${name}: its input "${tensor}" of shape [${dims}] is not a picture in three colours or in grey`,
  );
}

/**
 * Exceptions to the convention of the head's own project: one channel is grey; a model that takes the bytes of pixels scales them
 * itself. The exporter decides how a pixel becomes a signed byte: USAGE where that is not given.
 */
export function ownConvention(
  name: string,
  { type, dims }: ProvenTensor,
  said: Partial<PictureInput> = {},
): Partial<Pick<PictureInput, 'colour' | 'mean' | 'std'>> {
  const [, a, , c] = dims;
  const isGrey = a !== 3 && c !== 3 && (a === 1 || c === 1);
  if (type === 'int8' && !(said.mean && said.std)) {
    throw new SightlineError(
      'USAGE',
      `${name}: it takes int8, and how to scale pixels is unknown; set it with --mean and --std (often 128 and 1)`,
    );
  }
  return { ...(isGrey && { colour: 'grey' }), ...(type === 'uint8' && { mean: [0, 0, 0], std: [1, 1, 1] }) };
}
