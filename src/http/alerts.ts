import { z } from 'zod';
import {
  alertsSchema,
  silenceRequest,
  silenceSchema,
  type AlertDocument,
  type AlertsDocument,
  type SilenceDocument,
  type SilenceRequest,
} from '../alerts/documents.ts';
import { serveEvents } from '../delivery/sse.ts';
import type { Stream } from '../stream/stream.ts';
import type { EventSettings } from './events.ts';
import { answer, type Caller, type Route } from './route.ts';

/** Alerts and their silences. */

export interface AlertsHost {
  report(): AlertsDocument;
  readonly events: Stream<AlertDocument>;
  /** Throws SILENCE_LIMIT_REACHED. */
  silence(request: SilenceRequest, author: string): SilenceDocument;
  /** Throws SILENCE_UNKNOWN. */
  unsilence(id: string, author: string): SilenceDocument;
}

export function alertRoutes(host: AlertsHost, settings: () => EventSettings): Route[] {
  return [
    answer({
      method: 'GET',
      url: '/api/alerts',
      permission: READ,
      tag: 'alerts',
      summary: 'alerts that are pending or firing, silences, and what has been of late',
      query: z.strictObject({
        history: z.coerce.number().int().min(0).max(200).default(200).describe('most changes in `history`'),
      }),
      response: alertsSchema,
      handle: ({ query }) => {
        const report = host.report();
        return { ...report, history: report.history.slice(0, query.history) };
      },
    }),
    {
      kind: 'stream',
      url: '/api/alerts/events',
      permission: READ,
      tag: 'alerts',
      summary: 'changes of alerts as server-sent events',
      description:
        'One event `alert` for each change: warning, critical, resolved. `Last-Event-ID` resumes; `gap` events tell of those that are not kept any more.',
      contentType: 'text/event-stream',
      errors: ['QUERY_BAD', 'CONNECTIONS_EXHAUSTED'],
      stream: (request, response) =>
        serveEvents(request, response, {
          stream: host.events,
          ...settings(),
          toEvent: ({ data }) => ({ event: 'alert', data }),
        }),
    },
    answer({
      method: 'POST',
      url: '/api/alerts/silences',
      permission: { action: 'admin', resource: 'alerts/silences' },
      tag: 'alerts',
      summary: 'tell nobody of some alerts for a while',
      description:
        'The alerts stay in `GET /api/alerts`. One that is still firing when its silence ends is told then; the end of one that was told before is told all the same.',
      body: silenceRequest,
      example: { match: { rule: 'latency', class: 'low' }, duration_s: 3600, comment: 'the camera is being moved' },
      errors: ['SILENCE_LIMIT_REACHED'],
      response: silenceSchema,
      handle: ({ body, caller }) => host.silence(body, authorOf(caller)),
    }),
    answer({
      method: 'DELETE',
      url: '/api/alerts/silences/:id',
      permission: { action: 'admin', resource: 'alerts/silences/:id' },
      tag: 'alerts',
      summary: 'end a silence',
      params: z.object({ id: z.string().describe('`id` of a silence') }),
      errors: ['SILENCE_UNKNOWN'],
      response: silenceSchema,
      handle: ({ params, caller }) => host.unsilence(params.id, authorOf(caller)),
    }),
  ];
}

const READ = { action: 'read', resource: 'alerts' } as const;

/** Whoever may do it has a name. */
function authorOf({ principal }: Caller): string {
  return principal?.name ?? 'nobody';
}
