import { readFile, stat, writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Option, type Command } from 'commander';
import { isErrorCode } from '../base/error-catalogue.ts';
import { SightlineError } from '../base/errors.ts';
import { exitCodeOf } from '../base/exit-codes.ts';
import { readCameraUrl } from '../config/camera-urls.ts';
import { ENTRY_SECTIONS, nameFault } from '../config/keys.ts';
import { redactAddress } from '../log/redact.ts';
import type { CliContext } from './context.ts';
import { serverUrl } from './monitor.ts';
import { TOKEN_OPTION, tokenOf } from './options.ts';
import { askJson, entranceOf, ownUrl, type Asking } from './server-documents.ts';
import { clean, countText, fit, inColumns, plural, rateText, spanText } from './text.ts';

const HELP = `
They are commands for a running server, which keeps what they change across its restarts. Cameras can also stand in its configuration (section
cameras), or on its command line: sightline serve --camera URL.

A file of cameras is a table (CSV) whose first line has the names of the columns: id and url, and, as you like, enabled, transport, class, pipelines,
model, max_fps, masks, record, record_labels, loop and pace. All of its cameras are taken, or none.

Examples:
  sightline cameras test rtsp://user:password@10.0.0.7/live
  sightline cameras add north-gate rtsp://user:password@10.0.0.7/live --class high
  sightline cameras add --file cameras.csv
  sightline cameras list --state failed,stalled,backing_off
  sightline cameras show north-gate
  sightline cameras remove north-gate
`;

/** Columns of a terminal that a table takes at most. */
const COLUMNS = 80;
const ID_COLUMNS_MAX = 20;
/** The last column has at least so many. */
const LAST_COLUMNS_MIN = 16;
/** An address is opened, and looked at for some seconds. */
const TEST_TIMEOUT_MS = 60_000;
const FILE_BYTES_MAX = 1_048_576;
const PAGE_MAX = 1_000;
/** A server that goes on and on telling of further pages is none of ours. */
const PAGES_MAX = 100;
const SECTION = ENTRY_SECTIONS.get('cameras')!;

interface ServerFlags {
  readonly url?: URL;
  readonly token?: string;
  readonly json?: boolean;
}

interface AddFlags extends ServerFlags {
  readonly file?: string;
  readonly class?: string;
  readonly pipeline?: readonly string[];
  readonly transport?: string;
  readonly model?: string;
  readonly maxFps?: number;
  readonly mask?: readonly string[];
  readonly pace?: string;
  readonly record?: string;
  readonly once?: boolean;
  readonly off?: boolean;
}

/** A camera as far as it is told: the server may be older or newer than this command. */
interface SeenCamera {
  readonly id?: unknown;
  readonly url?: unknown;
  readonly class?: unknown;
  readonly pipelines?: unknown;
  readonly state?: unknown;
  readonly since?: unknown;
  readonly until?: unknown;
  readonly reason?: { readonly code?: unknown; readonly message?: unknown } | null;
  readonly picture?: { readonly condition?: unknown };
  readonly stream?: Readonly<Record<string, unknown>> | null;
  readonly decoding?: { readonly by?: unknown; readonly reason?: unknown } | null;
  readonly rates?: Readonly<Record<string, unknown>>;
  readonly frames?: Readonly<Record<string, unknown>>;
  readonly connections?: unknown;
  readonly viewers?: unknown;
  readonly settings?: {
    readonly model?: unknown;
    readonly transport?: unknown;
    readonly masks?: unknown;
    readonly record?: unknown;
  };
}

