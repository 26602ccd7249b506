import { setTimeout as sleep } from 'node:timers/promises';
import type { Helper } from '../support/children.ts';
import type { BenchContext } from '../support/document.ts';
import { CoreUse, readProcessors } from '../support/processors.ts';
import type { SharedClock } from '../support/shared-clock.ts';
import type { Measured } from './meter.ts';
import { topicNames, type Decode } from './peer.ts';
import type { PeerName } from './peers.ts';
import type { PublisherApi, Ran } from './publisher-process.ts';
import type { SubscribersApi } from './subscribers-process.ts';

/** One way of delivery that is measured: a running server and how its clients speak. */
export interface Lane {
  /** In front of its figures. */
  readonly name: string;
  readonly peer: PeerName;
  /** Of the peer's protocol; empty where it has one alone. */
  readonly form: string;
  readonly url: string;
  /** Of the server. */
  readonly pid: number;
}

/** What all measurements share. */
export interface TelemetryBench extends BenchContext {
  readonly clock: SharedClock;
  readonly publisher: Helper<PublisherApi>;
  readonly subscribers: Helper<SubscribersApi>;
}

export interface Crowd {
  readonly topics: number;
  readonly count: number;
  /** Of these, so many read and do not decode. */
  readonly readOnly?: number;
  readonly decode: Exclude<Decode, 'read'>;
  /** Of the messages; 1 unless told otherwise. */
  readonly restlessness?: number;
}

export interface Span extends Measured, Pick<Ran, 'sent' | 'isOverrun'> {
  /** Messages that a decoding subscriber should have got, of all of them together, and did not. */
  readonly missing: number;
  /** All subscribers, those that only read among them. */
  readonly deliveriesPerS: number;
  /** Processor time of the server for one delivery, and of the process with the subscribers. */
  readonly cpuUs: number;
  readonly subscriberUs: number;
  /** Payload bytes of the WebSocket messages of all subscribers, and of one delivery. */
  readonly bytes: number;
  readonly bytesPerMessage: number;
  readonly use: CoreUse;
}

const LEAD_MS = 50;
/** The first part of a span: code is compiled, sockets find their rate. It does not count. */
const SETTLE_MS = 400;
const DRAIN_TIMEOUT_MS = 20_000;
const DRAIN_STALL_MS = 3_000;

let teamsMade = 0;

/** A publisher and its subscribers on one lane. Close it: a server may hand everything to everybody. */
export class Team implements AsyncDisposable {
  readonly #bench: TelemetryBench;
  readonly #lane: Lane;
  readonly #crowd: Crowd;
  readonly #name: string;
  #expected = 0;

  private constructor(bench: TelemetryBench, lane: Lane, crowd: Crowd, name: string) {
    this.#bench = bench;
    this.#lane = lane;
    this.#crowd = crowd;
    this.#name = name;
  }

  static async connect(bench: TelemetryBench, lane: Lane, crowd: Crowd): Promise<Team> {
    const name = `team${(teamsMade += 1)}`;
    const { peer, url, form } = lane;
    const topics = topicNames(name, crowd.topics);
    const { count, readOnly = 0, decode, restlessness = 1 } = crowd;
    await bench.publisher.call('connect', { team: name, peer, url, form, topics, restlessness });
    const everybody = { team: name, peer, url, form, topics, count, readOnly, decode };
    await bench.subscribers.call('connect', everybody, 120_000);
    return new Team(bench, lane, crowd, name);
  }

  /** Publishes at `hz` on each topic for `spanMs`, after a settling time; resolves when everything has come or nothing comes any more. */
  async span(hz: number, spanMs: number): Promise<Span> {
    const { clock, publisher, subscribers } = this.#bench;
    const team = this.#name;
    const pids = [this.#lane.pid, publisher.pid, subscribers.pid];
    const fromMs = clock.now() + LEAD_MS;
    const countFromMs = fromMs + SETTLE_MS;
    const untilMs = countFromMs + spanMs;
    await subscribers.call('begin', { team, fromMs: countFromMs });
    const before = readProcessors(pids);
    const ran = await publisher.call('run', { team, hz, fromMs, untilMs, countFromMs }, spanMs * 4 + 60_000);
    const decoders = this.#crowd.count - (this.#crowd.readOnly ?? 0);
    this.#expected += ran.sent * decoders;
    const got = await this.#drained();
    const use = new CoreUse();
    const after = readProcessors(pids);
    use.add(before, after);
    const measured = await subscribers.call('end', team);
    const missing = this.#expected - got;
    // What is lost is lost: the next span begins anew.
    this.#expected = got;
    const seconds = (after.timeMs - before.timeMs) / 1_000;
    const deliveries = Math.max(1, measured.decoded + measured.read);
    const usPerDelivery = (pid: number): number => ((use.main(pid) + use.others(pid)) * seconds * 1e6) / deliveries;
    return {
      ...measured,
      sent: ran.sent,
      isOverrun: ran.isOverrun,
      missing,
      deliveriesPerS: (ran.counted * this.#crowd.count * 1_000) / ran.countedMs,
      cpuUs: usPerDelivery(this.#lane.pid),
      subscriberUs: usPerDelivery(subscribers.pid),
      bytesPerMessage: measured.bytes / deliveries,
      use,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#bench.signal.aborted) return;
    await this.#bench.subscribers.call('close', this.#name);
    await this.#bench.publisher.call('close', this.#name);
  }

  async #drained(): Promise<number> {
    const { subscribers, signal } = this.#bench;
    const deadlineMs = performance.now() + DRAIN_TIMEOUT_MS;
    let total = await subscribers.call('total', this.#name);
    let movedMs = performance.now();
    while (total < this.#expected) {
      const nowMs = performance.now();
      if (nowMs > deadlineMs || nowMs - movedMs > DRAIN_STALL_MS) break;
      await sleep(20, undefined, { signal });
      const before = total;
      total = await subscribers.call('total', this.#name);
      if (total > before) movedMs = performance.now();
    }
    return total;
  }
}

/** Everything came, in order, once, and within the time. */
export function isKept({ p99, faults, missing, isOverrun, measured }: Span, p99MsMax: number): boolean {
  return measured > 0 && p99 <= p99MsMax && faults === 0 && missing <= 0 && !isOverrun;
}
