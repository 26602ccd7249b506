import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Readable } from 'node:stream';
import type { z } from 'zod';
import type { Action } from '../auth/grants.ts';
import type { Principal } from '../auth/principal.ts';
import { SightlineError, type ErrorCode } from '../base/errors.ts';
import type { DeepReadonly } from '../config/schema.ts';

/**
 * One row of a room's route table. The server mounts the table, checks requests by it, and makes its OpenAPI
 * document from it: there is no second description. Paths have parameters as `:name`.
 */
export type Route = AnswerRoute | BytesRoute | StreamRoute | FileRoute;

/**
 * The permission that a route needs, and its resource: `sessions/:id` is the session that the path names. `access.ts` asks for it. `known`:
 * whoever has come in, whatever it may do.
 */
export type Permission =
  | { readonly action: 'public' }
  | { readonly action: 'known' }
  | { readonly action: Action; readonly resource: string };

interface RouteBase {
  readonly url: string;
  readonly permission: Permission;
  /** The document groups by it. */
  readonly tag: string;
  /** One line for people. */
  readonly summary: string;
  readonly description?: string;
}

export function methodOf(route: Route): AnswerRoute['method'] {
  return route.kind === 'answer' ? route.method : 'GET';
}

/** For people and documents: `/api/sessions/{id}`. */
export function pathOf(url: string): string {
  return url.replaceAll(/:([A-Za-z_]+)/g, '{$1}');
}

/** Allowed inputs of a request. Not given: nothing of the kind may come. */
export interface InputSchemas {
  readonly params?: z.ZodType;
  readonly query?: z.ZodType;
  readonly body?: z.ZodType;
  /** The body may come as a table as well. */
  readonly csv?: CsvForm;
  /** The body is a text of this type, and no JSON. */
  readonly bodyType?: TextType;
}

/** Types of texts that are taken as they are: a form of a foreign page can send none of them. */
export const TEXT_TYPES = ['application/sdp', 'application/trickle-ice-sdpfrag'] as const;
export type TextType = (typeof TEXT_TYPES)[number];

export interface CsvForm {
  /** What the JSON would be. Throws BODY_BAD, naming line and column. */
  readonly read: (text: string) => unknown;
  /** For the document. */
  readonly example: string;
}

/** A body of `text/csv`. */
export class CsvText {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** A body of one of `TEXT_TYPES`. */
export class PlainText {
  readonly type: TextType;
  readonly text: string;

