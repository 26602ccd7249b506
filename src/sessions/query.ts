import { SightlineError } from '../base/errors.ts';
import { parsePipelineList } from '../base/pipeline-list.ts';
import { Priority } from '../base/sample.ts';
import type { MessageFormat } from '../protocol/video.ts';

/** A client's query for a video session. */
export interface SessionQuery extends SessionIdentity {
  /** Names, as requested: at least one, none twice. */
  readonly pipelines: readonly string[];
  readonly model: string | undefined;
  readonly confidence: number | undefined;
  readonly format: MessageFormat;
  /** Capture to result that the user wants, ms; undefined: the server's setting. */
  readonly budgetMs: number | undefined;
  /** Class of the frames that name none. */
  readonly priority: Priority;
}

const IDENTITY_KEYS = ['client_id', 'token', 'resume'];
const KEYS = ['pipeline', 'model', 'confidence', 'format', 'budget_ms', 'priority', ...IDENTITY_KEYS];
const BUDGET_MS_MAX = 60_000;
const CLIENT_ID_PATTERN = /^[A-Za-z0-9._-]{1,64}$/;

/** Throws SightlineError QUERY_BAD, naming the key and its value. Which pipelines and models exist is not decided here. */
export function parseSessionQuery(query: URLSearchParams): SessionQuery {
  requireKeys(query, KEYS);
  const pipelines = parsePipelineList(query.get('pipeline') ?? 'objects', (fault) => bad(`pipeline ${fault}`));
  for (const key of ['model', 'confidence']) {
    if (pipelines.length > 1 && query.has(key))
      throw bad(`${key} is for one pipeline, and there are ${pipelines.length}`);
  }
  return {
    pipelines,
    model: query.get('model') ?? undefined,
    confidence: parseConfidence(query.get('confidence')),
    format: parseFormat(query.get('format')),
    budgetMs: parseBudget(query.get('budget_ms')),
    priority: parsePriority(query.get('priority')),
    ...parseIdentity(query),
  };
}

/** The identity that a client claims. */
export interface SessionIdentity {
  readonly clientId: string | undefined;
  readonly token: string | undefined;
  /** The token proves whose name it is, and the session begins anew. */
  readonly isAnew: boolean;
}

/** The query of a telemetry session. Throws SightlineError QUERY_BAD, naming the key and its value. */
export function parseTelemetryQuery(query: URLSearchParams): SessionIdentity {
  requireKeys(query, IDENTITY_KEYS);
  return parseIdentity(query);
}

/** The query of a session that watches cameras: there is nothing to say in it. Throws QUERY_BAD. */
export function parseCamerasQuery(query: URLSearchParams): void {
  requireKeys(query, []);
}

function requireKeys(query: URLSearchParams, keys: readonly string[]): void {
  for (const key of query.keys()) {
    const known = keys.length === 0 ? 'there is none' : `there are ${keys.join(', ')}`;
    if (!keys.includes(key)) throw bad(`${key.slice(0, 80)} is unknown; ${known}`);
    if (query.getAll(key).length > 1) throw bad(`${key} is given more than once`);
  }
}

function parseIdentity(query: URLSearchParams): SessionIdentity {
  const clientId = query.get('client_id') ?? undefined;
  if (clientId !== undefined && !CLIENT_ID_PATTERN.test(clientId)) {
    throw bad(`client_id "${clientId.slice(0, 80)}" is not 1 to 64 of A-Z a-z 0-9 . _ -`);
  }
  const resume = query.get('resume') ?? 'true';
  if (resume !== 'true' && resume !== 'false') throw bad(`resume "${resume.slice(0, 40)}" is not true or false`);
  return { clientId, token: query.get('token') ?? undefined, isAnew: resume === 'false' };
}

function parseConfidence(text: string | null): number | undefined {
  if (text === null) return undefined;
  const value = Number(text);
  if (text.trim() === '' || !(value >= 0 && value <= 1))
    throw bad(`confidence "${text.slice(0, 40)}" is not a number from 0 to 1`);
  return value;
}

function parseBudget(text: string | null): number | undefined {
  if (text === null) return undefined;
  const value = Number(text);
  if (text.trim() === '' || !(value >= 1 && value <= BUDGET_MS_MAX))
    throw bad(`budget_ms "${text.slice(0, 40)}" is not a number from 1 to ${BUDGET_MS_MAX}`);
  return value;
}

function parsePriority(text: string | null): Priority {
  if (text === null) return Priority.normal;
  const names = Object.keys(Priority) as (keyof typeof Priority)[];
  const name = names.find((one) => one === text);
  if (name === undefined) throw bad(`priority "${text.slice(0, 40)}" is not one of ${names.join(', ')}`);
  return Priority[name];
}

function parseFormat(text: string | null): MessageFormat {
  if (text === null || text === 'json') return 'json';
  if (text === 'msgpack') return 'msgpack';
  throw bad(`format "${text.slice(0, 40)}" is not json or msgpack`);
}

function bad(what: string): SightlineError {
  return new SightlineError('QUERY_BAD', `the query's ${what}`);
}
