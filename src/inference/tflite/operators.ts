import type { GraphBuilder } from './builder.ts';
import { ELEMENTWISE } from './elementwise.ts';
import { fold } from './fold.ts';
import { LAYOUT } from './layout.ts';
import type { TfliteOperator } from './reader.ts';
import type { Convert } from './result.ts';
import { WINDOWS } from './windows.ts';

/**
 * One function per TFLite operator: reads the operator, writes ONNX nodes (opset 18). The meaning of the TFLite operators is given
 * by TensorFlow's `lite/kernels/internal/reference`, that of the ONNX ones by the ONNX operator reference.
 */
const OPERATORS: Readonly<Record<string, Convert>> = { ...WINDOWS, ...ELEMENTWISE, ...LAYOUT };

/** Operators that Sightline converts; SHAPE, RANK and FLOOR_DIV only where their results are known at import. */
export const SUPPORTED: readonly string[] = [...Object.keys(OPERATORS), 'FLOOR_DIV', 'RANK', 'SHAPE'].toSorted();

/** What to do about operators that stand at the end of many files. */
const HINTS: Readonly<Record<string, string>> = {
  'CUSTOM TFLite_Detection_PostProcess': 'export the model without its post-processing (boxes and scores as tensors)',
  NON_MAX_SUPPRESSION_V4: 'export the model without its non-maximum suppression',
  NON_MAX_SUPPRESSION_V5: 'export the model without its non-maximum suppression',
};

/** Appends the ONNX nodes of one operator. Throws MODEL_UNSUPPORTED naming it, or MODEL_DAMAGED when it makes no sense. */
export function convertOperator(operator: TfliteOperator, graph: GraphBuilder): void {
  const { kind, inputs, outputs } = operator;
  if (fold(operator, graph)) return;
  const convert = OPERATORS[kind];
  if (!convert) {
    const hint = HINTS[kind] ? `: ${HINTS[kind]}` : '';
    throw graph.unsupported(`the TFLite operator ${kind} is not supported${hint}`);
  }
  const isConstant = inputs.every((index) => index === -1 || graph.isConstant(index));
  const { batchIsFixed } = graph;
  convert(operator, graph);
  if (outputs.length === 0 || outputs.some((index) => !graph.isDefined(index)))
    throw graph.damaged(`${kind} has ${outputs.length} outputs`);
  if (!isConstant) return;
  // A result of constants alone has no batch to lose.
  graph.batchIsFixed = batchIsFixed;
  for (const index of outputs) graph.derive(index);
}
