import { Writable } from 'node:stream';
import { describe, expect, test } from 'vitest';
import type { WebSocket } from 'ws';
import { unframed } from '../../../test/support/frames.ts';
import { ManualClock } from '../../base/clock.ts';
import type { SightlineError } from '../../base/errors.ts';
import { seededRandom } from '../../base/random.ts';
import { Priority } from '../../base/sample.ts';
import { boundless, MemoryLedger, type MemoryAccount } from '../../fences/memory-ledger.ts';
import { TimeAccount } from '../../fences/turns.ts';
import { Payload } from '../../protocol/payload.ts';
import { decodeTelemetryServerMessage } from '../../protocol/telemetry-codec.ts';
import type { DataMessage, TelemetryContract, TelemetryServerMessage } from '../../protocol/telemetry.ts';
import { Hub } from '../../stream/hub.ts';
import { Topics } from '../../stream/topics.ts';
import { SubscribedTopic } from './subscribed-topic.ts';
import { RangeEncoder } from './encoder.ts';
import { Outbox, type OutboxHost, type OutboxSettings } from './outbox.ts';
import { SocketWriter, type WriterOwner } from './socket-writer.ts';
import { wireFormatOf } from './wire-format.ts';

const SETTINGS: OutboxSettings = {
  targetLatencyMs: 50,
  batchDelayMs: 5,
  batchMessagesMax: 50,
  batchBytesMax: 100_000,
  socketBytesMax: 20_000,
  queueBytesMax: 100_000,
  criticalMessagesMax: 5,
  slowConsumerMs: 30_000,
};

/** The socket's side of a link that passes as many bytes as the simulation lets it. */
class SimulatedLink extends Writable {
  arrived = Buffer.alloc(0);
  #allowedBytes = 0;
  #current: { chunk: Buffer; done: () => void } | undefined;

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.#current = { chunk, done };
    this.#go();
  }

  pass(bytes: number): void {
    this.#allowedBytes += bytes;
    this.#go();
  }

  #go(): void {
    while (this.#current !== undefined && this.#allowedBytes > 0) {
      const { chunk, done } = this.#current;
      const part = chunk.subarray(0, this.#allowedBytes);
      this.#allowedBytes -= part.length;
      this.arrived = Buffer.concat([this.arrived, part]);
      if (part.length < chunk.length) {
        this.#current = { chunk: chunk.subarray(part.length), done };
        return;
      }
      this.#current = undefined;
      done();
    }
  }
}

class Simulation {
  readonly clock = new ManualClock(0);
  readonly link = new SimulatedLink();
  readonly topics: Topics;
  readonly outbox: Outbox;
  readonly subscribed: SubscribedTopic[] = [];
  readonly failures: SightlineError[] = [];
  readonly memory: MemoryAccount;
  wakeMs = Infinity;
  #isEnqueued = false;

  constructor(settings: Partial<OutboxSettings> = {}, historyMessages = 1_000, clientBytesMax = Infinity) {
    const session = { totalBytesMax: Infinity, clientBytesMax };
    this.memory = new MemoryLedger({ ...boundless().bounds, session }).open('telemetry', 'x');
    this.topics = new Topics({
      hub: new Hub({ clock: this.clock, streamsMax: 10 }),
      clock: this.clock,
      random: seededRandom(1),
      settings: {
        topicsMax: 10,
        historyMessages,
        historyBytesMax: 1e8,
        historyDepartedBytesMax: 1e9,
        topicIdleMs: 1e9,
        readersMax: 10,
      },
    });
    const socket = { _socket: this.link, readyState: 1, OPEN: 1, isPaused: false } as unknown as WebSocket;
    const host: OutboxHost = {
      clock: this.clock,
      settings: { ...SETTINGS, ...settings },
      encoder: new RangeEncoder({
        compression: 'none',
        compressionThresholdBytes: 0,
        nsPerByte: 80,
        compressors: {},
        decompressors: {},
        now: () => 0,
        cacheBytesMax: 1e6,
      }),
      rounds: {
        enqueue: () => {
          this.#isEnqueued = true;
        },
        wakeAt: (_sender, timeMs) => {
          this.wakeMs = Math.min(this.wakeMs, timeMs);
        },
      },
      fanout: { offer: () => {}, leave: () => {} },
    };
    const owner: WriterOwner = { onEmptied: () => this.outbox.onEmptied() };
    const writer = new SocketWriter({ host, socket, protocol: 'sightline.v1.json', owner });
    this.outbox = new Outbox({
      host,
      writer,
      owner: {
        memory: this.memory,
        time: new TimeAccount(),
        fail: (reason) => {
          this.failures.push(reason);
          this.outbox.close();
        },
        onDone: () => {},
        peers: () => 1,
      },
    });
  }

