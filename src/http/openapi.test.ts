import { expect, test } from 'vitest';
import { z } from 'zod';
import { openApiDocument } from './openapi.ts';
import { answer, type Route } from './route.ts';

const INFO = { title: 't', version: '1', description: 'd', license: { name: 'x', identifier: 'x' } };
const part = z
  .object({ size: z.int().min(0).describe('pixels').meta({ applies: 'at_once', defaultText: 'none' }) })
  .meta({ id: 'Part', description: 'one part' });

const ROUTES: Route[] = [
  answer({
    method: 'PUT',
    url: '/api/things/:id/part',
    tag: 'things',
    summary: 'change a part',
    params: z.object({ id: z.string().describe('its name') }),
    query: z.strictObject({ force: z.enum(['yes', 'no']).optional() }),
    body: z.strictObject({ size: z.int().default(3) }),
    example: { size: 4 },
    errors: ['SESSION_UNKNOWN'],
    response: z.object({ part, others: z.array(part) }).meta({ id: 'Thing' }),
    handle: () => ({ part: { size: 1 }, others: [] }),
  }),
  answer({
    method: 'GET',
    url: '/api/things/:id/part',
    tag: 'things',
    summary: 'a part',
    params: z.object({ id: z.string() }),
    response: z.string(),
    handle: () => 'text',
  }),
  {
    kind: 'file',
    url: '/film',
    tag: 'files',
    summary: 'a film',
    contentType: 'video/mp4',
    file: async () => undefined,
  },
];

test('a table becomes a document: parameters, body, answer, refusals by status', () => {
  const document = openApiDocument(ROUTES, { ...INFO, tags: { things: 'all of them' } });
  const { openapi, info, servers, security, tags, paths, components } = document;
  expect(openapi).toBe('3.1.1');
  expect(info).toEqual(INFO);
  expect([servers.map(({ url }) => url), security]).toEqual([['/'], []]);
  expect(tags).toEqual([{ name: 'things', description: 'all of them' }, { name: 'files' }]);
  expect(Object.keys(paths)).toEqual(['/api/things/{id}/part', '/film']);
  const { put, get } = paths['/api/things/{id}/part']!;
  expect(put).toMatchObject({
    operationId: 'put_api_things_id_part',
    parameters: [
      { name: 'id', in: 'path', required: true, description: 'its name', schema: { type: 'string' } },
      { name: 'force', in: 'query', required: false, schema: { enum: ['yes', 'no'] } },
    ],
    requestBody: {
      required: true,
      content: {
        'application/json': {
          // A key more is refused; one with a default may be left out.
          schema: { additionalProperties: false, properties: { size: { default: 3, type: 'integer' } } },
          example: { size: 4 },
        },
      },
    },
    responses: {
      200: { content: { 'application/json': { schema: { $ref: '#/components/schemas/Thing' } } } },
      400: { description: 'QUERY_BAD, BODY_BAD' },
      404: { description: 'SESSION_UNKNOWN' },
      413: { description: 'BODY_TOO_LARGE' },
      415: { description: 'BODY_TYPE_BAD' },
    },
  });
  expect(get).toMatchObject({ responses: { 200: { content: { 'text/plain': { schema: { type: 'string' } } } } } });
  expect(paths['/film']!['get']).toMatchObject({ responses: { 200: { content: { 'video/mp4': {} } } } });
  expect(Object.keys(components.schemas).toSorted()).toEqual(['Error', 'Part', 'Thing']);
  // A later version may tell more.
  expect(JSON.stringify(components)).not.toContain('additionalProperties');
  // What the program notes at a schema is no keyword of the document.
  expect(components.schemas['Part']).toEqual({
    type: 'object',
    description: 'one part',
    properties: { size: { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER, description: 'pixels' } },
    required: ['size'],
  });
  expect(components.schemas['Thing']).toMatchObject({
    required: ['part', 'others'],
    properties: { others: { items: { $ref: '#/components/schemas/Part' } } },
  });
});

test('a stream that heeds a token says which one, and that it may come in the query too', () => {
  const events: Route = {
    kind: 'stream',
    url: '/events/:id',
    tag: 'things',
    summary: 'events',
    contentType: 'text/event-stream',
    needsToken: true,
    stream: () => undefined,
  };
  const { paths, components } = openApiDocument([events, ...ROUTES], INFO);
  expect(paths['/events/{id}']!['get']!['security']).toEqual([{ session_token: [] }, {}]);
  expect(paths['/film']!['get']).not.toHaveProperty('security');
  expect(components.securitySchemes['session_token']).toMatchObject({ type: 'http', scheme: 'bearer' });
});
