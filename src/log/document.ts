import { LOG_EVENTS, type EntryLevel } from './events.ts';
import { SECRET_WORDS } from './redact.ts';

const INTRODUCTION = `# Logging

<!-- Made by \`npm run docs\` from src/log/; changes belong there. -->

\`serve\`, \`demo\`, \`record\` and \`replay\` write their log to standard error. Results of a command, and the line \`ready <url>\`, go to
standard output and are not part of the log.

\`log.format\` is \`auto\` by default: short sentences where standard error is a terminal, and else one JSON object a line; \`text\` and
\`json\` choose one of the two. \`log.level\` (\`--log-level\`) is the lowest level that is written: \`fatal\`, \`error\`, \`warn\`, \`info\`,
\`debug\`, \`trace\`; \`silent\` writes nothing. The level can be changed while the server runs: \`PUT /api/config\` with
\`{ "settings": { "log.level": "debug" } }\`.

\`\`\`json
{"level":"warn","time":"2026-03-01T12:00:00.000Z","room":"http","event":"connections_exhausted","code":"CONNECTIONS_EXHAUSTED","connections_max":1000,"suppressed":41,"msg":"a client was refused: all 1000 connections are taken"}
\`\`\`

| field | what |
|---|---|
| \`level\` | one of the levels above |
| \`time\` | time of day, ISO 8601, UTC |
| \`room\` | the part of Sightline that writes it, see [ARCHITECTURE.md](ARCHITECTURE.md#the-rooms) |
| \`event\` | the event's name, which stays the same: the sentence may change |
| \`suppressed\` | how many more of these events were left out since the last line; absent: none |
| \`msg\` | the same as a sentence |

Further fields depend on the event. Units stand last in their names; \`code\` is one of [errors.md](errors.md).

**Rate limit**: the log has at most one line a second for each event, and the next line has the number of those that were left
out; rare events are always written. At most 1 MiB of lines waits for a reader of standard error: further ones are
dropped, and \`log_lines_dropped\` reports them.

**Secrets are left out**: a field, a parameter of a query or a JSON member whose name has one of the words
${SECRET_WORDS.join(', ')}, the value of an \`Authorization\` header, keys and tickets of this server, JSON Web Tokens, and \`user:password@\` of an address are written as \`[redacted]\`. The same holds
for error messages, for the configuration where it is shown, and for what a crash leaves. No text is longer
than 2,000 characters.

A command that fails states the reason in its last line: \`command_failed\` in JSON, else \`sightline: <message> (<CODE>)\`; this line comes with
\`log.level: silent\` too.

Inside another program (\`createSightline\`) Sightline writes nothing. The option \`log\` takes a function, which gets each entry as an object:
\`{ timeMs, level, room, event, text, fields, suppressed }\`, at the levels that \`log.level\` lets through.

## Events
`;

/** From the lightest to the heaviest. */
const LEVELS: readonly EntryLevel[] = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'];

/** `docs/logging.md`. */
export function logDocument(): string {
  const kinds = Object.entries(LOG_EVENTS).toSorted(
    ([, a], [, b]) => LEVELS.indexOf(b.level) - LEVELS.indexOf(a.level),
  );
  const rows = kinds.map(([name, { level, room, about, fields }]) => {
    const told = Object.entries(fields).map(([field, what]) => `\`${field}\`: ${String(what)}`);
    return `| \`${name}\` | ${level} | ${room} | ${about} | ${told.join('; ')} |`;
  });
  return `${INTRODUCTION}\n| event | level | room | what has happened | fields |\n|---|---|---|---|---|\n${rows.join('\n')}\n`;
}
