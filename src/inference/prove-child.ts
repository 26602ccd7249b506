import { readFileSync } from 'node:fs';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { evidenceOf } from './evidence.ts';
import { decodeOnnx } from './onnx/model.ts';
import { closePictureShape, isChannelCount } from './picture-shape.ts';
import type { ProofAnswer, ProofQuestion, ProvenTensor } from './prove.ts';
import { openParent } from '../supervise/parent.ts';
import { floatsOf, halfTensor } from './tensors.ts';

/**
 * The child process of `proveModel`: loads a model, runs it once on zeros, and reports the outputs. It is a process of its
 * own because ONNX Runtime is native code: the harm that a hostile or broken model does ends here.
 */

/** Zeros by element type. */
const ZEROS: Readonly<Record<string, (length: number) => ArrayBufferView>> = {
  float32: (n) => new Float32Array(n),
  float64: (n) => new Float64Array(n),
  float16: (n) => new Float16Array(n),
  int8: (n) => new Int8Array(n),
  uint8: (n) => new Uint8Array(n),
  bool: (n) => new Uint8Array(n),
  int16: (n) => new Int16Array(n),
  uint16: (n) => new Uint16Array(n),
  int32: (n) => new Int32Array(n),
  uint32: (n) => new Uint32Array(n),
  int64: (n) => new BigInt64Array(n),
  uint64: (n) => new BigUint64Array(n),
};

/** A model that needs more in one run is not fed by a camera. */
const INPUT_ELEMENTS_MAX = 64 * 1024 * 1024;

/** The model does not fit Sightline; ONNX Runtime would take it. */
class Refusal extends Error {}

async function prove(question: ProofQuestion): Promise<ProofAnswer> {
  const session = await InferenceSession.create(question.onnxPath, {
    executionProviders: [question.provider],
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    // Only errors: warnings would fill the part of the output that is kept.
    logSeverityLevel: 3,
  });
  const inputs = session.inputMetadata.map((meta): ProvenTensor => {
    const { name } = meta;
    if (!meta.isTensor) throw new Refusal(`the input "${name}" is not a tensor`);
    const { dims } = closePictureShape(meta.shape, question.picture);
    if (dims) return { name, type: meta.type, dims };
    throw new Refusal(
      `its input "${name}" leaves the size of the picture open; say it with --size WIDTHxHEIGHT, to "sightline models import" or to "detect"`,
    );
  });
  const results = await session.run(Object.fromEntries(inputs.map((input) => [input.name, zerosFor(input)])));
  const outputs = session.outputNames.map((name) => described(name, results[name], inputs[0]?.dims ?? []));
  const { metadata } = decodeOnnx(readFileSync(question.onnxPath));
  const sizeOpen = session.inputMetadata.some((meta) => meta.isTensor && closePictureShape(meta.shape).sizeOpen);
  return { ok: true, inputs, outputs, metadata, ...(sizeOpen && { sizeOpen }) };
}

function zerosFor({ name, type, dims }: ProvenTensor): Tensor {
  const elements = dims.reduce((a, b) => a * b, 1);
  const zeros = ZEROS[type];
  if (!zeros) throw new Refusal(`the input "${name}" has the type ${type}`);
  if (elements > INPUT_ELEMENTS_MAX) throw new Refusal(`the input "${name}" has ${elements} elements`);
  const data = zeros(elements);
  if (data instanceof Float16Array) return halfTensor(data as Float16Array<ArrayBuffer>, dims);
  return new Tensor(type as 'float32', data as Float32Array, dims);
}

function described(name: string, tensor: Tensor | undefined, picture: readonly number[]): ProvenTensor {
  if (!tensor) throw new Refusal(`the output "${name}" did not come`);
  const { type } = tensor;
  const dims = [...tensor.dims];
  if ((type !== 'float32' && type !== 'float16') || dims.length !== 3) return { name, type, dims };
  const [, rows = 0, columns = 0] = dims;
  return { name, type, dims, evidence: evidenceOf(floatsOf(tensor)!, [rows, columns], sizeOf(picture)) };
}

/** Of the picture in an input of these dimensions. */
function sizeOf(dims: readonly number[]): { width: number; height: number } {
  const [, a = 1, b = 1, c = 1] = dims;
  return isChannelCount(a) ? { width: c, height: b } : { width: b, height: a };
}

const refused = (thrown: unknown): ProofAnswer => ({
  ok: false,
  byRuntime: !(thrown instanceof Refusal),
  message: thrown instanceof Error ? thrown.message : String(thrown),
});

// A model may hang in native code forever.
const parent = openParent<never, ProofAnswer>({ isGuarded: true });
parent.end(await prove(JSON.parse(process.argv[2] ?? '{}') as ProofQuestion).catch(refused));
