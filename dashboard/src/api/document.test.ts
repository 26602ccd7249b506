import { expect, test } from 'vitest';
import { addressOf, operationsOf, type ApiDocument } from './document.ts';

const DOCUMENT: ApiDocument = {
  info: { title: 't', version: '1', description: '' },
  paths: {
    '/things/{id}': {
      put: {
        tags: ['b'],
        summary: 'change it',
        parameters: [
          { name: 'id', in: 'path', required: true, schema: { type: 'string' } },
          { name: 'word', in: 'query', schema: { type: 'string' } },
        ],
        requestBody: { content: { 'application/json': { schema: { type: 'object' }, example: { size: 1 } } } },
        responses: {
          200: {
            description: 'done',
            content: { 'application/json': { schema: { $ref: '#/components/schemas/Thing' } } },
          },
          404: { description: 'NOT_FOUND' },
        },
      },
    },
  },
  components: {
    schemas: {
      Thing: { type: 'object', properties: { part: { $ref: '#/components/schemas/Part' } } },
      Part: { type: 'number' },
    },
  },
};

test('an operation with its schemas, its body to begin with and its refusals', () => {
  expect(operationsOf(DOCUMENT)).toEqual([
    {
      tag: 'b',
      method: 'PUT',
      path: '/things/{id}',
      summary: 'change it',
      description: '',
      parameters: DOCUMENT.paths['/things/{id}']!['put']!.parameters,
      body: '{\n  "size": 1\n}',
      bodySchema: { type: 'object' },
      answerSchema: { type: 'object', properties: { part: { type: 'number' } } },
      answerType: 'application/json',
      refusals: [{ status: '404', codes: 'NOT_FOUND' }],
    },
  ]);
});

test.each([
  [{ id: 'a' }, '/things/a'],
  [{ id: 'a/b?c', word: 'x y' }, '/things/a%2Fb%3Fc?word=x+y'],
  [{ id: 'a', word: '' }, '/things/a'],
])('%o is called at %s', (values, address) => {
  expect(addressOf(operationsOf(DOCUMENT)[0]!, values as Record<string, string>)).toBe(address);
});