/** `sightline cameras`: the cameras that a running server reads. */
export function registerCameras(program: Command, context: CliContext): void {
  const cameras = program
    .command('cameras')
    .description('list, add, test and remove the cameras that a running server reads')
    .addHelpText('after', HELP);

  toServer(cameras.command('list'))
    .description('list the cameras: state, since when, frames a second, what is wrong')
    .option('--state <states>', 'those in one of these states, such as failed,stalled')
    .option('--text <text>', 'those with this text in their id or address')
    .action(async ({ state, text, ...flags }: ServerFlags & { state?: string; text?: string }) => {
      const all = await listAll(context, flags, { state, text });
      if (flags.json) return context.out(JSON.stringify(all));
      if (all.length === 0) return context.err('there is no such camera: sightline cameras add ID URL adds one');
      for (const line of listLines(all, Date.now())) context.text(line);
      const live = all.filter((camera) => camera.state === 'live').length;
      context.err(`${live} of ${plural(all.length, 'camera')} live`);
    });

  toServer(cameras.command('show'))
    .argument('<id>', 'its id')
    .description('tell everything about one camera')
    .action(async (id: string, flags: ServerFlags) => {
      const camera = (await ask(context, flags, pathOf(id))) as SeenCamera;
      if (flags.json) return context.out(JSON.stringify(camera));
      for (const line of showLines(camera, Date.now())) context.text(line);
    });

  toServer(cameras.command('add'))
    .argument('[id]', 'how it is to be called: small letters, digits, and . _ - between them')
    .argument('[address]', 'rtsp://…, http://…, rtmp://…, a file or a device, as the server sees it')
    .description('add cameras, or change those that there are')
    .option('--file <csv>', 'many at once, out of a table')
    .addOption(
      new Option('--class <class>', 'which keep their rate when the engine is busy').choices([
        'critical',
        'high',
        'normal',
        'low',
      ]),
    )
    .option('--pipeline <names>', 'what is looked for: objects, hands, or none; may be repeated', addNames)
    .addOption(new Option('--transport <way>', 'how RTSP carries frames').choices(['tcp', 'udp']))
    .option('--model <id>', 'its model for objects')
    .option('--max-fps <n>', 'pictures a second that are looked at, at most', toNumber)
    .option(
      '--mask <points>',
      'a part that is black: 0.1,0.1 0.4,0.1 0.4,0.5, as fractions of the picture; may be repeated; none takes all away',
      (points: string, before: readonly string[] = []) => [...before, points],
    )
    .addOption(new Option('--pace <pace>', 'of a file').choices(['live', 'fast']))
    .addOption(new Option('--record <mode>', 'its own frames on the disk').choices(['off', 'continuous', 'events']))
    .option('--once', 'a file is played once, and not over and over')
    .option('--off', 'it is in the list, and is not read')
    .action(async (id: string | undefined, address: string | undefined, flags: AddFlags) => {
      if (flags.file !== undefined) {
        const given = Object.keys(flags).find((name) => !['file', 'url', 'token', 'json'].includes(name));
        if (id !== undefined) throw usage('--file has the cameras in it: leave out the id and the address');
        if (given !== undefined) throw usage(`--file has a column for that: leave out --${given}`);
        return await addFile(context, flags, flags.file);
      }
      if (id === undefined || address === undefined) {
        throw usage('it takes an id and an address, or --file: sightline cameras add north-gate rtsp://10.0.0.7/live');
      }
      await addOne(context, flags, { id, address });
    });

  toServer(cameras.command('test'))
    .argument('<address>', 'as for add')
    .description('have the server open an address, and say what is there, or why nothing is')
    .addOption(new Option('--transport <way>', 'how RTSP carries frames').choices(['tcp', 'udp']))
    .option('--still <file>', 'write what it shows into this file (JPEG)')
    .action(
      async (address: string, flags: ServerFlags & { transport?: string; still?: string }) =>
        await test(context, flags, address),
    );

  toServer(cameras.command('remove'))
    .argument('<id>', 'its id')
    .description('remove a camera')
    .action(async (id: string, flags: ServerFlags) => {
      const answer = (await ask(context, flags, pathOf(id), { method: 'DELETE' })) as { kept?: unknown };
      if (flags.json) return context.out(JSON.stringify(answer));
      context.out(`${id} is removed`);
      tellKept(context, answer);
    });
}

/** Errors: USAGE. */
function toNumber(text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && Number.isFinite(value)) return value;
  throw usage(`${JSON.stringify(text)} is no number`);
}

function toServer(command: Command): Command {
  return command
    .option('--url <url>', "the server (default: the configuration's host and port)", serverUrl)
    .option(...TOKEN_OPTION)
    .option('--json', 'print JSON');
}

/** Errors: those of `askJson`. */
async function ask(
  context: CliContext,
  flags: ServerFlags,
  path: string,
  asking: Partial<Asking> = {},
): Promise<Readonly<Record<string, unknown>>> {
  const { url, headers } = entranceOf(flags.url ?? ownUrl(context.config().server), tokenOf(flags, context));
  const answer = await askJson(new URL(path, url), { signal: context.signal, headers, ...asking });
  if (typeof answer === 'object' && answer !== null) return answer as Record<string, unknown>;
  throw new SightlineError('CONNECTION_FAILED', `${url.href}: the answer is not from a Sightline server`);
}

