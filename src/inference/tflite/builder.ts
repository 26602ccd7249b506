import { SightlineError } from '../../base/errors.ts';
import { bytesOf, DataType, node, tensor } from '../onnx/model.ts';
import type { OnnxAttribute, OnnxNode, OnnxTensor } from '../onnx/model.ts';
import { elementsOf } from './arrays.ts';
import { halfToFloat } from './half.ts';
import type { Quantisation, TfliteGraph, TfliteTensor } from './reader.ts';
import { elementBytes, TensorType, typeName } from './schema.ts';
import { densify } from './sparse.ts';

/** Name of the symbolic first dimension. */
export const BATCH = 'batch';

/**
 * Constants become float32: four times their size in a file of bytes. What comes out larger than this lets many tensors share
 * one buffer, or has next to nothing in a sparse one, and would fill the memory.
 */
const CONSTANT_BYTES_PER_FILE_BYTE = { plain: 8, sparse: 64 };
/** A protobuf message, and so an ONNX file, ends there. */
const CONSTANT_BYTES_MAX = 2 ** 31 - 1;
/** Integers that are worked out at import say how, not what: they are few. */
const FOLDED_MAX = 4096;

/** How a quantised tensor's numbers stand for real ones. */
export interface Grid {
  readonly type: number;
  readonly scale: number;
  readonly zeroPoint: number;
}

/**
 * An ONNX graph in the making, addressed by the indices of the TFLite tensors that it stands for.
 *
 * A *real* tensor (float32, float16, or quantised) is float32 in ONNX; a quantised one holds the real values of its numbers.
 * Tensors of other types keep their type.
 */
export class GraphBuilder {
  readonly nodes: OnnxNode[] = [];
  readonly initializers: OnnxTensor[] = [];
  /** An operator mixes the first dimension with others: the model then runs with the batch that it was made for. */
  batchIsFixed = false;

  readonly #graph: TfliteGraph;
  readonly #file: string;
  readonly #names: string[];
  readonly #taken: Set<string>;
  /** Shapes of what operators give; TFLite works them out when it loads a file, and so does the converter. */
  readonly #shapes = new Map<number, readonly number[]>();
  /** Constants that stand for another one, whose bytes are theirs: DEQUANTIZE and DENSIFY. */
  readonly #sources = new Map<number, number>();
  readonly #dense = new Map<number, Uint8Array>();
  readonly #floats = new Map<number, Float32Array>();
  /** Integers that were worked out at import. */
  readonly #folded = new Map<number, readonly number[]>();
  /** Computed tensors that come from constants alone: the same for every picture. */
  readonly #derived = new Set<number>();
  readonly #shared = new Map<string, string>();
  readonly #bytesLeft: { plain: number; sparse: number };

