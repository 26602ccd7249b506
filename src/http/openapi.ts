import { z } from 'zod';
import { ERRORS } from '../base/error-catalogue.ts';
import type { ErrorCode } from '../base/errors.ts';
import { LOGIN_COOKIE } from './access.ts';
import { methodOf, pathOf, type InputSchemas, type Permission, type Route } from './route.ts';

/** The OpenAPI 3.1 document of a route table. https://spec.openapis.org/oas/v3.1.1.html */

export interface OpenApiInfo {
  readonly title: string;
  readonly version: string;
  readonly description: string;
  readonly license: { readonly name: string; readonly identifier: string };
  /** Under which all paths are, such as `/sightline`; empty: none. */
  readonly basePath?: string;
  /** Descriptions of the routes' tags. */
  readonly tags?: Readonly<Record<string, string>>;
}

/** Description of a WebSocket, which OpenAPI does not know. */
export interface ToldSocket {
  readonly path: string;
  readonly summary: string;
  readonly protocols?: readonly string[];
  readonly permissions: readonly Permission[];
}

type Json = Readonly<Record<string, unknown>>;

export interface OpenApiDocument {
  readonly openapi: '3.1.1';
  readonly info: Omit<OpenApiInfo, 'tags' | 'basePath'>;
  readonly servers: readonly { readonly url: string; readonly description: string }[];
  /** One of these, where the server asks for a key, unless an operation says otherwise. */
  readonly security: readonly Readonly<Record<string, readonly string[]>>[];
  readonly tags: readonly { readonly name: string; readonly description?: string }[];
  /** By path, then by method in small letters. */
  readonly paths: Readonly<Record<string, Readonly<Record<string, Json>>>>;
  readonly 'x-websockets': readonly Json[];
  readonly components: {
    readonly schemas: Readonly<Record<string, Json>>;
    readonly securitySchemes: Readonly<Record<string, Json>>;
  };
}

const errorSchema = z
  .object({
    error: z.object({
      code: z.string().describe('stable'),
      message: z.string().describe('for people; names the bad value'),
    }),
  })
  .meta({ id: 'Error', description: 'the form of every refusal' });

/** Codes with which any request may be refused. */
const COMMON_ERRORS: readonly ErrorCode[] = [
  'CREDENTIALS_MISSING',
  'CREDENTIALS_BAD',
  'CREDENTIALS_EXPIRED',
  'PERMISSION_DENIED',
  'ORIGIN_FORBIDDEN',
  'HOST_FORBIDDEN',
  'INTERNAL',
];

/** By name in the document's `securitySchemes`. */
const KEY = 'key';
const LOGIN = 'login';
const SESSION_TOKEN = 'session_token';

export function openApiDocument(
  routes: readonly Route[],
  sockets: readonly ToldSocket[],
  { tags: described = {}, basePath = '', ...info }: OpenApiInfo,
): OpenApiDocument {
  const schemas = new Schemas();
  const paths: Record<string, Record<string, Json>> = {};
  for (const route of routes) {
    const path = pathOf(route.url);
    paths[path] ??= {};
    paths[path][methodOf(route).toLowerCase()] = operation(route, schemas);
  }
  return {
    openapi: '3.1.1',
    info,
    // Whatever name it is known by: the document is read at the server itself.
    servers: [{ url: basePath || '/', description: 'this server' }],
    security: [{ [KEY]: [] }, { [LOGIN]: [] }, {}],
    tags: [...new Set(routes.map(({ tag }) => tag))].map((name) =>
      described[name] === undefined ? { name } : { name, description: described[name] },
    ),
    paths,
    'x-websockets': sockets.map(({ path, summary, protocols, permissions }) => ({
      path,
      summary,
      ...(protocols && { protocols }),
      'x-permission': permissions.map(toldPermission),
    })),
    components: {
      schemas: schemas.named,
      securitySchemes: {
        [KEY]: {
          type: 'http',
          scheme: 'bearer',
          description: 'a key of `sightline keys add`, where the server asks for one',
        },
        [LOGIN]: { type: 'apiKey', in: 'cookie', name: LOGIN_COOKIE, description: 'of `POST /api/login`' },
        [SESSION_TOKEN]: { type: 'http', scheme: 'bearer', description: 'the token of a session, from its `welcome`' },
      },
    },
  };
}

