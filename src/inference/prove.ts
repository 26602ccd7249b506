import { extname } from 'node:path';
import { SightlineError } from '../base/errors.ts';
import { Child } from '../supervise/child.ts';
import type { Evidence } from './evidence.ts';
import type { PictureWish } from './picture-shape.ts';
import { keepRuntimeQuiet } from './quiet-runtime.ts';

/** The parent's request to the child process. */
export interface ProofQuestion {
  readonly onnxPath: string;
  readonly provider: string;
  /** For an input that leaves it open. */
  readonly picture?: PictureWish;
}

export interface ProvenTensor {
  readonly name: string;
  readonly type: string;
  readonly dims: readonly number[];
  /** Evidence from a float output [n, rows, columns], with zeros as the picture: for the first picture. */
  readonly evidence?: Evidence;
}

export interface Proof {
  readonly inputs: readonly ProvenTensor[];
  /** The input leaves the picture's size open: the run had the requested one. */
  readonly sizeOpen?: boolean;
  readonly outputs: readonly ProvenTensor[];
  /** The file's `metadata_props`; YOLO exports keep their labels there. */
  readonly metadata: Readonly<Record<string, string>>;
}

export type ProofAnswer =
  | ({ readonly ok: true } & Proof)
  | { readonly ok: false; readonly byRuntime: boolean; readonly message: string };

export interface ProofLimits {
  /** For loading and running, milliseconds. */
  readonly timeoutMs: number;
  /** Resident memory of the child, bytes. Watched on Linux only: elsewhere the operating system's own limit holds. */
  readonly memoryBytesMax: number;
}

const OUTPUT_BYTES_MAX = 64 * 1024 * 1024;

/** The child's script lies beside this one and has its ending: `.ts` in the clone, `.js` in the package. */
const CHILD = new URL(`./prove-child${extname(import.meta.url)}`, import.meta.url);

/**
 * Loads a model and runs it once in a child process. `name` is what errors call the model. Throws MODEL_CRASHED when the
 * child dies, hangs or takes too much memory, MODEL_DAMAGED when ONNX Runtime cannot read the file, MODEL_UNSUPPORTED
 * when it refuses the content.
 */
export async function proveModel(name: string, question: ProofQuestion, limits: ProofLimits): Promise<Proof> {
  keepRuntimeQuiet();
  let answer: ProofAnswer | undefined;
  await using child = Child.fork<never, ProofAnswer>(CHILD, {
    args: [JSON.stringify(question)],
    limits: { wallMs: limits.timeoutMs, memoryBytesMax: limits.memoryBytesMax, outputBytesMax: OUTPUT_BYTES_MAX },
    onMessage: (message) => (answer = message),
  });
  const { cause, text, errorTail } = await child.exited;
  const isOverLimit = cause === 'timeout' || cause === 'memory' || cause === 'output';
  if (isOverLimit || !answer) {
    const words = isOverLimit ? '' : errorTail.split('\n').at(-1);
    throw new SightlineError('MODEL_CRASHED', `${name}: its first run ${text}${words ? ` (${words})` : ''}`);
  }
  if (!answer.ok) throw refusal(name, answer);
  const { ok: _, ...proof } = answer;
  return proof;
}

/** ONNX Runtime's message shows whether the bytes are not ONNX at all, or need something that it does not have. */
function refusal(name: string, { byRuntime, message }: { byRuntime: boolean; message: string }): SightlineError {
  if (!byRuntime) return new SightlineError('MODEL_UNSUPPORTED', `${name}: ${message}`);
  const words = message.replaceAll(/\s+/g, ' ').trim();
  if (/Protobuf parsing failed|INVALID_PROTOBUF|does not have a graph/i.test(message)) {
    return new SightlineError('MODEL_DAMAGED', `${name} is not a whole ONNX file`, { cause: new Error(words) });
  }
  return new SightlineError('MODEL_UNSUPPORTED', `${name}: ONNX Runtime refuses it: ${words}`);
}