  subscribe(name: string, contract: TelemetryContract = 'all'): SubscribedTopic {
    this.publish(name, 0);
    const topic = this.topics.get(name)!;
    const id = this.subscribed.length + 1;
    const reader = topic.stream.subscribeRanges({ contract: { kind: contract === 'latest' ? 'latest' : 'all' } });
    const format = wireFormatOf('sightline.v1.json');
    const subscription = { id, filter: name, contract, format };
    const subscribed = new SubscribedTopic({
      subscription,
      sender: this.outbox,
      topic,
      topicId: id,
      reader,
      isBackfill: false,
      needsOwnBatches: false,
    });
    this.outbox.add(subscribed);
    this.subscribed.push(subscribed);
    return subscribed;
  }

  publish(name: string, bytes: number, priority: Priority = Priority.normal): void {
    this.topics.publish(name, { payload: Payload.of('x'.repeat(bytes)), priority });
    for (const subscribed of this.subscribed.filter(({ topic }) => topic.name === name)) {
      if (priority === Priority.critical) {
        const { stream } = subscribed.topic;
        this.outbox.critical(subscribed, stream.at(stream.head - 1)!);
      }
      subscribed.sendUntil = subscribed.topic.stream.head;
      this.outbox.activate(subscribed);
    }
  }

  /** Returns whether the outbox asked for another flush. */
  flush(untilMs = Infinity): boolean {
    this.#isEnqueued = false;
    this.outbox.flush(this.clock.now(), untilMs);
    return this.#isEnqueued;
  }

