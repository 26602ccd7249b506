import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { InvalidArgumentError, Option, type Command } from 'commander';
import { systemClock } from '../base/clock.ts';
import { SightlineError } from '../base/errors.ts';
import type { RecordingCompression } from '../delivery/recording-file.ts';
import { RECORDING_COMPRESSIONS } from '../delivery/recording-file.ts';
import { Recorder, RECORDING_DEFAULTS, type RecordingReport } from '../delivery/recording.ts';
import { telemetryUrl } from '../load/suite.ts';
import { TelemetrySocket } from '../load/telemetry-socket.ts';
import { decodeBatch } from '../protocol/batch.ts';
import type { Payload } from '../protocol/payload.ts';
import { checkFilter } from '../protocol/topic.ts';
import { decompressors } from '../sessions/compression.ts';
import { Hub } from '../stream/hub.ts';
import type { Stream } from '../stream/stream.ts';
import type { CliContext } from './context.ts';

interface RecordFlags {
  readonly url: string;
  readonly topics: readonly string[];
  readonly duration?: number;
  readonly compression: RecordingCompression;
  readonly rotateMb?: number;
  readonly rotateS?: number;
  readonly json?: boolean;
}

interface Arrived {
  readonly timeMs: number;
  readonly payload: Payload;
}

/** One topic of the server on its way to the disk. */
interface Incoming {
  readonly stream: Stream<Arrived>;
  readonly epoch: number;
  lastSeq: number;
}

const DEFAULT_URL = 'ws://127.0.0.1:8080/ws/telemetry';
/** Messages of a topic that may wait for the disk; of more the oldest are dropped and counted. */
const QUEUE_MESSAGES = 2_048;
const TOPICS_MAX = 10_000;
const MIB = 2 ** 20;

const HELP = `
The file is MCAP (https://mcap.dev): chunked, indexed, compressed, JSON messages with schemas, so that Foxglove and every MCAP
tool can open it. Until the recording is complete it is called <file>.part; what a crash leaves there can be replayed up to
its last chunk. The recording ends after --duration, with Ctrl+C, or when the server goes away.

Examples:
  sightline record drive.mcap
  sightline record drive.mcap --url ws://rover.local:8080/ws/telemetry --duration 60
  sightline record pose.mcap --topics 'rover/+/pose' 'rover/+/battery' --json
  sightline record day.mcap --rotate-mb 512
`;

/** `sightline record`: topics of a running server into an MCAP file. */
export function registerRecord(program: Command, context: CliContext): void {
  program
    .command('record')
    .description('record the topics of a running server into an MCAP file')
    .argument('<file>', 'the file to write, such as drive.mcap', mcapName)
    .option('--url <url>', 'the server', DEFAULT_URL)
    .option('--topics <filter...>', 'what to record; + and # are wildcards', ['#'])
    .option('--duration <s>', 'end after so many seconds (default: with Ctrl+C)', positive)
    .addOption(
      new Option('--compression <name>', 'compression of the chunks').choices(RECORDING_COMPRESSIONS).default('zstd'),
    )
    .option('--rotate-mb <n>', 'begin a new file after so many MiB', positive)
    .option('--rotate-s <n>', 'begin a new file after so many seconds', positive)
    .option('--json', 'print the accounts as JSON')
    .addHelpText('after', HELP)
    .action((file: string, flags: RecordFlags) => record(resolve(context.cwd, file), flags, context));
}