/** Throws USAGE for what no camera can be called, which might lead elsewhere in a path. */
function pathOf(id: string): string {
  const fault = nameFault(SECTION, id);
  if (fault !== undefined)
    throw usage(`no camera is called ${JSON.stringify(redactAddress(id).slice(0, 80))}: ${fault}`);
  return `api/cameras/${id}`;
}

async function listAll(
  context: CliContext,
  flags: ServerFlags,
  filters: Readonly<Record<string, string | undefined>>,
): Promise<SeenCamera[]> {
  const query = new URLSearchParams({ limit: String(PAGE_MAX) });
  for (const [name, value] of Object.entries(filters)) if (value !== undefined) query.set(name, value);
  const all: SeenCamera[] = [];
  for (let page = 0; page < PAGES_MAX; page++) {
    const answer = await ask(context, flags, `api/cameras?${query}`);
    if (!Array.isArray(answer['cameras'])) {
      throw new SightlineError('CONNECTION_FAILED', 'the server is none of Sightline, or one without cameras');
    }
    all.push(...(answer['cameras'] as SeenCamera[]));
    if (typeof answer['next'] !== 'string') break;
    query.set('after', answer['next']);
  }
  return all;
}

async function addOne(
  context: CliContext,
  flags: AddFlags,
  { id, address }: { readonly id: string; readonly address: string },
): Promise<void> {
  const path = pathOf(id);
  const { class: class_, transport, model, maxFps, mask, pace, pipeline, record, off, once } = flags;
  const settings = {
    url: addressOf(address),
    ...(class_ !== undefined && { class: class_ }),
    ...(transport !== undefined && { transport }),
    ...(model !== undefined && { model }),
    ...(maxFps !== undefined && { max_fps: maxFps }),
    ...(mask !== undefined && { masks: mask.filter((points) => points !== 'none') }),
    ...(pace !== undefined && { pace }),
    ...(record !== undefined && { record }),
    ...(pipeline !== undefined && { pipelines: pipeline.filter((name) => name !== 'none') }),
    ...(once && { loop: false }),
    ...(off && { enabled: false }),
  };
  const answer = await ask(context, flags, path, { method: 'PUT', body: jsonBody(settings) });
  if (flags.json) return context.out(JSON.stringify(answer));
  const change = answer['change'] === 'unchanged' ? 'as it was' : clean(String(answer['change']));
  context.out(`${id} is ${change}`);
  tellKept(context, answer);
}

async function addFile(context: CliContext, flags: ServerFlags, name: string): Promise<void> {
  const text = await readTable(resolve(context.cwd, name));
  const type = /\.json$/i.test(name) ? 'application/json' : 'text/csv';
  const answer = await ask(context, flags, 'api/cameras', { method: 'POST', body: { type, text } });
  if (flags.json) return context.out(JSON.stringify(answer));
  const count = (key: string): number => (Array.isArray(answer[key]) ? answer[key].length : 0);
  context.out(
    `${plural(count('added'), 'camera')} added, ${count('changed')} changed, ${count('unchanged')} as before`,
  );
  tellKept(context, answer);
}

/** Errors: SOURCE_NOT_FOUND, SOURCE_UNREADABLE. */
async function readTable(path: string): Promise<string> {
  try {
    const { size } = await stat(path);
    if (size > FILE_BYTES_MAX) {
      throw new SightlineError('SOURCE_UNREADABLE', `${path}: ${size} bytes are more than ${FILE_BYTES_MAX}`);
    }
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(await readFile(path));
  } catch (thrown) {
    if (thrown instanceof SightlineError) throw thrown;
    const { code, message } = thrown as NodeJS.ErrnoException;
    if (code === 'ENOENT') throw new SightlineError('SOURCE_NOT_FOUND', `there is no file ${path}`);
    const isText = code !== 'ERR_ENCODING_INVALID_ENCODED_DATA';
    throw new SightlineError(
      'SOURCE_UNREADABLE',
      `${path}: ${isText ? message : 'it is not UTF-8 text: save it as "CSV UTF-8"'}`,
    );
  }
}

