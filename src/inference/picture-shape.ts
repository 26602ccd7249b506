/** The shape of a model's picture input with nothing left open. Pure. */

/** Wishes for the pictures besides the model. */
export interface PictureWish {
  /** Pixels. */
  readonly width?: number;
  /** Pixels. */
  readonly height?: number;
  readonly layout?: 'nchw' | 'nhwc';
  readonly channels?: number;
}

export interface ClosedShape {
  /** undefined: the size is left open, and the user gives none. */
  readonly dims: readonly number[] | undefined;
  readonly sizeOpen: boolean;
}

/** Colours where neither the model nor the user says how many. */
const CHANNELS = 3;
export const isChannelCount = (d: number | string | undefined) => d === 1 || d === 3 || d === 4;
/** Names that exporters give to the dimension of the colours. */
const isChannelName = (d: number | string | undefined) => typeof d === 'string' && /^c$|chan/i.test(d);
const isOpen = (d: number | string | undefined) => typeof d !== 'number' || d <= 0;

/**
 * The batch becomes 1, the picture's sides the wished ones, and open colours, too (Hugging Face's Optimum leaves all
 * four open). A shape without four dimensions is not a picture: everything open in it becomes 1.
 */
export function closePictureShape(shape: readonly (number | string)[], wish: PictureWish = {}): ClosedShape {
  if (shape.length !== 4) return { dims: shape.map((d) => (isOpen(d) ? 1 : Number(d))), sizeOpen: false };
  const [colours, first] = layoutOf(shape, wish) === 'nchw' ? [1, 2] : [3, 1];
  const sizeOpen = isOpen(shape[first]) || isOpen(shape[first + 1]);
  const dims = shape.map((d, axis) => {
    if (!isOpen(d)) return Number(d);
    if (axis === 0) return 1;
    if (axis === colours) return wish.channels ?? CHANNELS;
    return axis === first ? wish.height : wish.width;
  });
  return { dims: dims.every((d) => d !== undefined) ? dims : undefined, sizeOpen };
}

/** PyTorch's order by default. */
function layoutOf(shape: readonly (number | string)[], { layout }: PictureWish): 'nchw' | 'nhwc' {
  if (isChannelCount(shape[1])) return 'nchw';
  if (isChannelCount(shape[3])) return 'nhwc';
  if (layout) return layout;
  return isChannelName(shape[3]) && !isChannelName(shape[1]) ? 'nhwc' : 'nchw';
}
