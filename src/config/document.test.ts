import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { configDocument, configTemplate } from './document.ts';
import { loadConfig } from './load.ts';
import { CONFIG_KEYS, ENTRY_SECTIONS } from './keys.ts';

describe('docs/configuration.md', () => {
  test('is what `npm run docs` makes', () => {
    const page = readFileSync(new URL('../../docs/configuration.md', import.meta.url), 'utf8');
    expect(page).toBe(configDocument());
  });

  test('tells every key, with a meaning', () => {
    const page = configDocument();
    for (const key of CONFIG_KEYS.values()) {
      expect(page).toContain(`| \`${key.path}\` |`);
      expect(key.description.length, key.path).toBeGreaterThan(10);
    }
    for (const key of ENTRY_SECTIONS.get('cameras')!.keys.values()) {
      expect(page).toContain(`| \`${key.path}\` |`);
      expect(configTemplate()).toContain(`##   ${key.name}:`);
    }
  });
});

test('the example on the page is a configuration', () => {
  const [, example] = /```yaml\n([^]*?)```/.exec(configDocument())!;
  const folder = mkdtempSync(join(tmpdir(), 'sightline-example-'));
  try {
    const file = join(folder, 'sightline.yaml');
    writeFileSync(file, example!);
    expect(loadConfig({ file })).toMatchObject({
      server: { port: 9000 },
      video: { width: 480 },
      cameras: { 'north-gate': { class: 'high' } },
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
});

describe('the template', () => {
  test('changes nothing as it is, and states the defaults when every "# " is taken away', () => {
    const folder = mkdtempSync(join(tmpdir(), 'sightline-template-'));
    try {
      const file = join(folder, 'sightline.yaml');
      writeFileSync(file, configTemplate());
      expect(loadConfig({ file })).toEqual(loadConfig());
      // Places that hang on the machine have no value to state.
      writeFileSync(file, configTemplate().replaceAll(/^ {2}# (?!cache_dir|keys_file|file| *folder)/gm, '  '));
      expect(loadConfig({ file })).toEqual(loadConfig());
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
