import type { RecordingCompression } from '../delivery/recording-file.ts';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '../base/clock.ts';
import { SightlineError } from '../base/errors.ts';
import type { Subscription } from '../client/telemetry-subscription.ts';
import { connectTelemetry } from '../client/telemetry.ts';
import { Recorder, RECORDING_DEFAULTS, type RecordingReport } from '../delivery/recording.ts';
import type { Log } from '../log/log.ts';
import { connectUnless } from '../load/connect.ts';
import { telemetryUrl } from '../load/suite.ts';
import { Payload } from '../protocol/payload.ts';
import { checkFilter } from '../protocol/topic.ts';
import { Hub } from '../stream/hub.ts';
import type { Stream } from '../stream/stream.ts';
import type { CliContext } from './context.ts';
import { tokenOf } from './options.ts';
import { withLog } from './log.ts';

export interface RecordFlags {
  readonly token?: string;
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

/** One topic of the server, from the socket to the disk. */
interface Incoming {
  readonly stream: Stream<Arrived>;
  readonly epoch: number;
  lastSeq: number;
}

/** Messages of a topic that may wait for the disk; a further one drops the oldest, which is counted. */
const QUEUE_MESSAGES = 2_048;
const TOPICS_MAX = 10_000;
const MIB = 2 ** 20;
/** A server that does not answer must not keep the file from being completed. */
const CLOSE_MS_MAX = 2_000;

/** The command `sightline record`, with its words parsed. */
export async function record(path: string, flags: RecordFlags, context: CliContext): Promise<void> {
  await withLog(context, context.config(), (log) => run(path, flags, context, log));
}

async function run(path: string, flags: RecordFlags, context: CliContext, log: Log): Promise<void> {
  for (const filter of flags.topics) checkFilter(filter);
  const url = telemetryUrl(flags.url);
  const { duration, compression, rotateMb = 0, rotateS = 0 } = flags;
  const token = tokenOf(flags, context);
  const accessToken = token === undefined ? {} : { accessToken: token };
  const ended = new AbortController();
  const inbox = new Inbox();
  const refused = Promise.withResolvers<never>();
  // Raced against while subscribing; later refusals are only logged.
  refused.promise.catch(() => {});
  let isLost = false;
  let isClosing = false;
  const session = await connectUnless(context.signal, () =>
    connectTelemetry({ url, reconnect: false, ...accessToken }),
  );
  session.on('state', () => {
    isLost ||= !isClosing;
    ended.abort();
  });
  session.on('error', ({ error }) => {
    const { damagedBatches } = session.metrics();
    const isDamage = damagedBatches > inbox.damaged;
    inbox.damaged = damagedBatches;
    if (isDamage) return;
    log.write('record_refused', { code: error.code, reason: error.message });
    // It goes on with the topics that it has subscribed to.
    if (error.code === 'TOPIC_LIMIT_REACHED' || error.code === 'MEMORY_LIMIT_REACHED') inbox.leftOut ??= error.message;
    else refused.reject(error);
  });
  try {
    await using recorder = await Recorder.start({
      path,
      clock: systemClock,
      settings: { ...RECORDING_DEFAULTS, compression, rotateBytes: rotateMb * MIB, rotateMs: rotateS * 1000 },
      notes: () => inbox.notes(),
      onFailed: () => ended.abort(),
    });
    inbox.open(recorder);
    const subscriptions = [];
    for (const filter of flags.topics) {
      const subscription = session.subscribe(filter);
      inbox.read(subscription);
      subscriptions.push(subscription);
      await Promise.race([subscription.ready, refused.promise]);
    }
    log.write('record_connected', { url, topics: flags.topics });
    await untilEnd(duration, AbortSignal.any([context.signal, ended.signal]));
    // The server has counted everything before its answer as delivered: it belongs into the file.
    const drained = Promise.all(subscriptions.map((subscription) => subscription.drain()));
    await Promise.race([drained, sleep(CLOSE_MS_MAX, undefined, { ref: false })]);
    tell(await recorder.finish(), inbox, flags, context, log);
  } finally {
    isClosing = true;
    await session.close();
  }
  if (inbox.leftOut !== undefined) {
    throw new SightlineError(
      'TOPIC_LIMIT_REACHED',
      `the recording is incomplete: ${inbox.leftOut}; record parts of it, each with a filter of its own (--topics), or raise telemetry.subscribed_topics_max of the server`,
    );
  }
  if (isLost) throw new SightlineError('CONNECTION_LOST', `${url} has gone; the recording holds everything until then`);
}

/** Messages that have arrived and are not on the disk yet. */
class Inbox {
  readonly #hub = new Hub({ clock: systemClock, streamsMax: TOPICS_MAX });
  readonly #topics = new Map<string, Incoming>();
  #recorder: Recorder | undefined;
  /** Messages that the server dropped for this connection. */
  lostOnTheWay = 0;
  /** WebSocket messages that violated the protocol. */
  damaged = 0;
  /** The server's errors about topics of which it sends nothing: how many of their messages are lost is unknown. */
  leftOut: string | undefined;

