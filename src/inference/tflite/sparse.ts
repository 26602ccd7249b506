import { elementsOf, stridesOf } from './arrays.ts';
import type { Sparsity } from './reader.ts';

/**
 * A sparse constant as a plain one, its other elements 0. The layout is TACO's as TFLite uses it
 * (`tensorflow/lite/internal/utils/sparsity_format_converter`): the dimensions are walked in the order in which they are stored;
 * of a dense one every index has a place, of a compressed one those between two entries of `segments`. Where the tensor is cut
 * into blocks, further dimensions count inside of a block.
 *
 * `elements`: those that are stored, each of `elementBytes`. Undefined when they do not fit `shape`.
 */
export function densify(
  elements: Uint8Array,
  elementBytes: number,
  shape: readonly number[],
  { order, blockMap, dimensions }: Sparsity,
): Uint8Array | undefined {
  const rank = shape.length;
  const levels = rank + blockMap.length;
  const isPermutation = order.toSorted((a, b) => a - b).every((dimension, i) => dimension === i);
  if (order.length !== levels || dimensions.length !== levels || !isPermutation) return undefined;
  // How many blocks a dimension holds, and how many elements of it each block.
  const blockSize = shape.map(() => 1);
  for (const [i, axis] of blockMap.entries()) {
    const inside = dimensions[order.indexOf(rank + i)];
    const size = inside?.kind === 'dense' ? inside.size : 0;
    const extent = shape[axis];
    if (extent === undefined || blockSize[axis] !== 1 || size < 1 || extent % size !== 0) return undefined;
    blockSize[axis] = size;
  }
  // How far one step along a stored dimension moves in the plain array, in elements, and how many steps there are.
  const stride = stridesOf(shape);
  const step = order.map((dimension) =>
    dimension < rank
      ? (stride[dimension] ?? 0) * (blockSize[dimension] ?? 1)
      : (stride[blockMap[dimension - rank] ?? 0] ?? 0),
  );
  const extent = order.map((dimension) =>
    dimension < rank
      ? (shape[dimension] ?? 0) / (blockSize[dimension] ?? 1)
      : (blockSize[blockMap[dimension - rank] ?? 0] ?? 0),
  );
  // Level by level: the place of each stored entry so far.
  let places: number[] = [0];
  const storedMax = elements.length / elementBytes;
  for (const [level, dimension] of dimensions.entries()) {
    const size = extent[level] as number;
    const by = step[level] as number;
    const next: number[] = [];
    if (dimension.kind === 'dense') {
      if (dimension.size !== size || places.length * size > elementsOf(shape)) return undefined;
      for (const place of places) for (let i = 0; i < size; i += 1) next.push(place + i * by);
    } else {
      const { segments, indices } = dimension;
      if (segments.length !== places.length + 1 || segments[0] !== 0 || segments.at(-1) !== indices.length)
        return undefined;
      for (const [entry, place] of places.entries()) {
        const [from, to] = [segments[entry] as number, segments[entry + 1] as number];
        if (to < from || to > indices.length) return undefined;
        for (let i = from; i < to; i += 1) {
          const index = indices[i] as number;
          if (index < 0 || index >= size) return undefined;
          next.push(place + index * by);
        }
      }
    }
    places = next;
  }
  if (places.length !== storedMax) return undefined;
  const plain = new Uint8Array(elementsOf(shape) * elementBytes);
  for (const [i, place] of places.entries())
    plain.set(elements.subarray(i * elementBytes, (i + 1) * elementBytes), place * elementBytes);
  return plain;
}
