import { expect, test } from 'vitest';
import { mediaFault } from './publisher.ts';

test.each([
  ['NotAllowedError', '', /not allowed/],
  ['NotFoundError', '', /no camera/],
  ['NotReadableError', '', /another program/],
  ['InsecurePageError', '', /https/],
  ['AbortError', 'it went away', /it went away/],
])('%s is told in plain words', (name, message, text) =>
  expect(mediaFault(new DOMException(message, name))).toMatch(text),
);
