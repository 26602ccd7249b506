/** How STRIDED_SLICE reads its operands (TensorFlow's `StridedSliceOp` and `strided_slice_logic.h`). */

export interface SliceOptions {
  readonly begin: readonly number[];
  readonly end: readonly number[];
  readonly strides: readonly number[];
  /** Bit i: entry i of `begin`, or of `end`, does not count, and the slice reaches to the edge. */
  readonly beginMask: number;
  readonly endMask: number;
  /** Bit i: entry i stands for all dimensions that the others do not name. */
  readonly ellipsisMask: number;
  /** Bit i: entry i makes a new dimension of 1, whatever it says. */
  readonly newAxisMask: number;
  /** Bit i: entry i takes the one element at `begin`, and the dimension is gone. */
  readonly shrinkAxisMask: number;
  /** `end` counts from `begin`. */
  readonly offset: boolean;
}

export interface AxisSlice {
  readonly start: number;
  readonly step: number;
  readonly length: number;
}

export interface SlicePlan {
  /** For each dimension of the input. */
  readonly slices: readonly AxisSlice[];
  readonly shape: readonly number[];
  /** Dimensions of the input that are kept, with −1 for new ones: one for each dimension of `shape`. */
  readonly origins: readonly number[];
}

/** Undefined where the operands do not fit `shape`. */
export function planSlice(shape: readonly number[], options: SliceOptions): SlicePlan | undefined {
  const { begin, end, strides, ellipsisMask, newAxisMask, shrinkAxisMask } = options;
  const entries = begin.length;
  if (end.length !== entries || strides.length !== entries || entries > 31) return undefined;
  const ellipses = [...begin.keys()].filter((i) => has(ellipsisMask, i));
  if (ellipses.length > 1) return undefined;
  const [ellipsis = -1] = ellipses;
  const isNew = (i: number) => i !== ellipsis && has(newAxisMask, i);
  const named = [...begin.keys()].filter((i) => i !== ellipsis && !isNew(i)).length;
  const slices: AxisSlice[] = [];
  const kept: { length: number; origin: number }[] = [];
  const whole = (count: number) => {
    for (let i = 0; i < count; i += 1) {
      const length = shape[slices.length] ?? 0;
      kept.push({ length, origin: slices.length });
      slices.push({ start: 0, step: 1, length });
    }
  };
  if (named > shape.length) return undefined;
  for (let i = 0; i < entries; i += 1) {
    if (i === ellipsis) whole(shape.length - named);
    else if (isNew(i)) kept.push({ length: 1, origin: -1 });
    else {
      const slice = sliceAxis(shape[slices.length] ?? 0, i, options);
      if (!slice) return undefined;
      if (!has(shrinkAxisMask, i)) kept.push({ length: slice.length, origin: slices.length });
      slices.push(slice);
    }
  }
  whole(shape.length - slices.length);
  return { slices, shape: kept.map((k) => k.length), origins: kept.map((k) => k.origin) };
}

function has(mask: number, bit: number): boolean {
  return ((mask >> bit) & 1) === 1;
}

function sliceAxis(size: number, i: number, options: SliceOptions): AxisSlice | undefined {
  const step = options.strides[i] ?? 1;
  const first = options.begin[i] ?? 0;
  const last = (options.end[i] ?? 0) + (options.offset ? first : 0);
  if (step === 0) return undefined;
  const counted = (at: number) => (at < 0 ? at + size : at);
  if (has(options.shrinkAxisMask, i)) {
    const start = has(options.beginMask, i) ? (step > 0 ? 0 : size - 1) : counted(first);
    return start >= 0 && start < size ? { start, step: 1, length: 1 } : undefined;
  }
  const [low, high] = step > 0 ? [0, size] : [-1, size - 1];
  const clamped = (at: number) => Math.min(high, Math.max(low, counted(at)));
  const start = has(options.beginMask, i) ? (step > 0 ? 0 : size - 1) : clamped(first);
  const stop = has(options.endMask, i) ? (step > 0 ? size : -1) : clamped(last);
  return { start, step, length: Math.max(0, Math.ceil((stop - start) / step)) };
}
