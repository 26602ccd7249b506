import { setTimeout as sleep } from 'node:timers/promises';
import { FOXGLOVE } from '../../bench/fences/attacks/lanes.ts';
import { frame, frameHead, Opcode, Wire } from '../../bench/fences/wire.ts';
import { seededRandom, type Random } from '../../src/base/random.ts';
import { damaged, pick, under } from './damage.ts';
import {
  foxgloveMessage,
  httpRequest,
  telemetryMessage,
  videoMessage,
  type Message,
  type Numbers,
} from './messages.ts';

/**
 * One client that does whatever a client can do: lives one after the other, each a connection on some lane, with messages valid and not, sent
 * whole, cut, glued or in fragments, read fast, slowly or never, and closed in every way. What a life does follows from the seed and its
 * number, whatever the server answers; only how far it comes does not.
 */

export interface ActorOptions {
  readonly seed: number;
  /** Its number among all of them. */
  readonly index: number;
  readonly port: number;
  readonly from: string | undefined;
  /** Something came that no server may send. */
  readonly onFault: (what: string) => void;
}

const KINDS = ['video', 'json', 'msgpack', 'binary', 'foxglove', 'http', 'raw'] as const;
type Kind = (typeof KINDS)[number];
const READINGS = ['fast', 'slow', 'never'] as const;
type Reading = (typeof READINGS)[number];

const STEPS_MAX = 80;
const LOG_MAX = 60;
const LOG_BYTES_MAX = 48;
const IN_FLIGHT_BYTES_MAX = 2_000_000;
const STEP_TIMEOUT_MS = 1_000;
const DAMAGED_SHARE = 0.1;
/** What the server says where it does not know what went wrong: its own fault, whatever was sent. */
const INTERNAL = Buffer.from('"code":"INTERNAL"');

export class Actor {
  readonly name: string;
  readonly #options: ActorOptions;
  readonly #log: string[] = [];
  /** Tokens of its own sessions, by lane. */
  readonly #tokens = new Map<'video' | 'telemetry', string>();
  #lives = 0;
  #actions = 0;

  constructor(options: ActorOptions) {
    this.#options = options;
    this.name = `fuzz-${options.index}`;
  }

  /** What it did last, newest last. */
  get log(): readonly string[] {
    return this.#log;
  }

