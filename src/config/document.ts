import { stringify } from 'yaml';
import { CONFIG_KEYS, CONFIG_ROOT } from './keys.ts';
import type { ConfigKey, ConfigNode, EntriesNode, SectionNode } from './keys.ts';
import type { Applies } from './schema.ts';
import { STRATEGIES, type ConfigLayer } from './strategies.ts';

const LINE_CHARS_MAX = 120;

const INTRODUCTION = `# Configuration

<!-- Made by \`npm run docs\` from src/config/schema.ts; changes belong there. -->

Every setting has a name of several parts, most often two: \`section.key\`. You can set it in three ways; the later beats the earlier:

1. a YAML file: \`sightline --config sightline.yaml serve\`
2. the environment: \`SIGHTLINE_SECTION__KEY\`, such as \`SIGHTLINE_SERVER__PORT=9000\`; two underscores stand between two parts, and
   lists are separated by commas
3. flags: \`--set streaming.max_fps=20\`, or the flag that a command has for it (\`--port\`)

The defaults, then the strategy, then the profile come before them. [\`PUT /api/config\`](api.md#configuration) in a running server
beats them all: the column *changes* says when its change takes effect; a dash: only a start reads the key.

\`sightline config show\` prints every value in force and its origin (\`--url\`: of a running server), secrets as \`[redacted]\`,
\`sightline config generate\` prints a file to begin with, \`sightline config check <file>\` finds its mistakes. Sightline refuses by name
a key that does not exist, a value outside of its range and values that contradict each other, with the exit code 78. It does not
read a file of more than 256 KiB.

\`\`\`yaml
server:
  port: 9000
streaming:
  max_fps: 20
detection:
  model: yolox-nano
performance:
  profile: night
profiles:
  night:
    streaming: { max_fps: 10, default_fps: 10 }
    video: { width: 480, height: 360 }
cameras:
  north-gate:
    url: rtsp://10.0.0.7/live
    class: high
\`\`\`

## Named entries

Some sections, [\`profiles\`](#profiles) and [\`cameras\`](#cameras), hold entries that you name yourself: 1 to 64 characters out of \`a-z\`, \`0-9\`,
\`.\`, \`_\` and \`-\`, of which the first is a letter or a digit, without two dots in a row, and neither \`none\` nor \`constructor\`. A key of an entry has the name of
the entry in its path: \`profiles.night.streaming.max_fps\`, in the environment \`SIGHTLINE_PROFILES__NIGHT__STREAMING__MAX_FPS\` (so a name with
two underscores in a row cannot be set there), as a flag \`--set profiles.night.streaming.max_fps=10\`. File, environment and flags may each set some keys of
the same entry. In a running server [\`PUT\` and \`DELETE /api/config/{section}/{name}\`](api.md#named-entries) set an entry as a whole, or
remove it, at once.
`;

/** `docs/configuration.md`. */
export function configDocument(): string {
  const sections = [...CONFIG_ROOT.children].map(([name, node]) => sectionDocument(name, node));
  const strategies = `## Strategies\n\n\`performance.strategy\` names one.\n\n${layerTable(STRATEGIES)}`;
  return [INTRODUCTION, ...sections, strategies].join('\n');
}

function sectionDocument(name: string, node: ConfigNode): string {
  if (node.kind === 'entries') return entriesDocument(node);
  const { description } = node as SectionNode;
  return `## ${name}\n\n${description}\n\n| key | default | allowed | changes | what |\n|---|---|---|---|---|\n${keysOf(name).map(row).join('\n')}\n`;
}

function entriesDocument({ path, description, entriesMax, defaultValue, keys }: EntriesNode): string {
  const about = `## ${path}\n\n${description} At most ${entriesMax} of them.`;
  if (Object.keys(defaultValue).length === 0) {
    return `${about} Changes are in force at once.\n\n| key | default | allowed | what |\n|---|---|---|---|\n${[...keys.values()].map(entryRow).join('\n')}\n`;
  }
  const layers = Object.entries(defaultValue).map(([name, entry]) => [name, layerOf(entry)] as const);
  return `${about} Built in are:\n\n${layerTable(Object.fromEntries(layers))}`;
}

/** `*` stands for the name of an entry. */
function entryRow(key: ConfigKey): string {
  const isNeeded = key.defaultValue === undefined && !key.optional;
  return `| \`${key.path}\` | ${isNeeded ? 'needed' : defaultInWords(key)} | ${key.allowed} | ${key.description.replaceAll('|', '\\|')} |`;
}

/** By dotted key. */
function layerOf(value: unknown, steps: readonly string[] = []): ConfigLayer {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return { [steps.join('.')]: value };
  return Object.assign({}, ...Object.entries(value).map(([name, inner]) => layerOf(inner, [...steps, name])));
}

const CHANGES: Readonly<Record<Applies, string>> = { at_once: 'at once', new_sessions: 'new sessions', restart: '–' };

function keysOf(section: string): ConfigKey[] {
  return [...CONFIG_KEYS.values()].filter(({ steps }) => steps[0] === section);
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
 * A configuration file to begin with. Every value is commented out, since a value that is set, even to its default, beats the
 * strategy and the profile.
 */
export function configTemplate(): string {
  const lines = [
    '# Configuration of Sightline. Remove the "#" in front of the lines that you change.',
    '# Every value is the default; see docs/configuration.md.',
  ];
  for (const [section, node] of CONFIG_ROOT.children) {
    if (node.kind === 'key') continue;
    lines.push('', ...comment(node.description, ''), `${section}:`);
    lines.push(...(node.kind === 'entries' ? entriesTemplate(node) : sectionTemplate(node, '')));
  }
  return `${lines.join('\n')}\n`;
}

/** `inner`: how far the section is within that of the file. */
function sectionTemplate({ children }: SectionNode, inner: string): string[] {
  const lines: string[] = [];
  for (const [name, node] of children) {
    if (node.kind === 'entries') continue;
    lines.push('', ...comment(node.kind === 'key' ? aboutKey(node.key) : node.description, '  '));
    if (node.kind === 'key') lines.push(`  # ${inner}${templateSetting(node.key)}`);
    else lines.push(`  # ${inner}${name}:`, ...sectionTemplate(node, `${inner}  `));
  }
  return lines;
}

function aboutKey({ description, allowed }: ConfigKey): string {
  return `${description} (${allowed})`;
}

/** Those that are there by default; where there are none, what one looks like. */
function entriesTemplate({ defaultValue, keys }: EntriesNode): string[] {
  if (Object.keys(defaultValue).length === 0) {
    const lines = [...keys.values()].flatMap((key) =>
      comment(aboutKey(key), '  ').concat(`  ##   ${templateSetting(key)}`),
    );
    return ['', '  ## name:', ...lines];
  }
  return Object.entries(defaultValue).flatMap(([name, entry]) => {
    const lines = stringify({ [name]: entry })
      .trimEnd()
      .split('\n');
    return ['', lines.map((line) => `  # ${line}`)].flat();
  });
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
