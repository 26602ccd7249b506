import { PASSWORD_CHECK_BYTES } from '../auth/passwords.ts';
import type { Config } from '../config/schema.ts';
import { TAKEN_BYTES_MAX } from '../delivery/recording.ts';
import { FREE_PIXEL_BYTES_MAX } from '../inference/settings.ts';
import { FORMS_BYTES_MAX } from '../stream/payload-forms.ts';
import { memoryBounds } from '../stream/settings.ts';
import { CHANNEL_BYTES } from './foxglove-channels.ts';
import { CRITICAL_BYTES } from './telemetry/critical-queue.ts';
import { SCHEMA_BYTES_MAX } from './telemetry/encoder.ts';
import { ENCODED_BYTES_MAX } from './telemetry/lane.ts';

/** Memory that a bound allows, whoever uses it. */
export interface PlannedMemory {
  readonly name: string;
  /** What lies in it. */
  readonly what: string;
  readonly bytes: number;
}

export interface PlanFacts {
  /** Inference workers. */
  readonly workers: number;
}

const MIB = 2 ** 20;
const LARGEST_TOLD = 3;
/** Sessions of the four lanes, each of which may have one for every connection, and those whose clients may come back. */
const LANES = 4;
/** The program itself with its libraries, and one worker with a small model: measured at rest, beside what the bounds allow. */
const PROGRAM_BYTES = 250 * MIB;
const WORKER_BYTES = 100 * MIB;
/** A connection and its session, with nothing of their own: objects of `ws`, of Node and of the lane, and a read of the socket. */
const CONNECTION_BYTES = 128 * 1024;
/** With TLS each takes 28 KiB more (measured), and for each there may be one that makes short requests. */
const TLS_BYTES = 64 * 1024;
/** Decoded: red, green, blue and one more. */
const PIXEL_BYTES = 4;

/**
 * All memory that the settings promise: every bound, with all of them used at once. What is in transit within a millisecond, such as the message that
 * is being worked on, is not in it. Pure.
 */
export function memoryPlan(config: Config, { workers }: PlanFacts): readonly PlannedMemory[] {
  const { server, streaming, telemetry, inference } = config;
  const bounds = memoryBounds(config);
  const connections = server.max_connections;
  const sessions = LANES * connections;
  const picture = streaming.image_pixels_max * PIXEL_BYTES;
  // Frames that a worker has, and one for an urgent one.
  const framesAhead = inference.prefetch + 2;
  const speaksTls = server.tls.auto || server.tls.cert_file !== undefined;
  return [
    { name: 'history', what: 'histories of topics', bytes: bounds.history.totalBytesMax },
    {
      name: 'session',
      what: 'what clients have told of themselves',
      bytes: bounds.session.totalBytesMax + sessions * (bounds.session.reservedBytes ?? 0),
    },
    { name: 'incoming', what: 'messages that have begun to come', bytes: bounds.incoming.totalBytesMax },
    { name: 'frames', what: 'frames that wait, and results that are kept', bytes: bounds.frames.totalBytesMax },
    {
      name: 'channels',
      what: 'what Foxglove viewers are told of topics',
      bytes:
        bounds.channels.totalBytesMax +
        connections * (bounds.channels.reservedBytes ?? 0) +
        telemetry.topics_max * CHANNEL_BYTES,
    },
    { name: 'forms', what: 'further forms of messages, such as parsed JSON', bytes: FORMS_BYTES_MAX },
    { name: 'encoded', what: 'encoded messages for further readers', bytes: ENCODED_BYTES_MAX },
    { name: 'layouts', what: 'layouts of columns', bytes: SCHEMA_BYTES_MAX },
    {
      name: 'unsent',
      what: 'what sockets have not passed on, of all connections',
      bytes: connections * unsentBytes(config),
    },
    {
      name: 'connections',
      what: 'connections and sessions themselves',
      bytes: connections * (CONNECTION_BYTES + (speaksTls ? TLS_BYTES : 0)),
    },
    { name: 'answers', what: 'answers to requests', bytes: server.answer_bytes_max },
    { name: 'cache', what: 'fragments of recordings', bytes: config.cache.memory_bytes_max },
    { name: 'hls', what: 'segments of cameras', bytes: config.hls.total_bytes_max },
    {
      name: 'archive',
      what: 'what was recorded before an event, and waits for the disk, of all cameras that are recorded',
      bytes: archivedBytes(config),
    },
    { name: 'recording', what: 'messages of ended streams that wait for the disk', bytes: TAKEN_BYTES_MAX },
    {
      name: 'workers',
      what: 'pictures in workers, encoded and decoded',
      bytes: workers * (FREE_PIXEL_BYTES_MAX + picture + framesAhead * streaming.message_bytes_max),
    },
    { name: 'passwords', what: 'checks of passwords', bytes: PASSWORD_CHECK_BYTES },
    { name: 'program', what: 'the program itself and its models', bytes: PROGRAM_BYTES + workers * WORKER_BYTES },
  ];
}

export function plannedBytes(plan: readonly PlannedMemory[]): number {
  return plan.reduce((sum, { bytes }) => sum + bytes, 0);
}

/** What there is to say where a plan comes to more than the setting, or than the machine has; undefined: it does not. Pure. */
export function excessOf(plan: readonly PlannedMemory[], settingMib: number, machineBytes: number) {
  const planned = plannedBytes(plan);
  if (planned <= Math.min(settingMib * MIB, machineBytes)) return undefined;
  const largest = plan.toSorted((a, b) => b.bytes - a.bytes).slice(0, LARGEST_TOLD);
  return {
    planned_mib: Math.ceil(planned / MIB),
    max_memory_usage_mib: settingMib,
    machine_mib: Math.floor(machineBytes / MIB),
    largest: largest.map(({ name, bytes }) => `${name} ${Math.ceil(bytes / MIB)} MiB`),
  };
}

function archivedBytes({ archive, cameras }: Config): number {
  const modes = Object.values(cameras).map(({ record }) => record);
  const of = (mode: string) => modes.filter((one) => one === mode).length;
  return (of('continuous') + 2 * of('events')) * archive.memory_bytes_max;
}

/** Of one connection, on the lane that may have most: twice the bound from which it is given no more, and what was given to it last. */
function unsentBytes({ streaming, telemetry }: Config): number {
  const video = 2 * streaming.send_buffer_bytes_max;
  const messages =
    telemetry.socket_bytes_max + CRITICAL_BYTES + Math.max(telemetry.batch_bytes_max, telemetry.message_bytes_max);
  return Math.max(video, messages, 2 * telemetry.socket_bytes_max);
}