  constructor(type: TextType, text: string) {
    this.type = type;
    this.text = text;
  }
}

export interface AnswerRoute extends RouteBase, InputSchemas {
  readonly kind: 'answer';
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Of an answer that is no refusal; default: 200. 204 has no body. */
  readonly status?: 201 | 204;
  /** Schema of the answer; text where it is a string. */
  readonly response: z.ZodType;
  /** Of an answer that is text. */
  readonly contentType?: string;
  /** A body to begin with, for the document. */
  readonly example?: unknown;
  /** Largest body, bytes; default: that of the server. */
  readonly bodyBytesMax?: number;
  /** Codes of the refusals that are its own, for the document. */
  readonly errors?: readonly ErrorCode[];
  /** The return value becomes the answer, text as it is, all else as JSON; a thrown SightlineError becomes its status. */
  readonly handle: (input: Input<unknown, unknown, unknown>) => unknown;
}

/** Bytes that are made for the request, such as a picture. */
export interface BytesRoute extends RouteBase, Pick<InputSchemas, 'params' | 'query'> {
  readonly kind: 'bytes';
  readonly contentType: string;
  readonly errors?: readonly ErrorCode[];
  /** A client may ask for a part of them. */
  readonly hasRanges?: boolean;
  /** undefined: the client has them already (304); the handler has compared its `If-None-Match`. A stream, which has no ranges, is read at the pace of the client. */
  readonly bytes: (input: Input<unknown, unknown, undefined>) => Promise<Uint8Array | Readable | undefined>;
}

export interface StreamRoute extends RouteBase, Pick<InputSchemas, 'params' | 'query'> {
  readonly kind: 'stream';
  readonly contentType: string;
  readonly errors?: readonly ErrorCode[];
  /** The session's token, for the document: the handler checks it itself. */
  readonly needsToken?: boolean;
  /** Writes the answer itself; may throw a SightlineError before it has written anything. */
  readonly stream: (
    request: IncomingMessage,
    response: ServerResponse,
    params: Readonly<Record<string, string>>,
    principal: Principal,
  ) => void;
}

export interface FileRoute extends RouteBase, Pick<InputSchemas, 'params'> {
  readonly kind: 'file';
  readonly contentType: string;
  /** The file to serve, with ranges and caching; undefined: there is none, a 404. */
  readonly file: (params: unknown) => Promise<ServedFile | undefined>;
}

export interface ServedFile {
  readonly folder: string;
  /** Within the folder, with `/` between its parts. A name that leads out of it, or to a hidden file, is a 404. */
  readonly name: string;
}

export interface Input<P, Q, B> {
  readonly params: P;
  readonly query: Q;
  readonly body: B;
  readonly caller: Caller;
}

/** Who asks, and how. */
export interface Caller {
  /** undefined: it is not known, which only what is public meets. */
  readonly principal: Principal | undefined;
  readonly request: IncomingMessage;
  /** Of the client, also behind a proxy that is trusted; undefined: it is gone. */
  readonly address: string | undefined;
  /** It speaks TLS. */
  readonly isSecure: boolean;
  /** Of the answer. */
  setHeader(name: string, value: string): void;
  /** Calls back when the client has gone, or has its answer. */
  onGone(listener: () => void): void;
}

/** A row whose handler gets what its schemas read, and must give what its response's schema describes. */
export function answer<R extends z.ZodType, P = undefined, Q = undefined, B = undefined>(
  row: Omit<AnswerRoute, 'kind' | 'params' | 'query' | 'body' | 'response' | 'handle'> & {
    readonly params?: z.ZodType<P>;
    readonly query?: z.ZodType<Q>;
    readonly body?: z.ZodType<B>;
    readonly response: R;
    readonly handle: (input: Input<P, Q, B>) => DeepReadonly<z.output<R>> | Promise<DeepReadonly<z.output<R>>>;
  },
): AnswerRoute {
  return { ...row, kind: 'answer', handle: row.handle as AnswerRoute['handle'] };
}

/** A row of files, which gets what its schema read. */
export function files<P = undefined>(
  row: Omit<FileRoute, 'kind' | 'params' | 'file'> & {
    readonly params?: z.ZodType<P>;
    readonly file: (params: P) => Promise<ServedFile | undefined>;
  },
): FileRoute {
  return { ...row, kind: 'file', file: row.file as FileRoute['file'] };
}

/** A row of bytes, whose handler gets what its schemas read. */
export function bytes<P = undefined, Q = undefined>(
  row: Omit<BytesRoute, 'kind' | 'params' | 'query' | 'bytes'> & {
    readonly params?: z.ZodType<P>;
    readonly query?: z.ZodType<Q>;
    readonly bytes: (input: Input<P, Q, undefined>) => Promise<Uint8Array | Readable | undefined>;
  },
): BytesRoute {
  return { ...row, kind: 'bytes', bytes: row.bytes as BytesRoute['bytes'] };
}

/** Reads the request by the row's schemas. Errors: QUERY_BAD, BODY_BAD, naming the field. */
export function readInput(
  schemas: InputSchemas,
  raw: { readonly params: unknown; readonly query: unknown; readonly body: unknown },
): Omit<Input<unknown, unknown, unknown>, 'caller'> {
  return {
    params: schemas.params && read(schemas.params, raw.params, 'QUERY_BAD', 'path'),
    query: schemas.query
      ? read(schemas.query, withoutToken(raw.query), 'QUERY_BAD', 'query')
      : refuseAny(withoutToken(raw.query)),
    body: schemas.body ? read(schemas.body, bodyOf(raw.body, schemas), 'BODY_BAD', 'body') : refuseBody(raw.body),
  };
}

/** Of any query. */
export const CREDENTIAL_PARAMETERS = ['access_token', 'ticket'] as const;

const NAME_CHARS_MAX = 80;
const PROBLEMS_MAX = 5;

function read(schema: z.ZodType, value: unknown, code: ErrorCode, part: string): unknown {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.slice(0, PROBLEMS_MAX).map((issue) => {
    const path = issue.path.map((key) => String(key).slice(0, NAME_CHARS_MAX)).join('.');
    return `${path === '' ? `the ${part}` : `${part}.${path}`}: ${sentence(issue)}`;
  });
  throw new SightlineError(code, problems.join('; '));
}

/** In our own words where the library would repeat the input, which may be long, and hold anything. */
function sentence(issue: z.core.$ZodIssue): string {
  if (issue.code !== 'unrecognized_keys') return issue.message;
  const keys = issue.keys.slice(0, PROBLEMS_MAX).map((key) => JSON.stringify(key.slice(0, NAME_CHARS_MAX)));
  return `${keys.join(', ')} ${issue.keys.length === 1 ? 'is' : 'are'} unknown`;
}

/** Every request may have them: `access.ts` reads them. */
function withoutToken(query: unknown): unknown {
  if (typeof query !== 'object' || query === null) return query;
  const others: Record<string, unknown> = { ...query };
  for (const name of CREDENTIAL_PARAMETERS) delete others[name];
  return others;
}

function refuseAny(query: unknown): undefined {
  const [key] = Object.keys(query ?? {});
  if (key === undefined) return undefined;
  throw new SightlineError('QUERY_BAD', `the query: ${JSON.stringify(key.slice(0, NAME_CHARS_MAX))} is unknown`);
}

/** Throws BODY_BAD when there is none, BODY_TYPE_BAD for a table where none is taken. */
function bodyOf(body: unknown, { csv, bodyType }: InputSchemas): unknown {
  if (body instanceof PlainText) {
    if (body.type === bodyType) return body.text;
    throw new SightlineError('BODY_TYPE_BAD', `a body must be ${bodyType ?? 'application/json'}, not ${body.type}`);
  }
  if (bodyType !== undefined) throw new SightlineError('BODY_TYPE_BAD', `the request takes a body of ${bodyType}`);
  if (body instanceof CsvText) {
    if (csv) return csv.read(body.text);
    throw new SightlineError('BODY_TYPE_BAD', 'a body must be application/json, not text/csv');
  }
  if (body !== undefined) return body;
  throw new SightlineError('BODY_BAD', 'the request has no body: it takes one of application/json');
}

function refuseBody(body: unknown): undefined {
  if (body === undefined || body === null) return undefined;
  throw new SightlineError('BODY_BAD', 'the request takes no body');
}
