import { writeFileSync } from 'node:fs';
import { configDocument } from '../../src/config/document.ts';
import { logDocument } from '../../src/log/document.ts';
import { loadConfig } from '../../src/config/load.ts';
import { figuresDocument } from '../../src/observe/exposition.ts';
import { Sightline } from '../../src/app.ts';

/** `npm run docs`: writes the pages that are made from the code. */
writeFileSync(new URL('../../docs/configuration.md', import.meta.url), configDocument());
writeFileSync(new URL('../../docs/logging.md', import.meta.url), logDocument());
{
  // A server that is never started knows its figures.
  await using app = new Sightline({ config: loadConfig({ env: {} }), listens: false });
  writeFileSync(new URL('../../docs/metrics.md', import.meta.url), figuresDocument(app.figures.all));
}
