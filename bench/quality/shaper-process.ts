import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { setPriority } from 'node:os';
import { seededRandom } from '../../src/base/random.ts';
import { offer } from '../support/children.ts';
import { SharedClock } from '../support/shared-clock.ts';
import { percentile } from '../support/statistics.ts';
import { Capacity, type CapacityStep } from './capacity.ts';
import { PassageLog, type Passage } from './passages.ts';
import { ShapedPath } from './shaper.ts';

/** A link between clients and a server: a TCP proxy that lets bytes through as a link of a given capacity and delay would. */

export interface DirectionPlan {
  /** Times from the start of the run on; before it the first step holds. */
  readonly steps: readonly CapacityStep[];
  readonly delayMs: number;
  readonly jitterMs: number;
}

export interface LinkPlan {
  /** Where clients are waited for. */
  readonly host: string;
  readonly targetPort: number;
  /** Each gets a port of its own; all share the link. */
  readonly clients: number;
  readonly clockDistanceMs: number;
  /** Zero of all other times, on the shared clock. */
  readonly startTimeMs: number;
  readonly seed: number;
  readonly up: DirectionPlan;
  readonly down: DirectionPlan;
}

export interface LinkLog {
  /** Up, by client; times from the start of the run on. */
  readonly passages: readonly (readonly Passage[])[];
  readonly backlogBytesMax: number;
  /** How much later than due packets were handed on. */
  readonly lateMsP50: number;
  readonly lateMsP99: number;
}

/** In front of the bottleneck; what it does not take waits in the sender's socket. */
const QUEUE_BYTES_MAX = 128 * 1024;
/** What a receiver may leave unread; a link has no place for more. */
const UNREAD_BYTES_MAX = 8 * 2 ** 20;
const LATE_SAMPLES_MAX = 200_000;
const REAL_TIME_PRIORITY = '10';
const NICE = -15;

interface End {
  readonly socket: Socket;
  /** Of the client's bytes alone. */
  readonly log: PassageLog | undefined;
}

interface Direction {
  readonly path: ShapedPath<End>;
  readonly capacity: Capacity;
  /** Whose bytes go this way. */
  readonly senders: Set<Socket>;
  isHeldUp: boolean;
}

