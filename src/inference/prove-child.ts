import { readFileSync } from 'node:fs';
import type { ProofAnswer, ProofQuestion, ProvenTensor } from './prove.ts';

/**
 * The child process of `proveModel`: loads a model, runs it once on zeros, tells what came out. It is a process of its
 * own because ONNX Runtime is native code: what a hostile or broken model makes it do ends here.
 */

const BYTES_PER_ELEMENT: Readonly<Record<string, number>> = {
  float32: 4,
  float16: 2,
  float64: 8,
  uint8: 1,
  int8: 1,
  bool: 1,
  int16: 2,
  uint16: 2,
  int32: 4,
  uint32: 4,
  int64: 8,
  uint64: 8,
};

/** A model that asks for more in one run is none that a camera feeds. */
const INPUT_ELEMENTS_MAX = 64 * 1024 * 1024;

async function answer(question: ProofQuestion): Promise<ProofAnswer> {
  const { InferenceSession, Tensor } = await import('onnxruntime-node');
  const session = await InferenceSession.create(question.onnxPath, {
    executionProviders: [question.provider],
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    // Only errors: warnings would go to the parent's terminal.
    logSeverityLevel: 3,
  });
  const inputs: ProvenTensor[] = session.inputMetadata.map((meta) => {
    if (!meta.isTensor) throw new Error(`the input "${meta.name}" is no tensor`);
    return { name: meta.name, type: meta.type, dims: closed(meta.name, meta.shape, question.size) };
  });
  const feeds = Object.fromEntries(
    inputs.map(({ name, type, dims }) => {
      const bytes = BYTES_PER_ELEMENT[type];
      const elements = dims.reduce((a, b) => a * b, 1);
      if (bytes === undefined) throw new Error(`the input "${name}" has the type ${type}`);
      if (elements > INPUT_ELEMENTS_MAX) throw new Error(`the input "${name}" has ${elements} elements`);
      return [name, new Tensor(type as 'float32', zeros(type, elements) as Float32Array, dims)];
    }),
  );
  const results = await session.run(feeds);
  const outputs = session.outputNames.map((name): ProvenTensor => {
    const tensor = results[name];
    if (!tensor) throw new Error(`the output "${name}" did not come`);
    const dims = [...tensor.dims];
    const firstMax =
      tensor.type === 'float32' && dims.length === 3 ? columnMax(tensor.data as Float32Array, dims) : undefined;
    return { name, type: tensor.type, dims, ...(firstMax !== undefined && { firstColumnMax: firstMax }) };
  });
  return { ok: true, inputs, outputs, metadata: await metadataOf(question.onnxPath) };
}

/** A dimension that the model leaves open becomes 1 (the batch) or the picture's size. */
function closed(name: string, shape: readonly (number | string)[], size: ProofQuestion['size']): number[] {
  const isChannel = (d: number | string | undefined) => d === 1 || d === 3 || d === 4;
  const sides = shape.length === 4 ? (isChannel(shape[1]) ? [2, 3] : [1, 2]) : [];
  return shape.map((d, axis) => {
    if (typeof d === 'number' && d > 0) return d;
    if (!sides.includes(axis)) return 1;
    if (!size) throw new Error(`the input "${name}" leaves its size open, as "${d}": give the size`);
    return axis === sides[0] ? size.height : size.width;
  });
}

function zeros(type: string, elements: number): ArrayBufferView {
  switch (type) {
    case 'float32':
      return new Float32Array(elements);
    case 'float64':
      return new Float64Array(elements);
    case 'int64':
      return new BigInt64Array(elements);
    case 'uint64':
      return new BigUint64Array(elements);
    case 'int32':
      return new Int32Array(elements);
    case 'uint32':
      return new Uint32Array(elements);
    case 'int16':
      return new Int16Array(elements);
    case 'float16':
    case 'uint16':
      return new Uint16Array(elements);
    case 'int8':
      return new Int8Array(elements);
    default:
      return new Uint8Array(elements);
  }
}

/** The largest value in the first column of [1, rows, columns]. */
function columnMax(data: Float32Array, dims: readonly number[]): number {
  const columns = dims[2] ?? 1;
  let max = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < data.length; i += columns) max = Math.max(max, data[i] ?? max);
  return Number.isFinite(max) ? max : 0;
}

async function metadataOf(path: string): Promise<Record<string, string>> {
  const { decodeOnnx } = await import('./onnx/model.ts');
  return decodeOnnx(readFileSync(path)).metadata;
}

const refused = (thrown: unknown): ProofAnswer => ({
  ok: false,
  message: thrown instanceof Error ? thrown.message : String(thrown),
});

const told = await answer(JSON.parse(process.argv[2] ?? '{}') as ProofQuestion).catch(refused);
process.send?.(told, () => process.disconnect());