  get counts(): { readonly lives: number; readonly actions: number } {
    return { lives: this.#lives, actions: this.#actions };
  }

  /** Until a moment on `performance.now()`. */
  async run(untilMs: number): Promise<void> {
    while (performance.now() < untilMs) {
      this.#lives += 1;
      // Each by itself: one that the server cut short does not change the next.
      const random = seededRandom(this.#options.seed * 1_000_003 + this.#options.index * 7_919 + this.#lives);
      await this.#live(random, untilMs);
      await sleep(under(random, 200));
    }
  }

  async #live(random: Random, untilMs: number): Promise<void> {
    const kind = pick(random, KINDS);
    const reading = pick(random, READINGS);
    const path = this.#pathOf(kind, random);
    this.#note(`life ${this.#lives}: ${kind}, reads ${reading}${path === undefined ? '' : `, ${path}`}`);
    let wire: Wire;
    try {
      const { port, from } = this.#options;
      wire = await Wire.open({ port, from, reads: reading !== 'never', isHalfOpen: random() < 0.2 });
    } catch (thrown) {
      this.#note(`not taken: ${(thrown as Error).message}`);
      return;
    }
    try {
      if (path !== undefined && !(await this.#open(wire, kind, path))) return;
      if (reading !== 'never') this.#listen(wire);
      await this.#act(wire, kind, reading, random, untilMs);
      await this.#close(wire, random);
    } finally {
      wire.destroy();
    }
  }

  /** Undefined: no WebSocket. */
  #pathOf(kind: Kind, random: Random): string | undefined {
    if (kind === 'http' || kind === 'raw') return undefined;
    if (kind === 'foxglove') return FOXGLOVE.path;
    const lane = kind === 'video' ? 'video' : 'telemetry';
    const query = new URLSearchParams();
    const resumes = random();
    if (resumes < 0.7) query.set('client_id', `${this.name}-${lane}`);
    // Somebody else's name, which is refused.
    else if (resumes < 0.8) query.set('client_id', lane === 'video' ? 'innocent-camera' : 'innocent-reader');
    const token = random() < 0.9 ? this.#tokens.get(lane) : 'wrong';
    if (resumes < 0.7 && token !== undefined) query.set('token', token);
    if (random() < 0.2) query.set('resume', pick(random, ['true', 'false', 'maybe']));
    if (kind === 'video' && random() < 0.5) {
      const more = pick(random, [
        'format=msgpack',
        'budget_ms=500',
        'priority=low',
        'pipeline=objects',
        'pipeline=x',
        'odd=1',
      ]);
      const [key, value] = more.split('=') as [string, string];
      query.set(key, value);
    }
    return `/ws/${lane}?${query}`;
  }

  /** False: refused, which is as good as any other end. */
  async #open(wire: Wire, kind: Kind, path: string): Promise<boolean> {
    const protocol = kind === 'video' ? undefined : kind === 'foxglove' ? FOXGLOVE.protocol : `sightline.v1.${kind}`;
    if (!(await wire.upgrade(path, protocol))) {
      this.#note('refused');
      return false;
    }
    if (kind === 'foxglove') return true;
    const token = /"token":"([^"]+)"/.exec((await wire.firstText()) ?? '')?.[1];
    if (token !== undefined && path.includes(`client_id=${this.name}-`)) {
      this.#tokens.set(kind === 'video' ? 'video' : 'telemetry', token);
    }
    return true;
  }

  #listen(wire: Wire): void {
    wire.onBytes((bytes) => {
      if (bytes.includes(INTERNAL))
        this.#options.onFault(`${this.name} was told INTERNAL: ${bytes.toString('latin1')}`);
    });
  }

  async #act(wire: Wire, kind: Kind, reading: Reading, random: Random, untilMs: number): Promise<void> {
    const numbers: Numbers = { seq: 0 };
    const steps = 1 + under(random, STEPS_MAX);
    for (let step = 0; step < steps; step += 1) {
      const next = this.#bytesOf(kind, random, numbers);
      if (reading === 'slow') wire.reading = random() < 0.3;
      const waitMs = random() < 0.3 ? under(random, 60) : 0;
      if (
        performance.now() >= untilMs ||
        !(await wire.hasRoom(performance.now() + STEP_TIMEOUT_MS, IN_FLIGHT_BYTES_MAX))
      ) {
        this.#note(wire.isOpen ? 'no room' : 'cut');
        return;
      }
      this.#actions += 1;
      this.#note(`${next.what}: ${next.bytes.length} bytes ${next.bytes.subarray(0, LOG_BYTES_MAX).toString('hex')}`);
      await this.#send(wire, next.bytes, random);
      await sleep(waitMs);
    }
  }

  #bytesOf(kind: Kind, random: Random, numbers: Numbers): { readonly what: string; readonly bytes: Buffer } {
    if (kind === 'raw') {
      const bytes = Buffer.from(Array.from({ length: 1 + under(random, 200) }, () => under(random, 256)));
      return { what: 'rubbish', bytes };
    }
    if (kind === 'http') {
      const own = { name: `${this.name}-video`, token: this.#tokens.get('video') ?? 'none' };
      const { what, bytes } = httpRequest(random, own);
      return { what, bytes: Buffer.from(random() < DAMAGED_SHARE ? damaged(bytes, random) : bytes) };
    }
    const message =
      kind === 'video'
        ? videoMessage(random, numbers)
        : kind === 'foxglove'
          ? foxgloveMessage(random)
          : telemetryMessage(kind, random, numbers);
    const { what, bytes } = random() < DAMAGED_SHARE ? damagedMessage(message, random) : message;
    return framed({ ...message, what, bytes }, random);
  }

  async #send(wire: Wire, bytes: Buffer, random: Random): Promise<void> {
    if (random() < 0.85 || bytes.length < 2) {
      wire.write(bytes);
      return;
    }
    const at = 1 + under(random, bytes.length - 1);
    wire.write(bytes.subarray(0, at));
    await sleep(under(random, 30));
    wire.write(bytes.subarray(at));
  }

  async #close(wire: Wire, random: Random): Promise<void> {
    const how = under(random, 6);
    this.#note(`ends: ${['close 1000', 'close 4000', 'odd close', 'FIN', 'RST', 'nothing'][how]}`);
    if (how < 3) {
      const code = Buffer.alloc(2);
      code.writeUInt16BE([1_000, 4_000, under(random, 65_536)][how]!);
      wire.write(frame(Opcode.close, Buffer.concat([code, Buffer.from('bye')])));
      await sleep(under(random, 50));
    } else if (how === 3) {
      wire.end();
      await sleep(under(random, 50));
    } else if (how === 4) wire.reset();
  }

  #note(what: string): void {
    this.#log.push(what);
    if (this.#log.length > LOG_MAX) this.#log.shift();
  }
}

function damagedMessage(message: Message, random: Random): Pick<Message, 'what' | 'bytes'> {
  return { what: `${message.what}, damaged`, bytes: damaged(message.bytes, random) };
}

/** A message as one frame or several, or what is no message at all. */
function framed({ isText, bytes, what }: Message, random: Random): { readonly what: string; readonly bytes: Buffer } {
  const opcode = isText ? Opcode.text : Opcode.binary;
  switch (under(random, 30)) {
    case 0:
      return { what: `${what}, as the other kind`, bytes: frame(isText ? Opcode.binary : Opcode.text, bytes) };
    case 1:
      return { what: `${what}, cut`, bytes: frame(opcode, bytes).subarray(0, 1 + under(random, bytes.length + 6)) };
    case 2:
      return { what: `${what}, announced longer`, bytes: Buffer.concat([frameHead(opcode, bytes.length + 9), bytes]) };
    case 3:
      return { what: 'ping', bytes: frame(Opcode.ping, bytes.subarray(0, 125)) };
    case 4:
      return { what: 'pong', bytes: frame(Opcode.pong, bytes.subarray(0, 10)) };
    case 5:
      return { what: 'reserved opcode', bytes: frame(3 as Opcode, bytes) };
    case 6:
      return { what: `${what}, never finished`, bytes: frame(opcode, bytes, false) };
    case 7:
    case 8:
    case 9: {
      const at = under(random, bytes.length);
      const parts = [
        frame(opcode, bytes.subarray(0, at), false),
        frame(Opcode.ping, 'between'),
        frame(Opcode.continuation, bytes.subarray(at)),
      ];
      return { what: `${what}, in fragments`, bytes: Buffer.concat(parts) };
    }
    case 10: {
      const one = frame(opcode, bytes);
      return { what: `${what}, three times at once`, bytes: Buffer.concat([one, one, one]) };
    }
    default:
      return { what, bytes: frame(opcode, bytes) };
  }
}
