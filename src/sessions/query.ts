import { SightlineError } from '../base/errors.ts';
import type { MessageFormat } from '../protocol/video.ts';

/** What a client asked for when it opened a video session. */
export interface SessionQuery {
  readonly pipeline: string;
  readonly model: string | undefined;
  readonly confidence: number | undefined;
  readonly format: MessageFormat;
  readonly clientId: string | undefined;
  readonly token: string | undefined;
}

const KEYS = ['pipeline', 'model', 'confidence', 'format', 'client_id', 'token'];
export const CLIENT_ID_PATTERN = /^[A-Za-z0-9._-]{1,64}$/;

/** Throws SightlineError QUERY_BAD, naming the key and its value. Which pipelines and models exist is not decided here. */
export function parseSessionQuery(query: URLSearchParams): SessionQuery {
  for (const key of query.keys()) {
    if (!KEYS.includes(key)) throw bad(`${key} is unknown; there are ${KEYS.join(', ')}`);
    if (query.getAll(key).length > 1) throw bad(`${key} is given more than once`);
  }
  const clientId = query.get('client_id') ?? undefined;
  if (clientId !== undefined && !CLIENT_ID_PATTERN.test(clientId)) {
    throw bad(`client_id "${clientId.slice(0, 80)}" is not 1 to 64 of A-Z a-z 0-9 . _ -`);
  }
  return {
    pipeline: query.get('pipeline') ?? 'objects',
    model: query.get('model') ?? undefined,
    confidence: parseConfidence(query.get('confidence')),
    format: parseFormat(query.get('format')),
    clientId,
    token: query.get('token') ?? undefined,
  };
}

function parseConfidence(text: string | null): number | undefined {
  if (text === null) return undefined;
  const value = Number(text);
  if (text.trim() === '' || !(value >= 0 && value <= 1))
    throw bad(`confidence "${text.slice(0, 40)}" is not a number from 0 to 1`);
  return value;
}

function parseFormat(text: string | null): MessageFormat {
  if (text === null || text === 'json') return 'json';
  if (text === 'msgpack') return 'msgpack';
  throw bad(`format "${text.slice(0, 40)}" is not json or msgpack`);
}

function bad(what: string): SightlineError {
  return new SightlineError('QUERY_BAD', `the query's ${what}`);
}