  constructor(graph: TfliteGraph, file: string, fileBytes: number) {
    this.#graph = graph;
    this.#file = file;
    this.#names = uniqueNames(graph.tensors);
    this.#taken = new Set(this.#names);
    const bytesMax = (perByte: number) => Math.min(CONSTANT_BYTES_MAX, fileBytes * perByte);
    this.#bytesLeft = {
      plain: bytesMax(CONSTANT_BYTES_PER_FILE_BYTE.plain),
      sparse: bytesMax(CONSTANT_BYTES_PER_FILE_BYTE.sparse),
    };
    for (const index of graph.inputs) if (this.shape(index)[0] !== 1) this.batchIsFixed = true;
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
    const { shape } = this.tensor(index);
    return this.#shapes.get(index as number) ?? shape;
  }

  /** The shape, which must have `rank` dimensions, each of at least 1. */
  shapeOfRank(index: number | undefined, rank: number): readonly number[] {
    const shape = this.shape(index);
    if (shape.length !== rank || shape.some((d) => d < 1)) {
      const { name } = this.tensor(index);
      throw this.unsupported(`the tensor "${name}" has the shape [${shape}] where ${rank} dimensions are due`);
    }
    return shape;
  }

  name(index: number): string {
    return this.#names[index] ?? `tensor_${index}`;
  }

  /** Lets the operators read `index` under another name than the one that it has outside. */
  rename(index: number, name: string): void {
    this.#names[index] = name;
  }

  /** An unused name: a file may call a tensor what the converter would call a part of another one. */
  fresh(wanted: string): string {
    let name = wanted;
    for (let n = 1; this.#taken.has(name); n += 1) name = `${wanted}#${n}`;
    this.#taken.add(name);
    return name;
  }

  /**
   * Notes the shape that `kind` gives to its output. Throws MODEL_UNSUPPORTED when the file says otherwise: one of the two is
   * wrong then. A file says nothing of dimensions that it leaves open, nor of a tensor without a shape.
   */
  define(kind: string, index: number, shape: readonly number[]): void {
    const { name, shape: noted, openShape = noted } = this.tensor(index);
    const agrees = noted.length === shape.length && shape.every((d, i) => openShape[i] === -1 || noted[i] === d);
    if (noted.length > 0 && !agrees)
      throw this.unsupported(`${kind} gives "${name}" the shape [${shape}], and the file says [${noted}]`);
    if (shape.length > 8) throw this.unsupported(`${kind} gives "${name}" ${shape.length} dimensions`);
    if (shape.some((d) => !Number.isInteger(d) || d < 1))
      throw this.unsupported(`${kind} gives "${name}" no elements: its shape is [${shape}]`);
    this.#shapes.set(index, shape);
    if (shape[0] !== 1) this.batchIsFixed = true;
  }

  /** Has an operator given the tensor its shape? */
  isDefined(index: number): boolean {
    return this.#shapes.has(index);
  }

  /** Is the tensor one of real numbers, in floats or quantised? */
  isReal(index: number | undefined): boolean {
    const { type, quantisation } = this.tensor(index);
    if (type === TensorType.float32 || type === TensorType.float16) return true;
    return quantisation !== undefined && isNumeric(type);
  }

  /** Scale and zero point of a quantised tensor; undefined where the tensor is not quantised. */
  grid(index: number): Grid | undefined {
    const { type, name, quantisation } = this.tensor(index);
    if (!quantisation || type === TensorType.float32 || type === TensorType.float16) return undefined;
    const [scale = 0] = quantisation.scales;
    const [zeroPoint = 0] = quantisation.zeroPoints;
    if (!isNumeric(type) || type === TensorType.int32 || type === TensorType.int64)
      throw this.unsupported(`the tensor "${name}" is computed and quantised as ${typeName(type)}`);
    if (quantisation.scales.length !== 1)
      throw this.unsupported(`the tensor "${name}" is computed and has ${quantisation.scales.length} scales`);
    if (!(scale > 0 && Number.isFinite(scale))) throw this.unsupported(`the tensor "${name}" has the scale ${scale}`);
    return { type, scale, zeroPoint };
  }

  /** ONNX's type of a tensor. */
  elementType(index: number): DataType {
    if (this.isReal(index)) return DataType.float;
    const { type, name } = this.tensor(index);
    const found = INTEGER_TYPES[type];
    if (found === undefined) throw this.unsupported(`the tensor "${name}" has the type ${typeName(type)}`);
    return found;
  }

  /** Takes note that a constant has the value of another one. */
  alias(from: number, to: number): void {
    this.#sources.set(to, this.#source(from));
    this.#shapes.set(to, this.shape(from));
  }

  /** Takes note of integers that were worked out. */
  fold(index: number, shape: readonly number[], values: readonly number[]): void {
    this.#shapes.set(index, shape);
    this.#folded.set(index, values);
  }

  /** Takes note that a tensor is computed from constants alone. */
  derive(index: number): void {
    if (!this.#sources.has(index)) this.#derived.add(index);
  }

  /** Is the tensor the same for every picture? */
  isConstant(index: number): boolean {
    if (this.#derived.has(index) || this.#folded.has(index)) return true;
    return this.tensor(this.#source(index)).data !== undefined;
  }

  /** A constant's elements as float32; undefined when the tensor is computed. The caller does not write to them. */
  floats(index: number): Float32Array | undefined {
    const source = this.#source(index);
    const known = this.#floats.get(source);
    if (known) return known;
    const { type, name, shape, sparsity, quantisation } = this.tensor(source);
    const size = elementBytes(type);
    if (this.tensor(source).data === undefined) return undefined;
    if (!this.isReal(source) || size === undefined)
      throw this.unsupported(`the constant "${name}" has the type ${typeName(type)} where real numbers are due`);
    this.#spend(elementsOf(shape) * 4, sparsity ? 'sparse' : 'plain');
    const bytes = this.#bytes(source) as Uint8Array;
    const values = readReals(bytes, type, shape, quantisation);
    if (!values) throw this.damaged(`the scales of "${name}" do not fit its shape [${shape}]`);
    this.#floats.set(source, values);
    return values;
  }

  /** A constant's elements as integers: the operands that say how, not what. Undefined when it is computed, or large. */
  knownIntegers(index: number): readonly number[] | undefined {
    const folded = this.#folded.get(index);
    if (folded) return folded;
    const source = this.#source(index);
    const { type, shape, data } = this.tensor(source);
    const isInteger = type === TensorType.int32 || type === TensorType.int64;
    if (!data || !isInteger || this.isReal(source) || elementsOf(shape) > FOLDED_MAX) return undefined;
    return this.#integers(source);
  }

  /** The same of an operand that has to be constant. */
  integers(index: number | undefined): readonly number[] {
    const { data, name, type } = this.tensor(index);
    const folded = this.#folded.get(index as number);
    if (folded) return folded;
    if (!data) throw this.unsupported(`"${name}" is computed where a constant is needed`);
    return this.#integers(index as number) ?? this.#typeError(name, type, 'integers');
  }

  /** The ONNX name of an operand of real numbers. Throws MODEL_UNSUPPORTED naming `kind` when it has other ones. */
  real(kind: string, index: number | undefined): string {
    const { name, type } = this.tensor(index);
    if (!this.isReal(index)) throw this.unsupported(`${kind} of ${typeName(type)} ("${name}") is not supported`);
    return this.operand(index as number);
  }

  /** The ONNX name of an operand of any type; a constant is written as an initializer at its first use. */
  operand(index: number | undefined): string {
    this.tensor(index);
    const at = index as number;
    if (this.#derived.has(at) || !this.isConstant(at)) return this.name(at);
    return this.#once(`tensor ${at}`, () => this.#written(at, this.fresh(`${this.name(at)}/constant`)));
  }

  /** Writes an initializer of reals, and gives back its name. */
  constant(wanted: string, shape: readonly number[], values: Float32Array): string {
    const name = this.fresh(wanted);
    this.initializers.push(tensor.float(name, [...shape], values));
    return name;
  }

  integerConstant(wanted: string, values: readonly number[], shape: readonly number[] = [values.length]): string {
    const name = this.fresh(wanted);
    this.initializers.push(tensor.int64(name, [...shape], [...values]));
    return name;
  }

  /** One number, written once for all its users. */
  number(value: number): string {
    return this.#once(`number ${value}`, () => tensor.float(this.fresh(`number/${value}`), [], [value]));
  }

  emit(opType: string, inputs: readonly string[], outputs: string | string[], attributes: OnnxAttribute[] = []): void {
    const [first = '', ...rest] = [outputs].flat();
    const made = node(opType, [...inputs], [first, ...rest], attributes);
    this.nodes.push(made);
  }

  /** Writes an initializer at its first use, and gives back its name. */
  #once(key: string, make: () => OnnxTensor): string {
    const known = this.#shared.get(key);
    if (known !== undefined) return known;
    const made = make();
    this.#shared.set(key, made.name);
    this.initializers.push(made);
    return made.name;
  }

  #source(index: number): number {
    return this.#sources.get(index) ?? index;
  }

  /** The bytes of a constant, in full where the file has it sparse. */
  #bytes(index: number): Uint8Array | undefined {
    const { data, name, type, shape, sparsity } = this.tensor(index);
    if (!data || !sparsity) return data;
    const known = this.#dense.get(index);
    if (known) return known;
    const size = elementBytes(type);
    if (size === undefined) throw this.#typeError(name, type, 'numbers');
    this.#spend(elementsOf(shape) * size, 'sparse');
    const plain = densify(data, size, shape, sparsity);
    if (!plain) throw this.damaged(`the sparse tensor "${name}" does not fit its shape [${shape}]`);
    this.#dense.set(index, plain);
    return plain;
  }

  #integers(index: number): readonly number[] | undefined {
    const { type } = this.tensor(index);
    const bytes = this.#bytes(index);
    if (!bytes) return undefined;
    const copy = Uint8Array.from(bytes).buffer;
    if (type === TensorType.int32) return [...new Int32Array(copy)];
    if (type === TensorType.int64) return [...new BigInt64Array(copy)].map(Number);
    return undefined;
  }

  #typeError(name: string, type: number, due: string): never {
    throw this.unsupported(`"${name}" has the type ${typeName(type)} where ${due} are due`);
  }

  #written(index: number, name: string): OnnxTensor {
    const dims = [...this.shape(index)];
    if (this.isReal(index)) return tensor.float(name, dims, this.floats(index) as Float32Array);
    const dataType = this.elementType(index);
    const folded = this.#folded.get(index);
    if (folded) {
      const values = dataType === DataType.int64 ? BigInt64Array.from(folded, BigInt) : Int32Array.from(folded);
      return { name, dims, dataType, rawData: bytesOf(values) };
    }
    const rawData = this.#bytes(this.#source(index)) as Uint8Array;
    this.#spend(rawData.length, 'plain');
    return { name, dims, dataType, rawData };
  }

  #spend(bytes: number, of: 'plain' | 'sparse'): void {
    this.#bytesLeft[of] -= bytes;
    if (this.#bytesLeft[of] < 0)
      throw this.unsupported(
        'its constants come out far larger than the file: tensors share buffers, or it is over 2 GB',
      );
  }
}