function operation(route: Route, schemas: Schemas): Json {
  const inputs: InputSchemas = route;
  const body = route.kind === 'answer' ? route.body : undefined;
  return {
    tags: [route.tag],
    summary: route.summary,
    ...(route.description !== undefined && { description: route.description }),
    'x-permission': toldPermission(route.permission),
    operationId: `${methodOf(route).toLowerCase()}${route.url.replaceAll(/[^A-Za-z]+/g, '_').replace(/_$/, '')}`,
    ...(route.kind === 'stream' && route.needsToken === true && { security: [{ [SESSION_TOKEN]: [] }, {}] }),
    parameters: [...parameters('path', inputs.params, schemas), ...parameters('query', inputs.query, schemas)],
    ...(body && {
      requestBody: {
        required: true,
        content: {
          [inputs.bodyType ?? 'application/json']: { schema: schemas.input(body), ...exampleOf(route) },
          ...(inputs.csv && { 'text/csv': { schema: { type: 'string' }, example: inputs.csv.example } }),
        },
      },
    }),
    responses: { ...answerOf(route, schemas), ...refusals(route, schemas) },
  };
}

function toldPermission(permission: Permission): Json {
  return !('resource' in permission) ? permission : { ...permission, resource: pathOf(permission.resource) };
}

function exampleOf(route: Route): Json {
  return route.kind === 'answer' && route.example !== undefined ? { example: route.example } : {};
}

function answerOf(route: Route, schemas: Schemas): Json {
  const status = (route.kind === 'answer' && route.status) || 200;
  const isEmpty = status === 204;
  return { [status]: { description: 'done', ...(!isEmpty && { content: contentOf(route, schemas) }) } };
}

function contentOf(route: Route, schemas: Schemas): Json {
  if (route.kind !== 'answer') return { [route.contentType]: {} };
  const schema = schemas.output(route.response);
  const text = route.contentType ?? 'text/plain';
  return { [schema['type'] === 'string' ? text : 'application/json']: { schema } };
}

/** By status: several codes may share one. */
function refusals(route: Route, schemas: Schemas): Json {
  const codes = new Set<ErrorCode>(COMMON_ERRORS);
  if (route.kind !== 'file' || route.params) codes.add('QUERY_BAD');
  if (route.kind === 'answer' && route.body) {
    for (const code of ['BODY_BAD', 'BODY_TOO_LARGE', 'BODY_TYPE_BAD'] as const) codes.add(code);
  }
  for (const code of route.kind === 'file' ? (['NOT_FOUND', 'RANGE_BAD'] as const) : (route.errors ?? []))
    codes.add(code);
  const content = { 'application/json': { schema: schemas.output(errorSchema) } };
  const byStatus = Object.groupBy(codes, (code) => ERRORS[code]);
  return Object.fromEntries(
    Object.entries(byStatus).map(([status, some]) => [status, { description: some!.join(', '), content }]),
  );
}

function parameters(place: 'path' | 'query', schema: z.ZodType | undefined, schemas: Schemas): Json[] {
  if (!schema) return [];
  const { properties = {}, required = [] } = schemas.input(schema) as {
    properties?: Record<string, Json>;
    required?: readonly string[];
  };
  return Object.entries(properties).map(([name, { description, ...type }]) => ({
    name,
    in: place,
    required: required.includes(name),
    // An undefined one is left out of the JSON.
    description,
    schema: type,
  }));
}

/** Vocabulary of JSON Schema 2020-12 that is in use here; other notes of the program at a schema are left out. */
const KEYWORDS: ReadonlySet<string> = new Set(
  (
    '$ref $defs $schema type enum const properties required additionalProperties propertyNames items prefixItems anyOf oneOf allOf not ' +
    'minimum maximum exclusiveMinimum exclusiveMaximum multipleOf minLength maxLength pattern format minItems maxItems uniqueItems ' +
    'minProperties maxProperties title description default examples deprecated readOnly writeOnly'
  ).split(' '),
);

function tidy(schema: object): void {
  for (const key of Object.keys(schema)) if (!KEYWORDS.has(key)) delete (schema as Record<string, unknown>)[key];
}

/** JSON Schemas; those with a name (`meta({ id })`) stand once, under the document's components. */
class Schemas {
  readonly named: Record<string, Json> = {};

  /** For input of a client: unknown fields are refused, so the schema says so. */
  input(schema: z.ZodType): Json {
    return this.#add(z.toJSONSchema(schema, { io: 'input', override: ({ jsonSchema }) => tidy(jsonSchema) }));
  }

  /** For answers of the server. A later version may add fields, so that clients may not rely on their absence. */
  output(schema: z.ZodType): Json {
    return this.#add(
      z.toJSONSchema(schema, {
        io: 'output',
        override: ({ jsonSchema }) => {
          tidy(jsonSchema);
          if (jsonSchema.additionalProperties === false) delete jsonSchema.additionalProperties;
        },
      }),
    );
  }

  #add(json: object): Json {
    const {
      $schema: _,
      $defs = {},
      ...schema
    } = JSON.parse(JSON.stringify(json).replaceAll('"#/$defs/', '"#/components/schemas/')) as {
      $schema?: string;
      $defs?: Record<string, Json>;
    };
    Object.assign(this.named, $defs);
    return schema;
  }
}
