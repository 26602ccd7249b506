import { elementsOf } from './arrays.ts';
import type { GraphBuilder } from './builder.ts';
import { stridedSlicePlan } from './layout.ts';
import type { TfliteOperator } from './reader.ts';
import { TensorType } from './schema.ts';

/**
 * Integers that exporters compute in the graph, mostly target shapes: SHAPE, a slice of it, PACK, RESHAPE. They are worked out
 * here, with a batch of one picture, so that the operators that need constants have them.
 */

interface Integers {
  readonly shape: readonly number[];
  readonly values: readonly number[];
}

/** Works out an operator whose operands are all integers that are known. False: it has to be converted. */
export function fold(operator: TfliteOperator, graph: GraphBuilder): boolean {
  const [output = -1] = operator.outputs;
  const { type } = graph.tensor(output);
  if (graph.isReal(output) || (type !== TensorType.int32 && type !== TensorType.int64)) return false;
  const found = workOut(operator, graph);
  if (!found || !found.values.every((n) => Number.isSafeInteger(n))) return false;
  graph.fold(output, found.shape, found.values);
  return true;
}

function workOut(operator: TfliteOperator, graph: GraphBuilder): Integers | undefined {
  const { kind, inputs, options } = operator;
  const [first = -1] = inputs;
  if (kind === 'SHAPE') {
    const values = graph.shape(first);
    return { shape: [values.length], values };
  }
  if (kind === 'RANK') return { shape: [], values: [graph.shape(first).length] };
  const rule = RULES[kind];
  if (!rule) return undefined;
  const operands = inputs.map((index): Integers | undefined => {
    const values = index === -1 ? undefined : graph.knownIntegers(index);
    return values && { shape: graph.shape(index), values };
  });
  const known = operands.filter((operand) => operand !== undefined);
  if (known.length !== inputs.length || known.length === 0 || options['activation']) return undefined;
  return rule(known, operator, graph);
}

type Rule = (operands: readonly Integers[], operator: TfliteOperator, graph: GraphBuilder) => Integers | undefined;

const RULES: Readonly<Record<string, Rule>> = {
  CAST: ([a]) => a,
  SQUEEZE: sameValues,
  EXPAND_DIMS: sameValues,
  RESHAPE: sameValues,
  PACK: (parts) => ({ shape: [parts.length, ...(parts[0]?.shape ?? [])], values: parts.flatMap((p) => p.values) }),
  CONCATENATION: (parts) => {
    const values = parts.flatMap((p) => p.values);
    return parts.every((p) => p.shape.length === 1) ? { shape: [values.length], values } : undefined;
  },
  GATHER: ([from, at], { options }) => {
    if (!from || !at || from.shape.length !== 1 || options['axis'] || options['batchDims']) return undefined;
    return { shape: at.shape, values: at.values.map((i) => from.values[i] ?? Number.NaN) };
  },
  STRIDED_SLICE: ([from], operator, graph) => {
    if (!from || from.shape.length !== 1) return undefined;
    const { slices, shape } = stridedSlicePlan(operator, graph, from.shape);
    const [{ start, step, length } = { start: 0, step: 1, length: 0 }] = slices;
    return { shape, values: Array.from({ length }, (_, i) => from.values[start + i * step] ?? Number.NaN) };
  },
  SLICE: ([from, begin, size]) => {
    const [start = 0, length = 0] = [begin?.values[0], size?.values[0]];
    if (!from || from.shape.length !== 1 || start < 0) return undefined;
    const values = from.values.slice(start, length === -1 ? undefined : start + length);
    return { shape: [values.length], values };
  },
  REDUCE_PROD: ([from], { options }) =>
    from?.shape.length === 1 ? { shape: options['keepDims'] ? [1] : [], values: [elementsOf(from.values)] } : undefined,
  ADD: pairwise((a, b) => a + b),
  SUB: pairwise((a, b) => a - b),
  MUL: pairwise((a, b) => a * b),
  DIV: pairwise((a, b) => Math.trunc(a / b)),
  FLOOR_DIV: pairwise((a, b) => Math.floor(a / b)),
  MAXIMUM: pairwise(Math.max),
  MINIMUM: pairwise(Math.min),
};

/** The output's shape is the file's own: shapes of integers do not depend on the batch. */
function sameValues(
  [from]: readonly Integers[],
  { outputs }: TfliteOperator,
  graph: GraphBuilder,
): Integers | undefined {
  const shape = graph.shape(outputs[0]);
  return from && elementsOf(shape) === from.values.length ? { shape, values: from.values } : undefined;
}

/** Element i of a list, or the only one that it has. */
function repeated({ values }: Integers, i: number): number {
  return values[values.length === 1 ? 0 : i] as number;
}

/** Lists of equal length, or one number with a list. */
function pairwise(of: (a: number, b: number) => number): Rule {
  return ([a, b]) => {
    if (!a || !b) return undefined;
    const longer = a.values.length >= b.values.length ? a : b;
    if (String(a.shape) !== String(b.shape) && a.values.length !== 1 && b.values.length !== 1) return undefined;
    return { shape: longer.shape, values: longer.values.map((_, i) => of(repeated(a, i), repeated(b, i))) };
  };
}