class ShapedLink {
  readonly #plan: LinkPlan;
  readonly #clock: SharedClock;
  readonly #directions: Readonly<Record<'up' | 'down', Direction>>;
  readonly #servers: Server[] = [];
  readonly #logs: PassageLog[] = [];
  readonly #lateMs: number[] = [];
  #backlogBytesMax = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(plan: LinkPlan) {
    this.#plan = plan;
    this.#clock = new SharedClock(plan.clockDistanceMs);
    const random = seededRandom(plan.seed);
    const direction = ({ steps, delayMs, jitterMs }: DirectionPlan): Direction => {
      const capacity = new Capacity(steps);
      const path = new ShapedPath<End>({ capacity, delayMs, jitterMs, queueBytesMax: QUEUE_BYTES_MAX, random });
      return { path, capacity, senders: new Set(), isHeldUp: false };
    };
    this.#directions = { up: direction(plan.up), down: direction(plan.down) };
  }

  async listen(): Promise<number[]> {
    for (let i = 0; i < this.#plan.clients; i += 1) {
      const log = new PassageLog();
      const server = createServer({ noDelay: true }, (client) => this.#join(client, log));
      // One client each, so that its log holds its bytes alone.
      server.maxConnections = 1;
      server.listen(0, this.#plan.host);
      await once(server, 'listening');
      this.#servers.push(server);
      this.#logs.push(log);
    }
    return this.#servers.map((server) => (server.address() as AddressInfo).port);
  }

  change(name: 'up' | 'down', bps: number): void {
    this.#directions[name].capacity.change(this.#now(), bps);
    this.#move();
  }

  close(): LinkLog {
    this.#move();
    clearTimeout(this.#timer);
    for (const server of this.#servers) server.close();
    for (const { senders } of Object.values(this.#directions)) for (const socket of senders) socket.destroy();
    const late = (percent: number): number => (this.#lateMs.length === 0 ? 0 : percentile(this.#lateMs, percent));
    return {
      passages: this.#logs.map(({ passages }) => passages),
      backlogBytesMax: this.#backlogBytesMax,
      lateMsP50: late(50),
      lateMsP99: late(99),
    };
  }

  #now(): number {
    return this.#clock.now() - this.#plan.startTimeMs;
  }

  #join(client: Socket, log: PassageLog): void {
    const server = connect({ port: this.#plan.targetPort, host: '127.0.0.1', noDelay: true });
    const end = (): void => {
      client.destroy();
      server.destroy();
    };
    const { up, down } = this.#directions;
    this.#carry(client, up, { socket: server, log }, end);
    this.#carry(server, down, { socket: client, log: undefined }, end);
  }

  #carry(from: Socket, direction: Direction, to: End, end: () => void): void {
    const { path, senders } = direction;
    senders.add(from);
    const take = (bytes: Uint8Array): void => {
      const nowMs = this.#now();
      to.log?.arrived(bytes, nowMs);
      path.send(to, bytes, nowMs);
      this.#backlogBytesMax = Math.max(this.#backlogBytesMax, path.backlogBytes);
      this.#move();
    };
    from.on('data', take);
    from.on('end', () => take(new Uint8Array()));
    from.on('error', end);
    from.on('close', () => senders.delete(from));
    if (direction.isHeldUp) from.pause();
  }

  /** Everything that is due goes on; looks again when something will be. */
  #move(): void {
    const nowMs = this.#now();
    for (const direction of Object.values(this.#directions)) this.#moveAlong(direction, nowMs);
    clearTimeout(this.#timer);
    const nextMs = Math.min(...Object.values(this.#directions).map(({ path }) => path.nextMs));
    if (nextMs < Infinity) this.#timer = setTimeout(() => this.#move(), Math.max(0, nextMs - nowMs));
  }

  #moveAlong(direction: Direction, nowMs: number): void {
    const { path, senders } = direction;
    const { served, delivered } = path.advance(nowMs);
    for (const { owner, bytes, beginMs, endMs } of served) owner.log?.served(bytes.length, beginMs, endMs);
    for (const { socket } of new Set(delivered.map(({ owner }) => owner))) {
      socket.cork();
      // What is handed on in one turn makes one write.
      process.nextTick(() => socket.uncork());
    }
    for (const { owner, bytes, dueMs } of delivered) {
      if (this.#lateMs.length < LATE_SAMPLES_MAX) this.#lateMs.push(nowMs - dueMs);
      if (owner.socket.destroyed) continue;
      if (bytes.length === 0) owner.socket.end();
      else owner.socket.write(bytes);
      if (owner.socket.writableLength > UNREAD_BYTES_MAX) owner.socket.destroy(new Error('the receiver does not read'));
    }
    if (direction.isHeldUp === path.isFull) return;
    direction.isHeldUp = path.isFull;
    for (const socket of senders) {
      if (path.isFull) socket.pause();
      else socket.resume();
    }
  }
}

/** A real link takes no turns with the programs that it connects. Only where the user may; `link_late_ms_p99` tells what came of it. */
function comeFirst(): void {
  try {
    execFileSync('chrt', ['--fifo', '--pid', REAL_TIME_PRIORITY, String(process.pid)], { stdio: 'ignore' });
  } catch {
    try {
      setPriority(NICE);
    } catch {
      // Then it waits for its turn.
    }
  }
}

comeFirst();
let link: ShapedLink | undefined;

const api = {
  /** Gives a port for each client. */
  open: async (plan: LinkPlan): Promise<number[]> => {
    link?.close();
    link = new ShapedLink(plan);
    return await link.listen();
  },

  /** From now on; what was planned for later is forgotten. */
  change: ({ direction, bps }: { direction: 'up' | 'down'; bps: number }): void => link?.change(direction, bps),

  /** Every connection is cut. */
  close: (): LinkLog => {
    const log = link!.close();
    link = undefined;
    return log;
  },
};

export type ShaperApi = typeof api;

offer(api);
