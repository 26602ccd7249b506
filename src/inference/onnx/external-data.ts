import protobuf from 'protobufjs/light.js';
import { decodeOnnxTensor } from './model.ts';
import { fieldsOf, LENGTH_DELIMITED } from './wire.ts';

/**
 * Weights that an ONNX file keeps in other files ("external data"; PyTorch's exporter does by default since 2.9): which there are, and
 * the same model with them inside. The file is edited as it lies, field by field, so that nothing in it is lost that Sightline does not
 * know. Sources: `onnx.proto3` and docs/ExternalData.md of ONNX 1.18.
 */

/** Where one tensor's bytes lie. */
export interface ExternalTensor {
  /** Name of the tensor. */
  readonly name: string;
  /** Location of the file, as in the model: relative to the model's folder. */
  readonly location: string;
  /** From the start of that file, bytes. */
  readonly offset: number;
  /** Bytes; undefined where neither the model nor its type gives it, and it goes on to the file's end. */
  readonly length: number | undefined;
  /** SHA-1 of the whole file, lower-case hexadecimal, where the model has it. */
  readonly sha1: string | undefined;
}

/** Errors: Error when a tensor contradicts itself. None for bytes that are not ONNX, which ONNX Runtime will refuse. */
export function externalTensors(model: Uint8Array): ExternalTensor[] {
  const found: ExternalTensor[] = [];
  edit(model, (tensor) => {
    found.push(described(tensor));
    return undefined;
  });
  return found;
}

/** The model with the bytes of its external tensors inside, in the order of `externalTensors`. */
export function withDataInside(model: Uint8Array, data: readonly Uint8Array[]): Uint8Array {
  let next = 0;
  const parts = edit(model, (tensor) => inlined(tensor, data[next++]!));
  return parts ? Buffer.concat(parts) : model;
}

type Kind = 'model' | 'graph' | 'function' | 'node' | 'attribute' | 'sparse' | 'training' | 'tensor';

/** By message, the fields through which tensors are reached. */
const CHILDREN: Readonly<Record<Kind, Readonly<Record<number, Kind>>>> = {
  model: { 7: 'graph', 20: 'training', 25: 'function' },
  graph: { 1: 'node', 5: 'tensor', 15: 'sparse' },
  function: { 7: 'node', 11: 'attribute' },
  node: { 5: 'attribute' },
  attribute: { 5: 'tensor', 6: 'graph', 10: 'tensor', 11: 'graph', 22: 'sparse', 23: 'sparse' },
  sparse: { 1: 'tensor', 2: 'tensor' },
  training: { 1: 'graph', 2: 'graph' },
  tensor: {},
};

const RAW_DATA = 9;
const EXTERNAL_DATA = 13;
const DATA_LOCATION = 14;
const EXTERNAL = 1;
/** Messages in messages: as many as protobuf itself takes. */
const DEPTH_MAX = 100;

type Edit = (tensor: Uint8Array) => Uint8Array[] | undefined;

/** The file in pieces with each external tensor replaced by what `change` gives; undefined when nothing changed. */
function edit(model: Uint8Array, change: Edit): Uint8Array[] | undefined {
  // Beforehand, so that errors of `change` and those of a file that is torn are not taken for each other.
  return isWhole(model) ? editMessage(model, 'model', change, 0) : undefined;
}

function isWhole(model: Uint8Array): boolean {
  try {
    editMessage(model, 'model', () => undefined, 0);
    return true;
  } catch {
    return false;
  }
}

function editMessage(message: Uint8Array, kind: Kind, change: Edit, depth: number): Uint8Array[] | undefined {
  if (depth > DEPTH_MAX) throw new Error('messages lie too deep in each other');
  if (kind === 'tensor') return isExternal(message) ? change(message) : undefined;
  const parts: Uint8Array[] = [];
  let from = 0;
  for (const { tag, start, end, content } of fieldsOf(message)) {
    const child = CHILDREN[kind][tag >>> 3];
    const changed = child && content ? editMessage(content, child, change, depth + 1) : undefined;
    if (!changed) continue;
    parts.push(message.subarray(from, start), header(tag, changed));
    for (const part of changed) parts.push(part);
    from = end;
  }
  if (from === 0) return undefined;
  parts.push(message.subarray(from));
  return parts;
}

function isExternal(tensor: Uint8Array): boolean {
  for (const { tag, value } of fieldsOf(tensor)) if (tag >>> 3 === DATA_LOCATION && value === EXTERNAL) return true;
  return false;
}

function described(tensor: Uint8Array): ExternalTensor {
  const { name, dims, dataType, external } = decodeOnnxTensor(tensor);
  const entries = new Map(external.map(({ key, value }) => [key, value]));
  const location = entries.get('location') ?? '';
  const offset = wholeOf(name, 'offset', entries.get('offset')) ?? 0;
  const said = wholeOf(name, 'length', entries.get('length'));
  const bits = BITS[dataType];
  const needed = bits && Math.ceil((dims.reduce((a, b) => a * b, 1) * bits) / 8);
  if (said !== undefined && needed !== undefined && said !== needed) {
    throw new Error(`the tensor "${name}" of shape [${dims}] has ${needed} bytes, and ${said} in ${location}`);
  }
  return { name, location, offset, length: said ?? needed, sha1: entries.get('checksum')?.toLowerCase() };
}

function wholeOf(tensor: string, key: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new Error(`the tensor "${tensor}" has the ${key} "${text}" in its external data`);
}

/** Of one element, by `TensorProto.DataType`. */
const BITS: Readonly<Record<number, number>> = {
  1: 32,
  2: 8,
  3: 8,
  4: 16,
  5: 16,
  6: 32,
  7: 64,
  9: 8,
  10: 16,
  11: 64,
  12: 32,
  13: 64,
  14: 64,
  15: 128,
  16: 16,
  17: 8,
  18: 8,
  19: 8,
  20: 8,
  21: 4,
  22: 4,
  23: 4,
  24: 8,
};

/** The tensor with its bytes inside and nothing of where they lay. */
function inlined(tensor: Uint8Array, data: Uint8Array): Uint8Array[] {
  const parts: Uint8Array[] = [];
  for (const { tag, start, end } of fieldsOf(tensor)) {
    if (![RAW_DATA, EXTERNAL_DATA, DATA_LOCATION].includes(tag >>> 3)) parts.push(tensor.subarray(start, end));
  }
  parts.push(header((RAW_DATA << 3) | LENGTH_DELIMITED, [data]), data);
  return parts;
}

/** Tag and length of a field that holds these parts. */
function header(tag: number, parts: readonly Uint8Array[]): Uint8Array {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  return protobuf.Writer.create().uint32(tag).uint32(length).finish();
}
