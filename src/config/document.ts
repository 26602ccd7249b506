import { stringify } from 'yaml';
import { PROFILES } from './profiles.ts';
import type { ConfigLayer } from './profiles.ts';
import { CONFIG_KEYS, configSchema } from './schema.ts';
import type { Applies, ConfigKey } from './schema.ts';
import { STRATEGIES } from './strategies.ts';

const LINE_CHARS_MAX = 120;

const INTRODUCTION = `# Configuration

<!-- Made by \`npm run docs\` from src/config/schema.ts; changes belong there. -->

Every setting has a name of two parts, \`section.key\`. It can be given in three ways; the later beats the earlier:

1. a YAML file: \`sightline --config sightline.yaml serve\`
2. the environment: \`SIGHTLINE_SECTION__KEY\`, such as \`SIGHTLINE_SERVER__PORT=9000\`; lists are separated by commas
3. flags: \`--set streaming.max_fps=20\`, or the flag that a command has for it (\`--port\`)

Beneath them lie the defaults, then the strategy, then the profile. Above them lies what is set in a running server with
[\`PUT /api/config\`](api.md#configuration): the column *changes* tells when that takes effect; a dash: only a start reads
the key.

\`sightline config show\` tells every value in force and where it comes from (\`--url\`: of a running server),
\`sightline config generate\` prints a file to begin with, \`sightline config check <file>\` finds its mistakes. A key that does
not exist, a value outside of its range and values that contradict each other are refused by name, with the exit code 78. A
file of more than 256 KiB is not read.

\`\`\`yaml
server:
  port: 9000
streaming:
  max_fps: 20
detection:
  model: yolox-nano
\`\`\`
`;

/** `docs/configuration.md`. */
export function configDocument(): string {
  const sections = Object.entries(configSchema.shape).map(
    ([section, schema]) =>
      `## ${section}\n\n${schema.description ?? ''}\n\n| key | default | allowed | changes | what |\n|---|---|---|---|---|\n${keysOf(section).map(row).join('\n')}\n`,
  );
  const strategies = `## Strategies\n\n\`performance.strategy\` names one.\n\n${layerTable(STRATEGIES)}`;
  const profiles = `## Profiles\n\n\`performance.profile\` names one; it beats the strategy.\n\n${layerTable(PROFILES)}`;
  return [INTRODUCTION, ...sections, strategies, profiles].join('\n');
}

const CHANGES: Readonly<Record<Applies, string>> = { at_once: 'at once', new_sessions: 'new sessions', restart: '–' };

function keysOf(section: string): ConfigKey[] {
  return [...CONFIG_KEYS.values()].filter((key) => key.section === section);
}

function row(key: ConfigKey): string {
  return `| \`${key.path}\` | ${defaultInWords(key)} | ${key.allowed} | ${CHANGES[key.applies]} | ${key.description.replaceAll('|', '\\|')} |`;
}

function defaultInWords(key: ConfigKey): string {
  if (key.defaultText !== undefined) return key.defaultText;
  return key.defaultValue === undefined ? 'not set' : `\`${inline(key.defaultValue)}\``;
}

function layerTable(layers: Readonly<Record<string, ConfigLayer>>): string {
  const rows = Object.entries(layers).map(([name, layer]) => {
    const settings = Object.entries(layer).map(([path, value]) => `\`${path}: ${inline(value)}\``);
    return `| \`${name}\` | ${settings.join(', ') || 'the defaults as they are'} |`;
  });
  return `| name | sets |\n|---|---|\n${rows.join('\n')}\n`;
}

/**
 * A configuration file to begin with. Every value stands in a comment: a value that is set, be it to its default, would beat the
 * strategy and the profile.
 */
export function configTemplate(): string {
  const lines = [
    '# Configuration of Sightline. Take away the "#" in front of what you change.',
    '# Every value is the default; docs/configuration.md tells more.',
  ];
  for (const [section, schema] of Object.entries(configSchema.shape)) {
    lines.push('', ...comment(schema.description ?? '', ''), `${section}:`);
    for (const key of keysOf(section)) {
      lines.push('', ...comment(`${key.description} (${key.allowed})`, '  '), `  # ${templateSetting(key)}`);
    }
  }
  return `${lines.join('\n')}\n`;
}

function templateSetting(key: ConfigKey): string {
  return key.defaultValue === undefined ? `${key.name}:` : `${key.name}: ${inline(key.defaultValue)}`;
}

function comment(text: string, indent: string): string[] {
  const lines: string[] = [];
  let line = `${indent}##`;
  for (const word of text.split(' ')) {
    if (line.length + 1 + word.length > LINE_CHARS_MAX) {
      lines.push(line);
      line = `${indent}##`;
    }
    line += ` ${word}`;
  }
  return [...lines, line];
}

function inline(value: unknown): string {
  return stringify(value, { collectionStyle: 'flow', lineWidth: 0 }).trimEnd();
}
