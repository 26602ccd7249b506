import type { Shape, ShapeNode } from './schema.ts';

/** Columns of a batch in front of those of its schema: times and priorities. */
export const OWN_COLUMNS = 2;

/**
 * Makes objects of a batch out of its columns: `values` holds column after column of `stride` numbers, `texts` a list of
 * as many values for each `json` leaf; of these messages it makes `count`, from the one at `from` on.
 */
export type ObjectBuilder = (
  values: Float64Array,
  texts: readonly unknown[][],
  stride: number,
  from: number,
  count: number,
) => unknown[];

/** In a page code is generated only for somebody who takes so many objects at once: see `isPage`. */
const MANY = 16;

const builders = new WeakMap<Shape, ObjectBuilder>();

/** The builder of a shape, made once. */
export function objectBuilder(shape: Shape): ObjectBuilder {
  let builder = builders.get(shape);
  if (builder === undefined) {
    builder = isPage() ? pageBuilder(shape) : mayGenerate() ? generatedBuilder(shape) : plainBuilder(shape);
    builders.set(shape, builder);
  }
  return builder;
}

/** Code is generated at the first batch for which that pays. */
export function pageBuilder(shape: Shape): ObjectBuilder {
  const plain = plainBuilder(shape);
  let many: ObjectBuilder | undefined;
  return (values, texts, stride, from, count) => {
    if (count < MANY) return plain(values, texts, stride, from, count);
    many ??= mayGenerate() ? generatedBuilder(shape) : plain;
    return many(values, texts, stride, from, count);
  };
}

/**
 * A function written for the shape: one object literal, so that the engine knows where every leaf lies. Eight times as
 * fast as `plainBuilder`. Of what came over the wire only keys enter the code, as string literals by JSON.stringify
 * (`__proto__`, the one key that a literal gives a meaning, has no place in a schema) and indices.
 */
export function generatedBuilder(shape: Shape): ObjectBuilder {
  const literal = (node: ShapeNode): string => {
    switch (node.kind) {
      case 'f64':
        return `v[${OWN_COLUMNS + node.column}*n+i]`;
      case 'bool':
        return `v[${OWN_COLUMNS + node.column}*n+i]===1`;
      case 'json':
        return `t[${node.text}][i]`;
      case 'list':
        return `[${node.children.map(literal).join(',')}]`;
      case 'object':
        return `{${node.keys.map((key, i) => `${JSON.stringify(key)}:${literal(node.children[i]!)}`).join(',')}}`;
    }
  };
  const body = `const o=new Array(m);for(let j=0,i=f;j<m;j++,i++)o[j]=${literal(shape.root)};return o`;
  return new Function('v', 't', 'n', 'f', 'm', body) as ObjectBuilder;
}

/**
 * The same where a page's Content-Security-Policy forbids generated code: containers are copied from one that has all the
 * keys, so that they have one hidden class, and filled column by column.
 */
export function plainBuilder(shape: Shape): ObjectBuilder {
  return containerBuilder(shape.root);
}

function containerBuilder(node: ShapeNode): ObjectBuilder {
  switch (node.kind) {
    case 'json':
      return (_, texts, _stride, from, count) => texts[node.text]!.slice(from, from + count);
    case 'bool':
      return (values, _, stride, from, count) =>
        Array.from({ length: count }, (_, i) => values[(OWN_COLUMNS + node.column) * stride + from + i] === 1);
    case 'f64':
      return (values, _, stride, from, count) => {
        const start = (OWN_COLUMNS + node.column) * stride + from;
        return [...values.subarray(start, start + count)];
      };
    case 'list':
      return listBuilder(node.children);
    case 'object':
      return recordBuilder(node.keys, node.children);
  }
}

function listBuilder(children: readonly ShapeNode[]): ObjectBuilder {
  const template = children.map(placeholder);
  const builders = children.map(containerBuilder);
  return (values, texts, stride, from, count) => {
    const lists: unknown[][] = [];
    for (let i = 0; i < count; i++) lists.push(template.slice());
    for (const [place, child] of children.entries()) {
      if (child.kind === 'f64') fillNumbers(lists, place, values, (OWN_COLUMNS + child.column) * stride + from);
      else fill(lists, place, builders[place]!(values, texts, stride, from, count));
    }
    return lists;
  };
}

function recordBuilder(keys: readonly string[], children: readonly ShapeNode[]): ObjectBuilder {
  const template = Object.fromEntries(keys.map((key, i) => [key, placeholder(children[i]!)]));
  const builders = children.map(containerBuilder);
  return (values, texts, stride, from, count) => {
    const records: Record<string, unknown>[] = [];
    for (let i = 0; i < count; i++) records.push({ ...template });
    for (const [place, child] of children.entries()) {
      const key = keys[place]!;
      if (child.kind === 'f64') fillNumbers(records, key, values, (OWN_COLUMNS + child.column) * stride + from);
      else fill(records, key, builders[place]!(values, texts, stride, from, count));
    }
    return records;
  };
}

/** Something of the leaf's kind: a double where doubles will be, so that the hidden class need not change. */
function placeholder(node: ShapeNode): unknown {
  if (node.kind === 'f64') return 0.5;
  return node.kind === 'bool' ? false : null;
}

type Container<K extends string | number> = Record<K, unknown>;

function fillNumbers<K extends string | number>(
  containers: Container<K>[],
  key: K,
  values: Float64Array,
  from: number,
): void {
  for (let i = 0; i < containers.length; i++) containers[i]![key] = values[from + i]!;
}

function fill<K extends string | number>(containers: Container<K>[], key: K, column: readonly unknown[]): void {
  for (let i = 0; i < containers.length; i++) containers[i]![key] = column[i];
}

let generates: boolean | undefined;

function mayGenerate(): boolean {
  generates ??= tryToGenerate();
  return generates;
}

/** Where a Content-Security-Policy forbids generated code, the browser logs even the question as an error. */
function isPage(): boolean {
  const { process } = globalThis as { readonly process?: { readonly versions?: { readonly node?: string } } };
  return process?.versions?.node === undefined;
}

function tryToGenerate(): boolean {
  try {
    return new Function('return true')() === true;
  } catch {
    return false;
  }
}
