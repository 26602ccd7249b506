import { writeFileSync } from 'node:fs';
import { configDocument } from '../../src/config/document.ts';
import { logDocument } from '../../src/log/document.ts';

/** `npm run docs`: writes the pages that are made from the code. */
writeFileSync(new URL('../../docs/configuration.md', import.meta.url), configDocument());
writeFileSync(new URL('../../docs/logging.md', import.meta.url), logDocument());