const INTEGER_TYPES: Readonly<Record<number, DataType>> = {
  [TensorType.int32]: DataType.int32,
  [TensorType.int64]: DataType.int64,
  [TensorType.bool]: DataType.bool,
  [TensorType.uint8]: DataType.uint8,
  [TensorType.int8]: DataType.int8,
};

const INTEGER_ARRAYS: Readonly<Record<number, new (buffer: ArrayBuffer) => ArrayLike<number | bigint>>> = {
  [TensorType.int8]: Int8Array,
  [TensorType.uint8]: Uint8Array,
  [TensorType.int16]: Int16Array,
  [TensorType.int32]: Int32Array,
  [TensorType.int64]: BigInt64Array,
};

function isNumeric(type: number): boolean {
  return INTEGER_ARRAYS[type] !== undefined;
}

/** The real values of a constant's bytes; undefined when there are not as many scales as the shape asks for. */
function readReals(
  bytes: Uint8Array,
  type: number,
  shape: readonly number[],
  quantisation: Quantisation | undefined,
): Float32Array | undefined {
  if (type === TensorType.float16) return halfToFloat(bytes);
  // The copy begins where a wider element may.
  const copy = Uint8Array.from(bytes).buffer;
  if (type === TensorType.float32) return new Float32Array(copy);
  const Numbers = INTEGER_ARRAYS[type];
  if (!Numbers || !quantisation) return undefined;
  const { scales, zeroPoints, axis } = quantisation;
  const perIndex = scales.length === 1 ? elementsOf(shape) : elementsOf(shape.slice(axis + 1));
  if (scales.length !== 1 && scales.length !== shape[axis]) return undefined;
  const numbers = new Numbers(copy);
  const values = new Float32Array(numbers.length);
  for (let i = 0; i < values.length; i += 1) {
    const at = Math.floor(i / perIndex) % scales.length;
    values[i] = (scales[at] as number) * (Number(numbers[i]) - (zeroPoints[at] as number));
  }
  return values;
}

/** TFLite's names where they are given and not taken, else with the tensor's index behind them. */
function uniqueNames(tensors: readonly TfliteTensor[]): string[] {
  const taken = new Set<string>();
  return tensors.map(({ name }, index) => {
    let unique = name || `tensor#${index}`;
    for (let n = 0; taken.has(unique); n += 1) unique = `${name}#${index}${n ? `.${n}` : ''}`;
    taken.add(unique);
    return unique;
  });
}