  /** The link passes some bytes, and the outbox goes on as long as it has something to do. */
  async pass(bytes: number): Promise<void> {
    this.link.pass(bytes);
    for (let round = 0; round < 100; round++) {
      // The stream tells of a completed write on the next tick.
      await new Promise<void>((resolve) => setImmediate(resolve));
      if (!this.#isEnqueued) return;
      this.#isEnqueued = false;
      this.flush();
    }
  }

  /** Whole messages that have arrived. */
  messages(): TelemetryServerMessage[] {
    return unframed(this.link.arrived).map((frame) => decodeTelemetryServerMessage(frame.toString()));
  }

  of<T extends TelemetryServerMessage['type']>(type: T) {
    return this.messages().filter((m) => m.type === type) as Extract<TelemetryServerMessage, { type: T }>[];
  }

  seqs(subscribed: SubscribedTopic): number[] {
    return this.of('data')
      .filter((m: DataMessage) => m.topic_id === subscribed.topicId)
      .flatMap(({ seq, messages }) => messages.map((_, i) => seq + i));
  }

  expectBalanced(): void {
    for (const { reader } of this.subscribed) {
      const { published, delivered, conflated, dropped, expired, queued } = reader.counts();
      expect(delivered + conflated + expired + queued + Object.values(dropped).reduce((a, b) => a + b, 0)).toBe(
        published,
      );
    }
  }
}

const sequence = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

describe('an idle line', () => {
  test('gets everything at once, several topics in one system call, in one message each', async () => {
    const sim = new Simulation();
    const [a, b] = [sim.subscribe('a'), sim.subscribe('b')];
    for (let i = 0; i < 3; i++) {
      sim.publish('a', 10);
      sim.publish('b', 10);
    }
    sim.flush();
    await sim.pass(10_000);
    expect([sim.seqs(a), sim.seqs(b)]).toEqual([sequence(2, 4), sequence(2, 4)]);
    expect(sim.of('data')).toHaveLength(2);
  });
});

describe('a flush that has taken long enough', () => {
  test('goes on in the next one, and does not wait for the socket before it', async () => {
    const sim = new Simulation({ batchBytesMax: 100 });
    const subscribed = sim.subscribe('a');
    for (let i = 0; i < 3; i++) sim.publish('a', 60);
    const nowMs = sim.clock.now();
    expect(sim.flush(nowMs)).toBe(true);
    const first = sim.outbox.writer.unsentBytes;
    expect(first).toBeGreaterThan(0);
    expect(sim.flush(nowMs)).toBe(true);
    const second = sim.outbox.writer.unsentBytes;
    expect(second).toBeGreaterThan(first);
    expect(sim.flush(nowMs)).toBe(true);
    expect(sim.outbox.writer.unsentBytes).toBeGreaterThan(second);
    expect(sim.flush(nowMs)).toBe(false);
    await sim.pass(100_000);
    expect(sim.seqs(subscribed)).toEqual(sequence(2, 4));
    sim.expectBalanced();
  });
});

describe('a busy line', () => {
  test('gathers for 5 ms, or 50 messages', async () => {
    const sim = new Simulation();
    const subscribed = sim.subscribe('a');
    sim.publish('a', 10);
    sim.flush();
    const unsent = sim.outbox.writer.unsentBytes;
    expect(unsent).toBeGreaterThan(0);
    sim.publish('a', 10);
    sim.flush();
    expect([sim.outbox.writer.unsentBytes, sim.wakeMs]).toEqual([unsent, 5]);
    sim.clock.advance(5);
    sim.flush();
    expect(sim.outbox.writer.unsentBytes).toBeGreaterThan(unsent);
    const gathered = sim.outbox.writer.unsentBytes;
    for (let i = 0; i < 49; i++) sim.publish('a', 10);
    sim.flush();
    expect(sim.outbox.writer.unsentBytes).toBe(gathered);
    sim.publish('a', 10);
    sim.flush();
    await sim.pass(100_000);
    expect(sim.of('data').map(({ messages }) => messages.length)).toEqual([1, 1, 50]);
    expect(sim.seqs(subscribed)).toEqual(sequence(2, 53));
  });

  test('a client that says that it lags gets fewer, larger batches', async () => {
    const sim = new Simulation();
    sim.subscribe('a');
    sim.outbox.report(30);
    sim.publish('a', 10);
    sim.flush();
    const first = sim.outbox.writer.unsentBytes;
    expect(first).toBeGreaterThan(0);
    await sim.pass(first);
    for (let ms = 1; ms < 15; ms++) {
      sim.clock.advance(1);
      sim.publish('a', 10);
      sim.flush();
    }
    expect([sim.outbox.writer.unsentBytes, sim.wakeMs]).toEqual([0, 15]);
    sim.clock.advance(1);
    sim.flush();
    expect(sim.outbox.writer.unsentBytes).toBeGreaterThan(0);
    expect(sim.subscribed[0]!.reader.queued).toBe(0);
    // What comes more seldom does not wait.
    await sim.pass(10_000);
    sim.clock.advance(15);
    sim.publish('a', 10);
    sim.flush();
    expect(sim.subscribed[0]!.reader.queued).toBe(0);
  });

  test('a large topic does not starve a small one', async () => {
    const sim = new Simulation({ queueBytesMax: 1e9, socketBytesMax: 100_000, batchBytesMax: 1e6 });
    sim.subscribe('camera');
    const small = sim.subscribe('pose');
    for (let i = 0; i < 60; i++) sim.publish('camera', 200_000);
    const ages: number[] = [];
    for (let tick = 0; tick < 40; tick++) {
      sim.publish('pose', 100);
      sim.flush();
      await sim.pass(150_000);
      sim.clock.advance(10);
      ages.push(small.topic.lastSeq - (sim.seqs(small).at(-1) ?? 1));
    }
    // Behind what is in the socket already, and at most a few turns of the camera.
    expect(Math.max(...ages)).toBeLessThanOrEqual(5);
    expect(sim.subscribed[0]!.reader.queued).toBeGreaterThan(0);
    sim.expectBalanced();
  });
});

describe('a line that takes too little', () => {
  test('is warned of at 70 %; from 90 % on the lowest class goes first, oldest first, and is told', async () => {
    const sim = new Simulation();
    const subscribed = sim.subscribe('a');
    const classes = [Priority.low, Priority.normal, Priority.high];
    for (let i = 0; i < 125; i++) {
      sim.publish('a', 998, classes[i % 3]!);
      sim.flush();
    }
    const { dropped } = subscribed.reader.counts();
    expect(dropped['slow_reader']).toBeGreaterThan(10);
    sim.expectBalanced();
    await sim.pass(1e6);
    const got = new Set(sim.seqs(subscribed));
    const lost = sequence(2, 126).filter((seq) => !got.has(seq));
    expect(lost).toHaveLength(dropped['slow_reader']!);
    // Message `seq` is the one of i = seq - 2.
    expect(new Set(lost.map((seq) => (seq - 2) % 3))).toEqual(new Set([Priority.low]));
    expect(sim.of('loss').reduce((sum, { count }) => sum + count, 0)).toBe(lost.length);
    expect(sim.of('loss').every(({ cause, id }) => cause === 'slow_reader' && id === 1)).toBe(true);
    expect(sim.of('notice')).toMatchObject([{ reason: 'queue' }]);
    expect(subscribed.reader.counts().queued).toBe(0);
    sim.expectBalanced();
  });

  test('when the lowest class is not enough the next one goes', () => {
    const sim = new Simulation();
    sim.subscribe('a');
    for (let i = 0; i < 300; i++) {
      sim.publish('a', 998, i % 10 === 0 ? Priority.low : Priority.normal);
      sim.flush();
      expect(sim.outbox.queuedBytes).toBeLessThanOrEqual(91_000);
    }
    expect(sim.subscribed[0]!.reader.counts().dropped['slow_reader']).toBeGreaterThan(150);
    sim.expectBalanced();
  });

  test('a reliable reader loses nothing that the history holds', async () => {
    const sim = new Simulation();
    const subscribed = sim.subscribe('a', 'reliable');
    for (let i = 0; i < 300; i++) {
      sim.publish('a', 998);
      sim.flush();
    }
    await sim.pass(1e6);
    expect(sim.seqs(subscribed)).toEqual(sequence(2, 301));
  });

  test('a reliable reader that the history overtakes is told, and begins anew with the latest message', async () => {
    const sim = new Simulation({}, 50);
    const subscribed = sim.subscribe('a', 'reliable');
    for (let i = 0; i < 100; i++) {
      sim.publish('a', 998);
      sim.flush();
    }
    await sim.pass(1e6);
    const got = sim.seqs(subscribed);
    expect(got.at(-1)).toBe(101);
    expect(sim.of('topic')).toMatchObject([{ seq: 100, recovered: false }]);
    expect(sim.of('loss').reduce((sum, { count }) => sum + count, 0)).toBe(100 - got.length);
    sim.expectBalanced();
  });

  test('latest: gets the newest of each topic, however long it took', async () => {
    const sim = new Simulation();
    const subscribed = sim.subscribe('a', 'latest');
    for (let i = 0; i < 100; i++) {
      sim.publish('a', 30_000);
      sim.flush();
    }
    await sim.pass(1e6);
    expect(sim.seqs(subscribed)).toEqual([2, 101]);
    expect(sim.of('loss')).toEqual([]);
    sim.expectBalanced();
  });

  test('is given up after 30 s in which nothing moved', async () => {
    const sim = new Simulation();
    sim.subscribe('a');
    sim.publish('a', 1_000);
    sim.flush();
    sim.clock.advance(29_999);
    const { writer } = sim.outbox;
    expect(writer.check(sim.clock.now())).toBeUndefined();
    sim.clock.advance(1);
    expect(writer.check(sim.clock.now())).toMatchObject({ code: 'SLOW_CONSUMER' });
  });
});

describe('critical messages', () => {
  test('overtake what waits, and are delivered once', async () => {
    const sim = new Simulation();
    const subscribed = sim.subscribe('a');
    for (let i = 0; i < 60; i++) {
      sim.publish('a', 998);
      sim.flush();
    }
    const waiting = subscribed.reader.queued;
    expect(waiting).toBeGreaterThan(20);
    sim.publish('a', 10, Priority.critical);
    sim.outbox.flushCriticals(sim.clock.now());
    expect(subscribed.reader.queued).toBe(waiting);
    await sim.pass(1e6);
    const seqs = sim.seqs(subscribed);
    expect(seqs.indexOf(62)).toBe(60 - waiting);
    expect(seqs.toSorted((a, b) => a - b)).toEqual(sequence(2, 62));
    sim.expectBalanced();
  });

  test('conflation does not touch them', async () => {
    const sim = new Simulation();
    const subscribed = sim.subscribe('a', 'latest');
    sim.publish('a', 30_000);
    sim.flush();
    for (let i = 0; i < 3; i++) {
      sim.publish('a', 1, Priority.critical);
      sim.publish('a', 1);
      sim.flush();
    }
    await sim.pass(1e6);
    expect(sim.seqs(subscribed)).toEqual([2, 3, 5, 7, 8]);
    sim.expectBalanced();
  });

  test('more than the budget end the connection, never in silence', () => {
    const sim = new Simulation();
    const subscribed = sim.subscribe('a');
    // A socket that takes nothing more, not even critical messages.
    sim.publish('a', 90_000);
    sim.flush();
    for (let i = 0; i < 5; i++) sim.publish('a', 10, Priority.critical);
    sim.flush();
    expect([sim.failures, sim.outbox.criticalQueue]).toEqual([[], 5]);
    sim.publish('a', 10, Priority.critical);
    expect(sim.failures).toMatchObject([{ code: 'CRITICAL_BACKLOG' }]);
    subscribed.reader.close();
    expect(subscribed.reader.counts()).toMatchObject({ dropped: { closed: 6 }, queued: 0 });
    sim.expectBalanced();
  });

  test('go on where a socket takes at once all that it is given: nothing else would wake the rest', async () => {
    const sim = new Simulation({ criticalMessagesMax: 1_000 });
    const subscribed = sim.subscribe('a');
    sim.link.pass(1e9);
    await sim.pass(0);
    for (let i = 0; i < 120; i++) sim.publish('a', 10_000, Priority.critical);
    // A batch of 50 is more than the socket is to hold.
    sim.outbox.flushCriticals(0);
    expect(sim.outbox.criticalQueue).toBe(70);
    await sim.pass(0);
    expect([sim.outbox.criticalQueue, sim.seqs(subscribed).length]).toEqual([0, 120]);
    sim.expectBalanced();
  });

  test('are charged while they wait, since no history may hold them any more; so do those that take too much', async () => {
    const sim = new Simulation({ criticalMessagesMax: 1_000 }, 2, 100_000);
    const subscribed = sim.subscribe('a');
    sim.publish('a', 90_000);
    sim.flush();
    for (let i = 0; i < 5; i++) sim.publish('a', 10_000, Priority.critical);
    sim.flush();
    expect(sim.memory.bytes('session')).toBeGreaterThan(50_000);
    expect(sim.memory.bytes('session')).toBeLessThan(60_000);
    await sim.pass(1e6);
    expect([sim.memory.bytes('session'), sim.seqs(subscribed).length]).toEqual([0, 6]);
    sim.publish('a', 90_000);
    sim.flush();
    for (let i = 0; i < 8; i++) sim.publish('a', 11_000, Priority.critical);
    expect(sim.failures).toEqual([]);
    sim.publish('a', 20_000, Priority.critical);
    expect(sim.failures).toMatchObject([{ code: 'CRITICAL_BACKLOG' }]);
    expect(sim.memory.bytes('session')).toBe(0);
    subscribed.reader.close();
    sim.expectBalanced();
  });
});
