import { z } from 'zod';
import { TICKET_MS, TICKET_OUTCOMES, type TicketOutcome, type Tickets } from '../auth/tickets.ts';
import { part, type Part } from '../observe/figures.ts';
import { behindBase } from './base-path.ts';
import { answer, type Route } from './route.ts';

/** Tickets for browsers: `auth/tickets.ts` tells what they are for. */

const PATH_CHARS_MAX = 256;

const ticketSchema = z
  .object({
    ticket: z.string().describe('goes as `ticket` into the query of the address'),
    expires_in_s: z.number(),
  })
  .meta({ id: 'Ticket', description: 'stands for the credential by which it was asked for' });

export function ticketRoutes(tickets: Tickets, basePath = ''): Route[] {
  return [
    answer({
      method: 'POST',
      url: '/api/tickets',
      permission: { action: 'known' },
      tag: 'access',
      summary: 'a ticket for an address, for a page that cannot send the key there',
      description:
        'It lets in whoever has it to read at this one address, with the permissions of the caller, for a minute: a WebSocket once, anything else as often as it takes. What it has opened lives as long as the credential of the caller.',
      body: z.strictObject({
        path: z
          .string()
          .max(PATH_CHARS_MAX)
          .regex(/^\/[^?#\s]*$/, 'is no path such as /ws/video')
          .describe('the address, without host and query; with `server.base_path` or without'),
      }),
      example: { path: '/ws/telemetry' },
      response: ticketSchema,
      handle: ({ body, caller }) => {
        caller.setHeader('Cache-Control', 'no-store');
        return {
          ticket: tickets.issue(caller.principal!, behindBase(basePath, body.path) ?? body.path),
          expires_in_s: TICKET_MS / 1000,
        };
      },
    }),
  ];
}

export function ticketFigures(tickets: Tickets): Part<Readonly<Record<TicketOutcome, number>>> {
  return part(
    () => tickets.counts,
    [
      {
        name: 'sightline_tickets_total',
        kind: 'counter',
        help: 'Tickets by what came of them; one that is used several times counts as often',
        labels: ['outcome'],
        read: (counts) => TICKET_OUTCOMES.map((outcome) => [[outcome], counts[outcome]] as const),
      },
    ],
  );
}