async function record(path: string, flags: RecordFlags, context: CliContext): Promise<void> {
  for (const filter of flags.topics) checkFilter(filter);
  const url = telemetryUrl(flags.url);
  const { duration, compression, rotateMb = 0, rotateS = 0 } = flags;
  const ended = new AbortController();
  const inbox = new Inbox();
  const refused = Promise.withResolvers<never>();
  // Raced against while subscribing; what is refused later is only said.
  refused.promise.catch(() => {});
  let isLost = false;
  const socket = await TelemetrySocket.open({
    url,
    subprotocol: 'sightline.v1.binary',
    codecs: ['columns', 'msgpack', 'json', 'bytes'],
    signal: context.signal,
    handler: {
      onBatch: (topic, bytes, schemaOf) => {
        const { envelope, messages } = decodeBatch(bytes, schemaOf, decompressors);
        for (const [i, message] of messages.entries()) {
          inbox.take(topic, envelope.epoch, envelope.firstSeq + i, message);
        }
        return true;
      },
      onControl: (message) => {
        if (message.type === 'loss') inbox.lostOnTheWay += message.count;
        if (message.type === 'error') {
          context.err(`the server says: ${message.message} (${message.code})`);
          refused.reject(new SightlineError(message.code, message.message));
        }
      },
      onDamaged: () => inbox.damaged++,
      onLost: () => {
        isLost = true;
        ended.abort();
      },
    },
  });
  try {
    await using recorder = await Recorder.start({
      path,
      clock: systemClock,
      settings: { ...RECORDING_DEFAULTS, compression, rotateBytes: rotateMb * MIB, rotateMs: rotateS * 1000 },
      onFailed: () => ended.abort(),
    });
    inbox.open(recorder);
    for (const [i, filter] of flags.topics.entries()) {
      await Promise.race([socket.subscribe(i + 1, filter), refused.promise]);
    }
    context.err(`recording ${flags.topics.join(' ')} from ${url}; Ctrl+C ends it`);
    await untilEnd(duration, AbortSignal.any([context.signal, ended.signal]));
    tell(await recorder.finish(), inbox, flags, context);
  } finally {
    if (!isLost) await socket.close();
  }
  if (isLost) throw new SightlineError('CONNECTION_LOST', `${url} has gone; the recording holds what came until then`);
}

/** What has arrived and is not on the disk yet. */
class Inbox {
  readonly #hub = new Hub({ clock: systemClock, streamsMax: TOPICS_MAX });
  readonly #topics = new Map<string, Incoming>();
  #recorder: Recorder | undefined;
  /** Messages that the server dropped for this connection. */
  lostOnTheWay = 0;
  /** WebSocket messages that were not what the protocol says. */
  damaged = 0;

  /** To be called before anything is subscribed to. */
  open(recorder: Recorder): void {
    this.#recorder = recorder;
  }

  take(topic: string, epoch: number, seq: number, data: Arrived): void {
    const incoming = this.#topic(topic, epoch);
    // Filters may overlap: a message that came by another one is here already.
    if (seq <= incoming.lastSeq) return;
    incoming.lastSeq = seq;
    incoming.stream.publish({ data, seq, captureTimeMs: data.timeMs });
  }

  #topic(topic: string, epoch: number): Incoming {
    const known = this.#topics.get(topic);
    if (known?.epoch === epoch) return known;
    known?.stream.close();
    const stream = this.#hub.create<Arrived>(topic, { capacity: QUEUE_MESSAGES });
    this.#recorder?.follow(stream, topic, ({ data }) => data, String(epoch));
    const incoming: Incoming = { stream, epoch, lastSeq: 0 };
    this.#topics.set(topic, incoming);
    return incoming;
  }
}

async function untilEnd(durationS: number | undefined, end: AbortSignal): Promise<void> {
  const longestMs = 2 ** 31 - 1;
  const durationMs = durationS === undefined ? longestMs : Math.min(durationS * 1000, longestMs);
  // Both ends are good ones here: the time is over, or somebody has had enough.
  await sleep(durationMs, undefined, { signal: end }).catch(() => undefined);
}

function tell(report: RecordingReport, inbox: Inbox, { json }: RecordFlags, context: CliContext): void {
  const { files, recorded, lost, bytes } = report;
  const { lostOnTheWay, damaged } = inbox;
  if (json) {
    context.out(JSON.stringify({ ...report, lost_on_the_way: lostOnTheWay, damaged }));
    return;
  }
  const losses = [
    [lostOnTheWay, 'lost on the way'],
    [damaged, 'damaged on the way'],
    [lost, 'lost before the disk'],
  ] as const;
  const said = losses.filter(([count]) => count > 0).map(([count, what]) => `, ${count} ${what}`);
  for (const file of files) context.out(file);
  context.err(`${recorded} messages, ${(bytes / MIB).toFixed(1)} MiB${said.join('')}`);
}

/** For commander. */
export function mcapName(text: string): string {
  if (!text.endsWith('.mcap')) throw new InvalidArgumentError('It is to end in .mcap.');
  return text;
}

function positive(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !(value > 0 && value < Infinity)) throw new InvalidArgumentError('It is a number above 0.');
  return value;
}
