import { posix } from 'node:path';
import { isBuiltin } from 'node:module';
import { parseSync } from 'vite';

/** The rules of the house as functions: sources in, sentences about what breaks a rule out. */

export interface Source {
  /** From the project's root, with `/`. */
  readonly path: string;
  readonly text: string;
}

export interface Module {
  readonly path: string;
  /** Everything that is imported, re-exported, imported by `import()` or named by `new URL(…, import.meta.url)`. */
  readonly imports: readonly string[];
  readonly hasExportAll: boolean;
  /** There is nothing in it but re-exports. */
  readonly onlyReexports: boolean;
  readonly usesConsole: boolean;
  readonly usesEnvironment: boolean;
  /** All string literals. */
  readonly strings: ReadonlySet<string>;
}

/** Room → level. A room is a folder of `src/` or a file in it. */
export type Levels = ReadonlyMap<string, number>;

/** What the table says of `client/` beside its level. */
const CLIENT_MAY_IMPORT = new Set(['base', 'protocol', 'flow']);
/** Rooms that must run in a browser as well. */
const PORTABLE_ROOMS = new Set(['base', 'protocol', 'flow', 'client']);
/** What `exports` of package.json points at: these exist to re-export. */
const ENTRY_POINTS = new Set(['src/index.ts', 'src/client/index.ts', 'src/client/cameras.ts']);
/** What the page imports of the SDK. */
const CLIENT_ENTRIES = new Set(['sightline/client', 'sightline/client/cameras']);
const COMMAND_ROOMS = new Set(['cli']);

interface Node {
  readonly type: string;
  readonly [key: string]: unknown;
}

/** What the rules need to know of a file. Throws when it cannot be parsed. */
export function readModule({ path, text }: Source): Module {
  const { program, errors } = parseSync(path, text);
  if (errors.length > 0) throw new Error(`${path}: ${errors[0]!.message}`);
  const imports: string[] = [];
  const strings = new Set<string>();
  let usesConsole = false;
  let usesEnvironment = false;
  walk(program as unknown as Node, (node) => {
    const specifier = importedBy(node);
    if (specifier !== undefined) imports.push(specifier);
    if (node.type === 'Literal' && typeof node['value'] === 'string') strings.add(node['value']);
    if (node.type === 'MemberExpression' && nameOf(node['object']) === 'console') usesConsole = true;
    if (readsEnvironment(node)) usesEnvironment = true;
  });
  const body = program.body as unknown as Node[];
  return {
    path,
    imports,
    hasExportAll: body.some(({ type }) => type === 'ExportAllDeclaration'),
    onlyReexports: body.length > 0 && body.every(isReexport),
    usesConsole,
    usesEnvironment,
    strings,
  };
}

