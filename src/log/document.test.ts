import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { logDocument } from './document.ts';

test('docs/logging.md is what the catalogue says; "npm run docs" writes it', () => {
  expect(readFileSync(new URL('../../docs/logging.md', import.meta.url), 'utf8')).toBe(logDocument());
});
