import { z } from 'zod';
import { ownTimeMs, type Clock } from '../base/clock.ts';
import { Priority } from '../base/sample.ts';
import { Payload } from '../protocol/payload.ts';
import type { Reader } from '../stream/reader.ts';
import type { TelemetryMessage, Topic, Topics } from '../stream/topics.ts';
import {
  decideLease,
  expireLease,
  LEASE_MS,
  NO_LEASE,
  refuseCommand,
  type CommandRefusal,
  type LeaseBook,
} from './drive-lease.ts';

/**
 * Driving by topics: reads `<name>/command` and `<name>/lease/request`, publishes `<name>/lease`, and hands the vehicle
 * the commands of the one driver who has the lease.
 */

/** No command is valid for longer: its driver would be far from what the vehicle does. */
const COMMAND_EXPIRES_MAX_MS = 1_000;
const COMMAND_EXPIRES_DEFAULT_MS = 300;
/** Requests and commands that may wait; they are taken as they come. */
const QUEUE_MAX = 64;
const TICK_MS = 100;
const LEASE_TOLD_EVERY_MS = 1_000;

const Driver = z.string().min(1).max(64);

const LeaseRequestSchema = z.object({
  action: z.enum(['acquire', 'renew', 'release']),
  driver: Driver,
  name: z.string().min(1).max(40).optional(),
});

const CommandSchema = z.discriminatedUnion('action', [
  z.object({
    action: z.literal('drive'),
    driver: Driver,
    lease: z.int(),
    throttle: z.number().min(-1).max(1),
    steer: z.number().min(-1).max(1),
    expires_ms: z.number().positive().max(COMMAND_EXPIRES_MAX_MS).default(COMMAND_EXPIRES_DEFAULT_MS),
  }),
  /** Anybody may stop the vehicle. */
  z.object({ action: z.literal('stop') }),
  /** Only its driver may let it go on. */
  z.object({ action: z.literal('resume'), driver: Driver, lease: z.int() }),
]);

/** The part of a vehicle that the desk needs. */
export interface Vehicle {
  order(order: { throttle: number; steer: number; receivedTimeMs: number; expiresTimeMs: number }): void;
  /** Nobody drives any more: brakes. */
  halt(): void;
  /** Brakes until `release`. */
  emergencyStop(): void;
  release(): void;
}

export interface DriveDeskOptions {
  readonly topics: Topics;
  readonly vehicle: Vehicle;
  readonly clock: Clock;
  /** The level above the vehicle's topics. */
  readonly name: string;
}

/** On `<name>/lease`: at every change and once a second. */
export interface LeaseStatus {
  /** Null: nobody drives, the lease can be acquired. */
  readonly driver: string | null;
  readonly name: string | null;
  /** Number of the last grant; commands name it. */
  readonly lease: number;
  /** How long a lease lasts without renewal. */
  readonly lease_ms: number;
  readonly accepted: number;
  readonly refused: Readonly<Record<CommandRefusal | 'malformed', number>>;
}

export class DriveDesk {
  readonly #options: DriveDeskOptions;
  readonly #readers: Reader<TelemetryMessage>[] = [];
  readonly #unwatch: (() => void)[];
  readonly #timer: NodeJS.Timeout;
  readonly #refused: Record<CommandRefusal | 'malformed', number> = {
    not_driver: 0,
    lease_old: 0,
    expired: 0,
    malformed: 0,
  };
  #book: LeaseBook = NO_LEASE;
  #accepted = 0;
  #toldMs = -Infinity;
  #closed = false;

  constructor(options: DriveDeskOptions) {
    const { topics, name } = options;
    this.#options = options;
    this.#unwatch = [
      topics.watch(`${name}/command`, (topic) => this.#read(topic, (message) => this.#onCommand(message))),
      topics.watch(`${name}/lease/request`, (topic) => this.#read(topic, (message) => this.#onRequest(message))),
    ];
    this.#timer = setInterval(() => this.advance(), TICK_MS);
    this.#tell();
  }

  status(): LeaseStatus {
    const { number, holder } = this.#book;
    return {
      driver: holder?.driver ?? null,
      name: holder?.name ?? null,
      lease: number,
      lease_ms: LEASE_MS,
      accepted: this.#accepted,
      refused: { ...this.#refused },
    };
  }

  /** Ends an expired lease and publishes the state. Called by a timer; a test with its own clock calls it itself. */
  advance(): void {
    const nowMs = this.#options.clock.now();
    this.#enter(expireLease(this.#book, nowMs));
    if (nowMs - this.#toldMs >= LEASE_TOLD_EVERY_MS) this.#tell();
  }

  /** The vehicle halts. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#timer);
    for (const unwatch of this.#unwatch) unwatch();
    for (const reader of this.#readers) reader.close();
    this.#options.vehicle.halt();
  }

  #read(topic: Topic, take: (message: TelemetryMessage) => void): void {
    const reader = topic.stream.subscribe({
      name: 'drive',
      contract: { kind: 'all', queueMax: Math.min(QUEUE_MAX, topic.stream.capacity) },
      onReady: () => this.#drain(reader, take),
    });
    this.#readers.push(reader);
  }

  #drain(reader: Reader<TelemetryMessage>, take: (message: TelemetryMessage) => void): void {
    for (let sample = reader.next(); sample; sample = reader.next()) take(sample.data);
  }

  #onRequest(message: TelemetryMessage): void {
    const request = LeaseRequestSchema.safeParse(message.payload.value());
    if (request.success) this.#enter(decideLease(this.#book, request.data, this.#options.clock.now()));
    else this.#refused.malformed++;
    // A refused driver wants to know who drives.
    this.#tell();
  }

  #onCommand(message: TelemetryMessage): void {
    const parsed = CommandSchema.safeParse(message.payload.value());
    if (!parsed.success) {
      this.#refused.malformed++;
      return;
    }
    const { vehicle, clock } = this.#options;
    const command = parsed.data;
    if (command.action === 'stop') return vehicle.emergencyStop();
    const nowMs = clock.now();
    // A driver's clock that is ahead must not lengthen the life of its commands.
    const sentMs = Math.min(ownTimeMs(clock, message.timeMs), nowMs);
    const expiresMs = command.action === 'drive' ? command.expires_ms : COMMAND_EXPIRES_DEFAULT_MS;
    const { driver, lease } = command;
    const refusal = refuseCommand(this.#book, { driver, lease, expiresTimeMs: sentMs + expiresMs }, nowMs);
    if (refusal) {
      this.#refused[refusal]++;
      return;
    }
    this.#accepted++;
    if (command.action === 'resume') return vehicle.release();
    const { throttle, steer } = command;
    vehicle.order({ throttle, steer, receivedTimeMs: nowMs, expiresTimeMs: sentMs + expiresMs });
  }

  #enter(book: LeaseBook): void {
    const before = this.#book;
    this.#book = book;
    if (before.holder?.driver === book.holder?.driver && before.number === book.number) return;
    this.#options.vehicle.halt();
    this.#tell();
  }

  #tell(): void {
    const { topics, name, clock } = this.#options;
    this.#toldMs = clock.now();
    topics.publish(`${name}/lease`, { payload: Payload.of(this.status()), priority: Priority.high });
  }
}
