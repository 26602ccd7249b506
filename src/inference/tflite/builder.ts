import { SightlineError } from '../../base/errors.ts';
import { node, tensor } from '../onnx/model.ts';
import type { OnnxAttribute, OnnxNode, OnnxTensor } from '../onnx/model.ts';
import { halfToFloat } from './half.ts';
import { TensorType } from './reader.ts';
import type { TfliteGraph, TfliteTensor } from './reader.ts';

/** Name of the symbolic first dimension. */
export const BATCH = 'batch';

/**
 * Weights are widened to at most twice their size in the file. A file whose constants come out larger than this many
 * times its own size lets many tensors share one buffer, which no exporter does and which would fill the memory.
 */
const CONSTANT_BYTES_PER_FILE_BYTE = 4;

/** An ONNX graph in the making, addressed by the indices of the TFLite tensors that it stands for. */
export class GraphBuilder {
  readonly nodes: OnnxNode[] = [];
  readonly initializers: OnnxTensor[] = [];
  /** An operator mixes the first dimension with others: the model then runs with the batch that it was made for. */
  batchIsFixed = false;

  readonly #graph: TfliteGraph;
  readonly #file: string;
  readonly #names: readonly string[];
  readonly #written = new Set<string>();
  /** Half-precision constants that a DEQUANTIZE widened, by the index of its output. */
  readonly #widened = new Map<number, Float32Array>();
  #constantBytesLeft: number;

  constructor(graph: TfliteGraph, file: string, fileBytes: number) {
    this.#graph = graph;
    this.#file = file;
    this.#names = uniqueNames(graph.tensors);
    this.#constantBytesLeft = fileBytes * CONSTANT_BYTES_PER_FILE_BYTE;
    for (const index of [...graph.inputs, ...graph.outputs]) if (this.shape(index)[0] !== 1) this.batchIsFixed = true;
  }

  unsupported(what: string): SightlineError {
    return new SightlineError('MODEL_UNSUPPORTED', `${this.#file}: ${what}`);
  }

  damaged(what: string): SightlineError {
    return new SightlineError('MODEL_DAMAGED', `${this.#file}: ${what}`);
  }

  tensor(index: number | undefined): TfliteTensor {
    const found = index === undefined ? undefined : this.#graph.tensors[index];
    if (!found) throw this.damaged(`an operator lacks an operand (tensor ${index})`);
    return found;
  }

  shape(index: number | undefined): readonly number[] {
    return this.tensor(index).shape;
  }

  /** The shape, which must have `rank` dimensions, each of at least 1. */
  shapeOfRank(index: number | undefined, rank: number): readonly number[] {
    const { name, shape } = this.tensor(index);
    if (shape.length !== rank || shape.some((d) => d < 1)) {
      throw this.damaged(`the tensor "${name}" has the shape [${shape}] where ${rank} dimensions are due`);
    }
    return shape;
  }

  name(index: number): string {
    return this.#names[index] ?? `tensor_${index}`;
  }

  requireFloat(index: number): void {
    const { name, type } = this.tensor(index);
    if (type !== TensorType.float32)
      throw this.unsupported(`the input "${name}" has the tensor type ${type} instead of FLOAT32`);
  }

  /** Takes note of a constant that a DEQUANTIZE widens from half precision. */
  widen(from: number, to: number): void {
    const { data } = this.tensor(from);
    if (!data) throw this.unsupported('DEQUANTIZE of a tensor that is computed');
    this.#spend(data.length * 2);
    this.#widened.set(to, halfToFloat(data));
  }

  /** A constant's elements as float32; undefined when the tensor is computed. The caller does not write to them. */
  floats(index: number): Float32Array | undefined {
    const widened = this.#widened.get(index);
    if (widened) return widened;
    const { data, name, type } = this.tensor(index);
    if (!data) return undefined;
    if (type !== TensorType.float32) throw this.unsupported(`the constant "${name}" has the tensor type ${type}`);
    this.#spend(data.length);
    return new Float32Array(Uint8Array.from(data).buffer);
  }

  /** A constant's elements as float32, for what ONNX wants as a constant too (weights). */
  weights(index: number | undefined): Float32Array {
    const { name, shape } = this.tensor(index);
    const values = index === undefined ? undefined : this.floats(index);
    if (!values) throw this.unsupported(`the weights "${name}" are computed`);
    if (values.length !== elementsOf(shape))
      throw this.damaged(`the weights "${name}" do not fill the shape [${shape}]`);
    return values;
  }

  /** A constant's elements as integers: the operands that say how, not what. */
  integers(index: number | undefined): number[] {
    const { data, name, type } = this.tensor(index);
    if (!data) throw this.unsupported(`"${name}" is computed where a constant is needed`);
    const copy = Uint8Array.from(data).buffer;
    if (type === TensorType.int32) return [...new Int32Array(copy)];
    if (type === TensorType.int64) return [...new BigInt64Array(copy)].map(Number);
    throw this.damaged(`"${name}" has the tensor type ${type} where integers are due`);
  }

  /** The ONNX name of an operand; a constant is written as an initializer with its TFLite shape at its first use. */
  operand(index: number | undefined): string {
    const { shape } = this.tensor(index);
    const name = this.name(index as number);
    const values = this.floats(index as number);
    return values ? this.constant(name, shape, values) : name;
  }

  /** Writes an initializer, once per name, and gives back its name. */
  constant(name: string, shape: readonly number[], values: Float32Array): string {
    if (!this.#written.has(name)) this.initializers.push(tensor.float(name, [...shape], values));
    this.#written.add(name);
    return name;
  }

  integerConstant(name: string, values: number[]): string {
    this.initializers.push(tensor.int64(name, [values.length], values));
    return name;
  }

  emit(opType: string, inputs: string[], output: string, attributes: OnnxAttribute[] = []): void {
    this.nodes.push(node(opType, inputs, [output], attributes));
  }

  #spend(bytes: number): void {
    this.#constantBytesLeft -= bytes;
    if (this.#constantBytesLeft < 0)
      throw this.damaged('its tensors share buffers, which makes it larger than any file can be');
  }
}

export function elementsOf(shape: readonly number[]): number {
  return shape.reduce((a, b) => a * b, 1);
}

/** TFLite's names where they are given and not taken, else with the tensor's index behind them. */
function uniqueNames(tensors: readonly TfliteTensor[]): string[] {
  const taken = new Set<string>();
  return tensors.map(({ name }, index) => {
    const unique = name !== '' && !taken.has(name) ? name : `${name || 'tensor'}#${index}`;
    taken.add(unique);
    return unique;
  });
}