async function test(
  context: CliContext,
  flags: ServerFlags & { readonly transport?: string; readonly still?: string },
  address: string,
): Promise<void> {
  const { transport } = flags;
  const body = jsonBody({ url: addressOf(address), ...(transport !== undefined && { transport }) });
  const found = (await ask(context, flags, 'api/cameras/test', {
    method: 'POST',
    body,
    timeoutMs: TEST_TIMEOUT_MS,
  })) as SeenTest;
  const jpeg = found.still?.jpeg;
  if (flags.still !== undefined && typeof jpeg === 'string') {
    await writeStill(resolve(context.cwd, flags.still), Buffer.from(jpeg, 'base64'));
  }
  if (flags.json) {
    // The picture is for a file.
    const still = found.still && { ...found.still, jpeg: undefined };
    context.out(JSON.stringify({ ...found, still }));
  } else if (found.ok === true) context.text(testLine(found));
  if (found.ok === true) {
    if (flags.still !== undefined && typeof jpeg !== 'string')
      context.err('there was no picture to write in that time');
    return;
  }
  const { code, message } = found.reason ?? {};
  const error = new SightlineError(
    isErrorCode(code) ? code : 'CONNECTION_FAILED',
    `${redactAddress(address)}: ${clean(String(message ?? 'no frame came'))}`,
  );
  if (!flags.json) throw error;
  context.exitWith(exitCodeOf(error));
}

interface SeenTest {
  readonly ok?: unknown;
  readonly reason?: { readonly code?: unknown; readonly message?: unknown } | null;
  readonly stream?: Readonly<Record<string, unknown>> | null;
  readonly first_frame_ms?: unknown;
  readonly rates?: Readonly<Record<string, unknown>> | null;
  readonly still?: { readonly jpeg?: unknown } | null;
}

export function testLine({ stream, first_frame_ms: firstMs, rates }: SeenTest): string {
  const facts = [
    ...(stream ? [streamText(stream)] : []),
    ...(typeof rates?.['received_fps'] === 'number' ? [`${rateText(rates['received_fps'])} frames/s`] : []),
    ...(typeof rates?.['received_bits_per_s'] === 'number' ? [bitsText(rates['received_bits_per_s'])] : []),
    ...(typeof firstMs === 'number' ? [`first frame after ${(firstMs / 1000).toFixed(1)} s`] : []),
  ];
  return `it works: ${facts.join(', ') || 'frames come'}`;
}

async function writeStill(path: string, bytes: Uint8Array): Promise<void> {
  try {
    await writeFile(path, bytes);
  } catch (thrown) {
    throw new SightlineError('OUTPUT_FAILED', `${path} cannot be written: ${(thrown as Error).message}`, {
      cause: thrown,
    });
  }
}

/** Throws USAGE. It may have a password in it, and is not repeated. */
function addressOf(text: string): string {
  const { fault } = readCameraUrl(text);
  if (fault === undefined) return text;
  throw usage(`the address of a camera: ${fault}`);
}

function jsonBody(value: unknown): { type: string; text: string } {
  return { type: 'application/json', text: JSON.stringify(value) };
}

function tellKept(context: CliContext, { kept }: { readonly kept?: unknown }): void {
  if (kept === false)
    context.err(
      'The next start of the server will not know of this: it has no store (store.mode, store.file), or this is a camera of its demo.',
    );
}

/** A table that is at most 80 columns wide. */
export function listLines(cameras: readonly SeenCamera[], nowMs: number): string[] {
  const rows = cameras.map((camera) => {
    const { id, state, since, until, picture, rates, url } = camera;
    const isLive = state === 'live';
    const condition = String(picture?.condition ?? '');
    const isOdd = isLive && !['ok', 'unknown', ''].includes(condition);
    const fps = rates?.['received_fps'];
    const wait = typeof until === 'number' ? `again in ${spanText(Math.max(0, until - nowMs) / 1000)}: ` : '';
    const reason = camera.reason?.message;
    return [
      fit(clean(String(id)), ID_COLUMNS_MAX, 'middle'),
      clean(isOdd ? `live, ${condition}` : String(state)),
      typeof since === 'number' ? spanText(Math.max(0, nowMs - since) / 1000) : '',
      isLive && typeof fps === 'number' ? rateText(fps) : '–',
      isLive || reason === undefined ? clean(String(url ?? '')) : `${wait}${clean(String(reason))}`,
    ];
  });
  const table = [['id', 'state', 'for', 'fps', 'address, or what is wrong'], ...rows];
  const before = [0, 1, 2, 3].reduce(
    (sum, column) => sum + 2 + Math.max(...table.map((row) => row[column]!.length)),
    0,
  );
  const left = Math.max(LAST_COLUMNS_MIN, COLUMNS - before);
  return inColumns(table.map((row) => row.with(4, fit(row[4]!, left))));
}

