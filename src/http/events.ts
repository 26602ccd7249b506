import { z } from 'zod';
import { wallAheadMs, type Clock } from '../base/clock.ts';
import type { FrameOutcome } from '../base/frame.ts';
import { serveEvents } from '../delivery/sse.ts';
import { outcomeMessage } from '../protocol/outcome-message.ts';
import type { Stream } from '../stream/stream.ts';
import type { Route } from './route.ts';

/** A session's results for a client that has its token, without a WebSocket. */

export interface EventsHost {
  readonly clock: Clock;
  /** The server asks nobody for a key, so that the session's own token has to do. */
  readonly isOpen: () => boolean;
  /** Throws SESSION_UNKNOWN, SESSION_TOKEN_BAD. */
  session(
    clientId: string,
    token: { readonly needed: boolean; readonly given: string | undefined },
  ): { readonly clientId: string; outcomesOf(pipeline?: string): Stream<FrameOutcome> };
  /** For streams that begin from now on. */
  settings(): EventSettings;
}

export interface EventSettings {
  readonly heartbeatMs: number;
  /** Unsent bytes at which a reader counts as slow. */
  readonly bufferBytesMax: number;
}

export function eventRoutes(host: EventsHost): Route[] {
  const { clock, settings } = host;
  return [
    {
      kind: 'stream',
      url: '/stream/events/:client_id',
      permission: { action: 'subscribe', resource: 'sessions/:client_id' },
      tag: 'sessions',
      summary: 'a session’s results as server-sent events',
      description:
        'Needs the session’s token, in the query or as `Authorization: Bearer`; on a server that asks for a key the key alone, if it may subscribe to the session.',
      contentType: 'text/event-stream',
      needsToken: true,
      params: z.object({ client_id: z.string() }),
      query: z.strictObject({
        token: z.string().optional().describe('of the session’s `welcome`'),
        pipeline: z
          .string()
          .optional()
          .describe('in a session of several: the pipeline of the results; default: the first'),
      }),
      errors: ['QUERY_BAD', 'SESSION_UNKNOWN', 'SESSION_TOKEN_BAD', 'CONNECTIONS_EXHAUSTED'],
      stream: (request, response, params) => {
        const session = host.session(params['client_id'] ?? '', { needed: host.isOpen(), given: tokenOf(request) });
        serveEvents(request, response, {
          stream: session.outcomesOf(queryOf(request)?.get('pipeline') ?? undefined),
          ...settings(),
          toEvent: (sample) => {
            const data = outcomeMessage(sample, session.clientId, clock.now(), wallAheadMs(clock));
            return { event: data.type, data };
          },
        });
      },
    },
  ];
}

function queryOf({ url = '' }: { url?: string | undefined }): URLSearchParams | undefined {
  return URL.parse(url, 'http://localhost')?.searchParams;
}

/** From the query, since an `EventSource` cannot set headers, or from `Authorization: Bearer`. */
function tokenOf(request: {
  url?: string | undefined;
  headers: { authorization?: string | undefined };
}): string | undefined {
  const bearer = /^Bearer (\S+)$/.exec(request.headers.authorization ?? '')?.[1];
  return bearer ?? queryOf(request)?.get('token') ?? undefined;
}