/** The rows of the table whose head is `level | room | what`. */
export function readLevels(architecture: string): Levels {
  const levels = new Map<string, number>();
  for (const [, level, rooms] of architecture.matchAll(/^\|\s*(\d+)\s*\|([^|]*)\|/gm)) {
    for (const [, name] of rooms!.matchAll(/`([^`]+)`/g)) {
      levels.set(name!.replace(/\/$/, ''), Number(level));
    }
  }
  return levels;
}

/** `src/base/errors.ts` → `base`, `src/app.ts` → `app.ts`; `undefined` for what is not in `src/`. */
export function roomOf(path: string): string | undefined {
  return /^src\/([^/]+)/.exec(path)?.[1];
}

export function isTest(path: string): boolean {
  return path.endsWith('.test.ts');
}

/** The table and the folders name the same rooms. */
export function checkRooms(levels: Levels, paths: readonly string[]): string[] {
  const rooms = new Set(paths.filter((path) => !isTest(path)).map((path) => roomOf(path)!));
  return [
    ...[...rooms]
      .filter((room) => !levels.has(room))
      .map((room) => `src/${room} is not in the table of ARCHITECTURE.md`),
    ...[...levels.keys()]
      .filter((room) => !rooms.has(room))
      .map((room) => `the table names ${room}, which src/ has not`),
  ];
}

/** Imports go to lower levels or stay in the room; `client` has its own list beside. */
export function checkDirection(levels: Levels, modules: readonly Module[]): string[] {
  return modules.flatMap(({ path, imports }) =>
    imports.filter(isRelative).flatMap((specifier) => {
      const target = resolve(path, specifier);
      const [from, to] = [roomOf(path)!, roomOf(target)];
      if (to === undefined) return target === 'package.json' ? [] : [`${path} leaves src/ for ${target}`];
      return from === to || mayImport(levels, from, to) ? [] : [`${path} (${from}) must not import ${target} (${to})`];
    }),
  );
}

function mayImport(levels: Levels, from: string, to: string): boolean {
  if (from === 'client') return CLIENT_MAY_IMPORT.has(to);
  const [fromLevel, toLevel] = [levels.get(from), levels.get(to)];
  return fromLevel !== undefined && toLevel !== undefined && toLevel < fromLevel;
}

/** Rooms that run in browsers too import nothing of Node's. */
export function checkPortable(modules: readonly Module[]): string[] {
  return modules
    .filter(({ path }) => PORTABLE_ROOMS.has(roomOf(path)!))
    .flatMap(({ path, imports }) => imports.filter((s) => isBuiltin(s)).map((s) => `${path} must not import ${s}`));
}

/** The page knows the server by the SDK alone. */
export function checkDashboard(modules: readonly Module[]): string[] {
  return modules.flatMap(({ path, imports }) =>
    imports.flatMap((specifier) => {
      const ours = isRelative(specifier)
        ? resolve(path, specifier).startsWith('dashboard/')
        : !/^sightline(\/|$)/.test(specifier) || CLIENT_ENTRIES.has(specifier);
      return ours ? [] : [`${path} must not import ${specifier}`];
    }),
  );
}

/** No `export *`, and no file of re-exports but the entry points. */
export function checkBarrels(modules: readonly Module[]): string[] {
  return modules.flatMap(({ path, hasExportAll, onlyReexports }) => {
    if (hasExportAll) return [`${path} has an export *`];
    return onlyReexports && !ENTRY_POINTS.has(path) ? [`${path} only re-exports`] : [];
  });
}

/** What must be said to a native library in the environment, because it can be said nowhere else. */
const SPEAKS_TO_LIBRARIES = new Set(['src/inference/quiet-runtime.ts', 'src/supervise/child.ts']);

/** Library code neither prints nor reads the environment; the command line does both. */
export function checkWorldOutside(modules: readonly Module[]): string[] {
  const library = modules.filter(({ path }) => !COMMAND_ROOMS.has(roomOf(path)!));
  return [
    ...library.filter(({ usesConsole }) => usesConsole).map(({ path }) => `${path} uses console`),
    ...library
      .filter(({ path, usesEnvironment }) => usesEnvironment && !SPEAKS_TO_LIBRARIES.has(path))
      .map(({ path }) => `${path} uses process.env`),
  ];
}

/** Every code of the catalogue is raised somewhere; `errors.test.ts` compares the catalogue with its documentation. */
export function checkErrorCodes(codes: readonly string[], modules: readonly Module[]): string[] {
  const raisers = modules.filter(({ path }) => path !== 'src/base/errors.ts');
  const isRaised = (code: string) => raisers.some(({ strings }) => strings.has(code));
  return codes.filter((code) => !isRaised(code)).map((code) => `${code} is raised nowhere`);
}

function isRelative(specifier: string): boolean {
  return specifier.startsWith('.');
}

function resolve(path: string, specifier: string): string {
  return posix.join(posix.dirname(path), specifier);
}

function isReexport(node: Node): boolean {
  return node.type === 'ExportAllDeclaration' || (node.type === 'ExportNamedDeclaration' && node['source'] !== null);
}

function importedBy(node: Node): string | undefined {
  const source = node['source'] as { value?: unknown } | null | undefined;
  if (/^(Import(Declaration|Expression)|Export(All|Named)Declaration|TSImportType)$/.test(node.type)) {
    return typeof source?.value === 'string' ? source.value : undefined;
  }
  if (node.type !== 'NewExpression' || nameOf(node['callee']) !== 'URL') return undefined;
  const [first, second] = node['arguments'] as { type: string; value?: unknown; object?: { type: string } }[];
  const value = second?.object?.type === 'MetaProperty' ? first?.value : undefined;
  // A folder or a file of data is no module.
  return typeof value === 'string' && value.endsWith('.ts') ? value : undefined;
}

/** `process.env`, `const { env } = process`, `import { env } from 'node:process'`. */
function readsEnvironment(node: Node): boolean {
  if (node.type === 'MemberExpression')
    return nameOf(node['object']) === 'process' && nameOf(node['property']) === 'env';
  if (node.type === 'VariableDeclarator' && nameOf(node['init']) === 'process') {
    const properties = (node['id'] as { properties?: { key?: unknown }[] }).properties ?? [];
    return properties.some(({ key }) => nameOf(key) === 'env');
  }
  if (node.type !== 'ImportDeclaration') return false;
  const { value } = node['source'] as { value: string };
  const specifiers = node['specifiers'] as { imported?: unknown }[];
  return /^(node:)?process$/.test(value) && specifiers.some(({ imported }) => nameOf(imported) === 'env');
}

/** The name of an identifier, the text of a string, the last part of `a.b.c` or `a['b']['c']`. */
function nameOf(node: unknown): string | undefined {
  const { type, name, value, property } = (node ?? {}) as {
    type?: string;
    name?: string;
    value?: string;
    property?: unknown;
  };
  return type === 'MemberExpression' ? nameOf(property) : (name ?? value);
}

function walk(node: Node, visit: (node: Node) => void): void {
  visit(node);
  for (const child of Object.values(node)) {
    for (const item of Array.isArray(child) ? child : [child]) {
      if (typeof item?.type === 'string') walk(item as Node, visit);
    }
  }
}