function decodedBy(decoding: SeenCamera['decoding']): string {
  if (typeof decoding?.by !== 'string') return '';
  return `, by ${decoding.by}${typeof decoding.reason === 'string' ? ` (${decoding.reason})` : ''}`;
}

export function showLines(camera: SeenCamera, nowMs: number): string[] {
  const { id, state, since, until, reason, picture, stream, rates, frames, settings } = camera;
  const span = (ms: unknown): string =>
    typeof ms === 'number' ? ` for ${spanText(Math.max(0, nowMs - ms) / 1000)}` : '';
  const rate = (key: string): string => (typeof rates?.[key] === 'number' ? rateText(rates[key]) : '–');
  const count = (key: string): string => (typeof frames?.[key] === 'number' ? countText(frames[key]) : '–');
  const bits = rates?.['received_bits_per_s'];
  const masks = settings?.masks;
  const pipelines =
    Array.isArray(camera.pipelines) && camera.pipelines.length > 0 ? camera.pipelines.join(', ') : 'none';
  const rows = [
    ['address', String(camera.url ?? '')],
    ['class', String(camera.class ?? '')],
    ['pipelines', `${pipelines}${typeof settings?.model === 'string' ? ` (${settings.model})` : ''}`],
    ...(reason ? [['reason', `${String(reason.message)} (${String(reason.code)})`]] : []),
    ...(typeof until === 'number' ? [['next try', `in ${spanText(Math.max(0, until - nowMs) / 1000)}`]] : []),
    ['picture', String(picture?.condition ?? 'unknown')],
    ...(Array.isArray(masks) && masks.length > 0 ? [['masks', String(masks.length)]] : []),
    ...(typeof settings?.record === 'string' && settings.record !== 'off' ? [['recorded', settings.record]] : []),
    ...(stream
      ? [
          [
            'stream',
            `${streamText(stream)}, capture times by ${stream['clock'] === 'camera' ? 'the camera' : 'arrival'}`,
          ],
        ]
      : []),
    [
      'received',
      `${rate('received_fps')} frames/s${typeof bits === 'number' ? `, ${bitsText(bits)}` : ''}; ${count('received')} frames, ${count('damaged')} damaged`,
    ],
    ['decoded', `${rate('decoded_fps')} frames/s; ${count('decoded')} frames${decodedBy(camera.decoding)}`],
    [
      'to pipelines',
      `${rate('pictures_fps')} pictures/s; ${count('pictures')} pictures, ${count('pictures_dropped')} dropped`,
    ],
    [
      'viewers',
      `${String(camera.viewers ?? '–')}; ${count('fragments')} fragments, ${count('fragments_dropped')} dropped`,
    ],
    ['connections', String(camera.connections ?? '–')],
  ];
  return [
    `${clean(String(id))}: ${clean(String(state))}${span(since)}`,
    ...inColumns(rows.map(([name = '', value = '']) => [`  ${name}`, clean(value)])),
  ];
}

function streamText(stream: Readonly<Record<string, unknown>>): string {
  const size = typeof stream['width'] === 'number' ? `, ${stream['width']}×${String(stream['height'])}` : '';
  return clean(`${String(stream['format'])}, ${String(stream['codec'])}${size}`);
}

function bitsText(bitsPerS: number): string {
  return bitsPerS >= 1e6 ? `${(bitsPerS / 1e6).toFixed(1)} Mbit/s` : `${Math.round(bitsPerS / 1e3)} kbit/s`;
}

function addNames(text: string, before: readonly string[] = []): readonly string[] {
  return before.concat(text.split(',').map((name) => name.trim()));
}

function usage(message: string): SightlineError {
  return new SightlineError('USAGE', message);
}
