import { setTimeout as sleep } from 'node:timers/promises';
import { connectTelemetry, type TelemetrySession } from '../../src/client/telemetry.ts';
import type { ReplayState } from '../../src/delivery/replay.ts';
import { openIndexed } from '../../test/support/recorded.ts';
import { Server } from '../support/server.ts';
import { DecodedCamera } from './decoded-camera.ts';
import { addIdentities, identityOf, NO_IDENTITY, strangersAmong } from './identity-log.ts';
import type { FoundIdentity, NamedFrame, SentLog } from './identity-log.ts';
import type { FleetBench } from './world.ts';

/** Names of frames in a recording of the server's, and in its replay. */

/** A message on `cameras/<id>/video`, and on `cameras/<id>/<pipeline>`. */
interface VideoMessage {
  readonly epoch: number;
  readonly seq: number;
  readonly capture_time: number;
  readonly is_key: boolean;
  readonly media_time_s: number;
  /** Base64. */
  readonly data: string;
}

interface OutcomeMessage {
  readonly epoch: number;
  readonly seq: number;
  readonly capture_time: number;
  readonly outcome: 'result' | 'error';
}

/** What a reader gets of one camera. */
class ReadCamera {
  readonly decoded = new DecodedCamera();
  readonly results: NamedFrame[] = [];
  /** Frames that are not there by their numbers. */
  missing = 0;
  /** That came later than their number says. */
  late = 0;
  /** Results that came before their frames. */
  early = 0;
  readonly #keyEvery: number;
  #last: NamedFrame['frame'] | undefined;

  constructor(keyEvery: number) {
    this.#keyEvery = keyEvery;
  }