  /** To be called before anything is subscribed to. */
  open(recorder: Recorder): void {
    this.#recorder = recorder;
  }

  /** Accounts for the files that the recorder does not know. */
  notes(): Record<string, string> {
    return {
      lost_on_the_way: String(this.lostOnTheWay),
      damaged: String(this.damaged),
      ...(this.leftOut !== undefined && { incomplete: this.leftOut }),
    };
  }

  read(subscription: Subscription): void {
    const epochs = new Map<string, number>();
    subscription.on('topic', ({ topic, epoch }) => epochs.set(topic, epoch));
    subscription.on('loss', ({ count }) => (this.lostOnTheWay += count));
    subscription.onTelemetry((messages) => {
      for (const { topic, seq, timeMs, data } of messages) {
        this.#take(topic, epochs.get(topic)!, seq, { timeMs, payload: Payload.of(data) });
      }
    });
  }

  #take(topic: string, epoch: number, seq: number, data: Arrived): void {
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
    // For a server whose topics come and go: messages that the oldest one has not written yet count as lost.
    if (known === undefined && this.#topics.size >= TOPICS_MAX) this.#forgetOldest();
    const stream = this.#hub.create<Arrived>(topic, { capacity: QUEUE_MESSAGES });
    this.#recorder?.follow(stream, topic, ({ data }) => data, { epoch: String(epoch) });
    const incoming: Incoming = { stream, epoch, lastSeq: 0 };
    this.#topics.delete(topic);
    this.#topics.set(topic, incoming);
    return incoming;
  }

  #forgetOldest(): void {
    const [oldest] = this.#topics;
    oldest![1].stream.close();
    this.#topics.delete(oldest![0]);
  }
}

async function untilEnd(durationS: number | undefined, end: AbortSignal): Promise<void> {
  const longestMs = 2 ** 31 - 1;
  const durationMs = durationS === undefined ? longestMs : Math.min(durationS * 1000, longestMs);
  // Both are good ends here: the time is over, or the user has stopped it.
  await sleep(durationMs, undefined, { signal: end }).catch(() => undefined);
}

function tell(report: RecordingReport, inbox: Inbox, { json }: RecordFlags, context: CliContext, log: Log): void {
  const { files, recorded, lost, bytes, odd_times: oddTimes } = report;
  const { lostOnTheWay, damaged, leftOut } = inbox;
  if (json) {
    const isComplete = leftOut === undefined;
    const accounts = { lost_on_the_way: lostOnTheWay, damaged, incomplete: leftOut ?? null };
    // An unknown number is not 0.
    context.out(JSON.stringify({ ...report, lost: isComplete ? lost : null, lost_known: lost, ...accounts }));
    return;
  }
  const losses = [
    [lostOnTheWay, 'lost in transit'],
    [damaged, 'damaged in transit'],
    [lost, 'lost before the disk'],
    [oddTimes, 'of a time before 1970 or after 2554, of which the file has the nearest'],
  ] as const;
  const said = losses.filter(([count]) => count > 0).map(([count, what]) => `${count} ${what}`);
  if (leftOut !== undefined) said.push('and an unknown number lost, of topics that the server left out');
  for (const file of files) context.out(file);
  log.write('record_ended', { messages: recorded, written_bytes: bytes, losses: said });
}
