import { expect, test } from 'vitest';
import { z } from 'zod';
import { openApiDocument } from './openapi.ts';
import { answer, files, type Route } from './route.ts';

const INFO = { title: 't', version: '1', description: 'd', license: { name: 'x', identifier: 'x' } };
const part = z
  .object({ size: z.int().min(0).describe('pixels').meta({ applies: 'at_once', defaultText: 'none' }) })
  .meta({ id: 'Part', description: 'one part' });

const ROUTES: Route[] = [
  answer({
    method: 'PUT',
    url: '/api/things/:id/part',
    permission: { action: 'admin', resource: 'things/:id' },
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
    permission: { action: 'read', resource: 'things/:id' },
    tag: 'things',
    summary: 'a part',
    params: z.object({ id: z.string() }),
    response: z.string(),
    handle: () => 'text',
  }),
  files({
    url: '/film/:part',
    permission: { action: 'public' },
    params: z.object({ part: z.string() }),
    tag: 'files',
    summary: 'a film',
    contentType: 'video/mp4',
    file: async () => undefined,
  }),
];

test('a table becomes a document: parameters, body, answer, refusals by status', () => {
  const document = openApiDocument(ROUTES, [], { ...INFO, tags: { things: 'all of them' } });
  const { openapi, info, servers, security, tags, paths, components } = document;
  expect(openapi).toBe('3.1.1');
  expect(info).toEqual(INFO);
  expect([servers.map(({ url }) => url), security]).toEqual([['/'], [{ key: [] }, { login: [] }, {}]]);
  expect(tags).toEqual([{ name: 'things', description: 'all of them' }, { name: 'files' }]);
  expect(Object.keys(paths)).toEqual(['/api/things/{id}/part', '/film/{part}']);
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
  expect(paths['/film/{part}']!['get']).toMatchObject({
    parameters: [{ name: 'part', in: 'path', required: true }],
    responses: { 200: { content: { 'video/mp4': {} } }, 400: { description: 'QUERY_BAD' } },
  });
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
    permission: { action: 'subscribe', resource: 'things/:id' },
    tag: 'things',
    summary: 'events',
    contentType: 'text/event-stream',
    needsToken: true,
    stream: () => undefined,
  };
  const { paths, components } = openApiDocument([events, ...ROUTES], [], INFO);
  expect(paths['/events/{id}']!['get']!['security']).toEqual([{ session_token: [] }, {}]);
  expect(paths['/film/{part}']!['get']).not.toHaveProperty('security');
  expect(components.securitySchemes['session_token']).toMatchObject({ type: 'http', scheme: 'bearer' });
});

test('every operation and every WebSocket tells what it takes to use it', () => {
  const socket = {
    path: '/ws',
    summary: 'events',
    protocols: ['v1'],
    permissions: [{ action: 'publish', resource: 'things/:id' } as const],
  };
  const document = openApiDocument(ROUTES, [socket], INFO);
  const { put, get } = document.paths['/api/things/{id}/part']!;
  expect(put!['x-permission']).toEqual({ action: 'admin', resource: 'things/{id}' });
  expect(get!['x-permission']).toEqual({ action: 'read', resource: 'things/{id}' });
  expect(document.paths['/film/{part}']!['get']!['x-permission']).toEqual({ action: 'public' });
  expect(document['x-websockets']).toEqual([
    {
      path: '/ws',
      summary: 'events',
      protocols: ['v1'],
      'x-permission': [{ action: 'publish', resource: 'things/{id}' }],
    },
  ]);
});