  video({ epoch, seq, capture_time, is_key, media_time_s, data }: VideoMessage): void {
    const last = this.#last;
    if (epoch === last?.epoch && seq <= last.seq) this.late += 1;
    else if (epoch === last?.epoch) this.missing += seq - last.seq - 1;
    // A camera that comes back begins within a group of pictures, of which nothing can be seen. Where the recording begins nobody knows.
    else if (last !== undefined) this.missing += Math.max(0, seq - (this.#keyEvery - 1));
    this.#last = { epoch, seq };
    this.decoded.take({
      frame: this.#last,
      captureTimeMs: capture_time,
      isKey: is_key,
      mediaTimeS: media_time_s,
      bytes: Buffer.from(data, 'base64'),
    });
  }

  outcome({ epoch, seq, capture_time, outcome }: OutcomeMessage): void {
    if (outcome !== 'result') return;
    const last = this.#last;
    if (last === undefined || epoch > last.epoch || (epoch === last.epoch && seq > last.seq)) this.early += 1;
    this.results.push({ frame: { epoch, seq }, captureTimeMs: capture_time });
  }
}

class ReadCameras {
  readonly #cameras = new Map<string, ReadCamera>();
  readonly #keyEvery: number;

  /** `keyEvery`: frames from one key frame to the next, at most. */
  constructor(keyEvery: number) {
    this.#keyEvery = keyEvery;
  }

  get(id: string): ReadCamera {
    const known = this.#cameras.get(id) ?? new ReadCamera(this.#keyEvery);
    this.#cameras.set(id, known);
    return known;
  }

  /** Returns the camera. */
  take(topic: string, value: unknown): ReadCamera {
    const [, id, part] = /^cameras\/([^/]+)\/([^/]+)$/.exec(topic) ?? [];
    if (id === undefined) throw new Error(`there is a message on ${topic}`);
    const camera = this.get(id);
    if (part === 'video') camera.video(value as VideoMessage);
    else camera.outcome(value as OutcomeMessage);
    return camera;
  }

  sum(count: (camera: ReadCamera) => number): number {
    return [...this.#cameras.values()].reduce((sum, camera) => sum + count(camera), 0);
  }

  /** Frames that should have been decoded, and were not. */
  get undecoded(): number {
    return this.sum(({ decoded }) => decoded.frames - decoded.headless - decoded.pictures.length);
  }

  /** When all has come. */
  async found(logs: ReadonlyMap<string, SentLog>): Promise<Pick<FoundIdentity, 'identity' | 'results' | 'strangers'>> {
    let [identity, strangers] = [NO_IDENTITY, 0];
    for (const [id, { decoded, results }] of this.#cameras) {
      await decoded.flush();
      const log = logs.get(id)!;
      identity = addIdentities(identity, identityOf(log, decoded.pictures));
      strangers += strangersAmong(log, decoded.pictures, results);
    }
    return { identity, strangers, results: this.sum(({ results }) => results.length) };
  }
}

// ── The file ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** What the file says of itself. */
interface TopicAccount {
  readonly topic: string;
  readonly recorded: number;
  readonly lost: number;
}

/** The file that the server has completed, as the public reader of MCAP reads it. */
export async function byRecording(
  path: string,
  logs: ReadonlyMap<string, SentLog>,
  keyEvery: number,
): Promise<FoundIdentity> {
  const reader = await openIndexed(path);
  const cameras = new ReadCameras(keyEvery);
  let messages = 0;
  for await (const { channelId, data } of reader.readMessages({ validateCrcs: true })) {
    messages += 1;
    const { topic } = reader.channelsById.get(channelId)!;
    // Few wait to be decoded, however large the file is.
    await cameras.take(topic, JSON.parse(Buffer.from(data).toString())).decoded.settled();
  }
  let accounts: TopicAccount[] = [];
  for await (const { metadata } of reader.readMetadata({ name: 'sightline.recording' })) {
    accounts = JSON.parse(metadata.get('topics')!) as TopicAccount[];
  }
  const found = await cameras.found(logs);
  let [lost, silent] = [0, 0];
  for (const id of logs.keys()) {
    const { missing, decoded } = cameras.get(id);
    const told = accounts.find(({ topic }) => topic === `cameras/${id}/video`) ?? { recorded: 0, lost: 0 };
    lost += told.lost;
    silent += Math.max(0, missing - told.lost) + Math.abs(told.recorded - decoded.frames);
  }
  return {
    ...found,
    strangers: found.strangers + cameras.sum(({ early }) => early),
    unaccounted: silent + cameras.undecoded + cameras.sum(({ late, decoded }) => late + decoded.headless),
    more: { messages, missing: cameras.sum(({ missing }) => missing), lost },
  };
}

// ── Its replay ───────────────────────────────────────────────────────────────────────────────────────────────────────────

export interface ReplayPlan {
  readonly keyEvery: number;
  /** At which the whole recording is played. */
  readonly speed: number;
  /** Each jump after that is played for so long. */
  readonly jumpMs: number;
}

/** Where in the recording, as part of its length, and how fast it goes on there: forward, back, and beyond the end. */
const JUMPS = [
  { at: 0.5, speed: 1 },
  { at: 0.1, speed: 10 },
  { at: 0.8, speed: 0.5 },
  { at: 0.3, speed: 20 },
  { at: 0.97, speed: 2, loop: true },
  { at: 0.2, speed: 4 },
];
const POLL_MS = 50;
const STALL_MS = 30_000;

/** `sightline replay`, and a program that reads it by the SDK and controls it. `messages`: in the file. */
export async function byReplay(
  path: string,
  logs: ReadonlyMap<string, SentLog>,
  messages: number,
  { keyEvery, speed, jumpMs }: ReplayPlan,
  { folder, signal }: FleetBench,
): Promise<FoundIdentity> {
  await using server = await Server.launch({
    command: 'replay',
    words: [path, '--paused', '--speed', String(speed)],
    cacheDir: folder,
    settings: { 'log.level': 'error' },
    signal,
  });
  await server.ready();
  await using session = await connectTelemetry({ url: server.url });
  const replay = await RemoteReplay.open(session, signal);
  const cameras = new ReadCameras(keyEvery);
  const subscription = session.subscribe('cameras/#');
  subscription.onTelemetry((batch) => {
    for (const { topic, data } of batch) cameras.take(topic, data);
  });
  await subscription.ready;
  /** Of the messages that were published: how many have come, and how many were told as lost. */
  const arrived = (): { received: number; told: number } => {
    const { received, lost } = subscription.metrics();
    const told = Object.values(lost).reduce((sum, count) => sum + count, 0) - lost.unexplained;
    return { received, told };
  };
  /** Until all that was published has come, or nothing comes any more. Returns how many that were. */
  const untilCome = async (): Promise<number> => {
    const { published } = replay.state;
    const left = (): number => published - arrived().received - arrived().told;
    await until(() => left() <= 0, left, signal);
    return published;
  };

  replay.control({ paused: false });
  await replay.until(({ state }) => state === 'ended');
  const unplayed = Math.abs(messages - (await untilCome()));
  const whole = cameras.sum(({ decoded }) => decoded.frames);
  for (const { at, speed: jumpSpeed, loop = false } of JUMPS) {
    const position_s = at * replay.state.duration_s;
    replay.control({ position_s, speed: jumpSpeed, loop });
    await replay.until((state) => state.speed === jumpSpeed && state.loop === loop);
    await sleep(jumpMs, undefined, { signal });
  }
  replay.control({ paused: true });
  await replay.until(({ state }) => state !== 'playing');
  const published = await untilCome();

  const found = await cameras.found(logs);
  const { received, told } = arrived();
  const { undecoded } = cameras;
  return {
    ...found,
    unaccounted: Math.max(0, published - received - told) + undecoded + unplayed,
    more: { whole, lost: told, headless: cameras.sum(({ decoded }) => decoded.headless) },
  };
}

/** A replay, by the topics that control it. */
class RemoteReplay {
  readonly #session: TelemetrySession;
  readonly #signal: AbortSignal;
  #state: ReplayState | undefined;

  private constructor(session: TelemetrySession, signal: AbortSignal) {
    this.#session = session;
    this.#signal = signal;
  }

  static async open(session: TelemetrySession, signal: AbortSignal): Promise<RemoteReplay> {
    const replay = new RemoteReplay(session, signal);
    const subscription = session.subscribe('replay/state', { contract: 'latest' });
    subscription.onTelemetry((states) => {
      replay.#state = states.at(-1)!.data as ReplayState;
    });
    await replay.until(() => true);
    return replay;
  }

  /** The newest one that came. */
  get state(): ReplayState {
    return this.#state!;
  }

  control(change: { paused?: boolean; speed?: number; position_s?: number; loop?: boolean }): void {
    this.#session.publish('replay/control', change);
  }

  async until(isSo: (state: ReplayState) => boolean): Promise<void> {
    const isThere = (): boolean => this.#state !== undefined && isSo(this.#state);
    const isReached = await until(isThere, () => this.#state?.position_s ?? 0, this.#signal);
    if (!isReached) throw new Error(`the replay stands still: ${JSON.stringify(this.#state)}`);
    const { error, refused } = this.state;
    if (error !== null || refused > 0) throw new Error(`the replay has left out ${refused} messages: ${error}`);
  }
}

/** False: nothing has moved for long. */
async function until(isSo: () => boolean, progress: () => number, signal: AbortSignal): Promise<boolean> {
  let [last, sinceMs] = [progress(), performance.now()];
  while (!isSo()) {
    await sleep(POLL_MS, undefined, { signal });
    const now = progress();
    if (now !== last) [last, sinceMs] = [now, performance.now()];
    else if (performance.now() - sinceMs > STALL_MS) return false;
  }
  return true;
}
