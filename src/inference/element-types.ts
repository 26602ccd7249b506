/** Element types of tensors. A file of its own, so that code that only asks about types does not load ONNX Runtime. */

/** Of an input. */
export const PICTURE_TYPES = ['float32', 'float16', 'uint8', 'int8'] as const;
export type PictureType = (typeof PICTURE_TYPES)[number];
/** Of an output. */
export const RESULT_TYPES = ['float32', 'float16'] as const;

/** Values of an integer type; undefined for one that has fractions. */
export function rangeOf(type: string): { readonly min: number; readonly max: number } | undefined {
  if (type === 'uint8') return { min: 0, max: 255 };
  return type === 'int8' ? { min: -128, max: 127 } : undefined;
}
