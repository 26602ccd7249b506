/** The page's view of an OpenAPI document. Pure. */

export interface Schema {
  readonly $ref?: string;
  readonly type?: string | readonly string[];
  readonly enum?: readonly unknown[];
  readonly default?: unknown;
  readonly [key: string]: unknown;
}

interface Content {
  readonly [type: string]: { readonly schema?: Schema; readonly example?: unknown };
}

interface OperationObject {
  readonly tags?: readonly string[];
  readonly summary?: string;
  readonly description?: string;
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: { readonly content: Content };
  readonly responses: Readonly<Record<string, { readonly description: string; readonly content?: Content }>>;
}

export interface Parameter {
  readonly name: string;
  readonly in: 'path' | 'query';
  readonly required?: boolean;
  readonly description?: string;
  readonly schema: Schema;
}

export interface ApiDocument {
  readonly info: { readonly title: string; readonly version: string; readonly description: string };
  readonly paths: Readonly<Record<string, Readonly<Record<string, OperationObject>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, Schema>> };
}

export interface Operation {
  readonly tag: string;
  readonly method: string;
  readonly path: string;
  readonly summary: string;
  readonly description: string;
  readonly parameters: readonly Parameter[];
  /** JSON to begin with; undefined: it takes no body. */
  readonly body: string | undefined;
  /** Schemas of the answer and of the body, references followed; undefined: not JSON. */
  readonly answerSchema: Schema | undefined;
  readonly bodySchema: Schema | undefined;
  /** Media type of the answer. */
  readonly answerType: string;
  readonly refusals: readonly { readonly status: string; readonly codes: string }[];
}

export function operationsOf(document: ApiDocument): Operation[] {
  return Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => operationOf(document, path, method, operation)),
  );
}

function operationOf(document: ApiDocument, path: string, method: string, operation: OperationObject): Operation {
  const [answerType = '', answer] = Object.entries(operation.responses['200']?.content ?? {})[0] ?? [];
  const body = operation.requestBody?.content['application/json'];
  return {
    tag: operation.tags?.[0] ?? '',
    method: method.toUpperCase(),
    path,
    summary: operation.summary ?? '',
    description: operation.description ?? '',
    parameters: operation.parameters ?? [],
    body: body && JSON.stringify(body.example ?? {}, undefined, 2),
    bodySchema: body?.schema && resolved(body.schema, document),
    answerSchema: answer?.schema && resolved(answer.schema, document),
    answerType,
    refusals: Object.entries(operation.responses)
      .filter(([status]) => status !== '200')
      .map(([status, { description }]) => ({ status, codes: description })),
  };
}

/** Replaces every reference into the document by its target. The server's schemas have no circles. */
function resolved(schema: Schema, document: ApiDocument): Schema {
  const follow = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(follow);
    if (typeof value !== 'object' || value === null) return value;
    const name = /^#\/components\/schemas\/(.+)$/.exec((value as Schema).$ref ?? '')?.[1];
    const target = name === undefined ? undefined : document.components.schemas[name];
    if (target) return follow(target);
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, follow(inner)]));
  };
  return follow(schema) as Schema;
}

/** The address of the operation. Empty parameters of the query are left out. */
export function addressOf(operation: Operation, values: Readonly<Record<string, string>>): string {
  let { path } = operation;
  const query = new URLSearchParams();
  for (const parameter of operation.parameters) {
    const value = values[parameter.name] ?? '';
    if (parameter.in === 'path') path = path.replace(`{${parameter.name}}`, encodeURIComponent(value));
    else if (value !== '') query.set(parameter.name, value);
  }
  return query.size > 0 ? `${path}?${query}` : path;
}
