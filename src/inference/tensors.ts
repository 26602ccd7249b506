import { Tensor } from 'onnxruntime-node';
import type { PictureType } from './element-types.ts';

/**
 * Tensors of the element types that models use for pictures and results. Sightline computes in float32; numbers of
 * another type lie beside them in memory of that type.
 */

/** Numbers of one tensor, or of several that share the memory from its start on. */
export class TensorMemory {
  /** Float32 numbers, which all other code reads and writes. */
  readonly floats: Float32Array;
  readonly #type: PictureType;
  /** The model's own numbers; the same memory where they are float32. */
  readonly #own: Float32Array | Float16Array | Uint8ClampedArray | Int8Array;

  constructor(type: PictureType, length: number) {
    this.floats = new Float32Array(length);
    this.#type = type;
    this.#own = type === 'float32' ? this.floats : new ARRAYS[type](length);
  }

  /** A tensor over the first numbers. */
  tensor(dims: readonly number[]): Tensor {
    const length = dims.reduce((a, b) => a * b, 1);
    const { buffer, byteOffset } = this.#own;
    switch (this.#type) {
      case 'float32':
        return new Tensor('float32', this.floats.subarray(0, length), dims);
      case 'float16':
        return halfTensor(new Float16Array(buffer as ArrayBuffer, byteOffset, length), dims);
      case 'uint8':
        return new Tensor('uint8', new Uint8Array(buffer, byteOffset, length), dims);
      case 'int8':
        return new Tensor('int8', new Int8Array(buffer, byteOffset, length), dims);
    }
  }

  /** Hands the first `length` floats to the model: rounded, and held within the range, where it takes whole numbers. */
  store(length: number): void {
    const own = this.#own;
    if (own === this.floats) return;
    const from = this.floats.subarray(0, length);
    // `set` of a Float16Array takes a twentieth of the time of a loop.
    if (!(own instanceof Int8Array)) return own.set(from);
    for (let i = 0; i < length; i++) own[i] = Math.min(127, Math.max(-128, Math.round(from[i]!)));
  }

  /** Takes the first `length` floats from the model. */
  load(length: number): void {
    if (this.#own !== this.floats) this.floats.set(this.#own.subarray(0, length));
  }

  /**
   * Frees what a run returned for an output that it wrote here. onnxruntime-node 1.30 returns a copy of it in new memory, and a worker
   * makes so little other garbage that its collector would let tens of megabytes of these copies gather.
   */
  freeCopy({ data }: Tensor): void {
    if (ArrayBuffer.isView(data) && data.buffer !== this.#own.buffer) (data.buffer as ArrayBuffer).transfer(0);
  }
}

const ARRAYS = { float16: Float16Array, uint8: Uint8ClampedArray, int8: Int8Array } as const;

/**
 * A float16 tensor over `values`. onnxruntime-node 1.30 counts a Float16Array, which its own `Tensor` insists on, as 0 bytes; it takes
 * the same memory as a Uint16Array.
 */
export function halfTensor(values: Float16Array<ArrayBuffer>, dims: readonly number[]): Tensor {
  const data = new Uint16Array(values.buffer, values.byteOffset, values.length);
  return Object.defineProperty(new Tensor('float16', data, dims), 'data', { value: data });
}

/** The numbers of a result as float32: its own memory where it is of that type; undefined where it has no numbers. */
export function floatsOf({ type, data }: Tensor): Float32Array | undefined {
  if (type === 'float32') return data as Float32Array;
  if (type === 'string') return undefined;
  return Float32Array.from(data as ArrayLike<number | bigint>, Number);
}
