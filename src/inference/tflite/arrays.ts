export function elementsOf(shape: readonly number[]): number {
  return shape.reduce((a, b) => a * b, 1);
}

/** How many elements lie between two neighbours along each dimension. */
export function stridesOf(shape: readonly number[]): number[] {
  return shape.map((_, axis) => elementsOf(shape.slice(axis + 1)));
}

/** The elements of an array of up to four dimensions in another order of these: `to[i] = from[permutation[i]]`. */
export function transposed(
  values: Float32Array,
  shape: readonly number[],
  permutation: readonly number[],
): Float32Array {
  const strides = stridesOf(shape);
  const [n0 = 1, n1 = 1, n2 = 1, n3 = 1] = permutation.map((axis) => shape[axis] ?? 1);
  const [s0 = 0, s1 = 0, s2 = 0, s3 = 0] = permutation.map((axis) => strides[axis] ?? 0);
  const moved = new Float32Array(values.length);
  let to = 0;
  for (let a = 0; a < n0; a += 1) {
    for (let b = 0; b < n1; b += 1) {
      for (let c = 0; c < n2; c += 1) {
        for (let d = 0; d < n3; d += 1) moved[to++] = values[a * s0 + b * s1 + c * s2 + d * s3] as number;
      }
    }
  }
  return moved;
}

/** The shape of two operands that broadcast, as NumPy has it; undefined when they do not. */
export function broadcastShape(a: readonly number[], b: readonly number[]): number[] | undefined {
  const shape: number[] = [];
  for (let i = 1; i <= Math.max(a.length, b.length); i += 1) {
    const [x, y] = [a.at(-i) ?? 1, b.at(-i) ?? 1];
    const isWithin = (of: readonly number[]) => i <= of.length;
    if (x !== y && isWithin(a) && isWithin(b) && x !== 1 && y !== 1) return undefined;
    shape.unshift(x === 1 ? y : x);
  }
  return shape;
}
