import { Pace, type Attack, type Target } from '../target.ts';
import { frame, frameHead, Opcode, type Wire } from '../wire.ts';
import { ATTACKER, publish, telemetryLane, text, videoLane } from './lanes.ts';

/** Connections that take a place, memory, or a handshake, and give nothing. */

/** Of TCP; by default a server lets in twice its `server.max_connections` and 64. */
const SOCKETS = 2_100;
/** WebSockets: more than `server.max_connections`. */
const SESSIONS = 1_100;
const OPENING_PER_S = 2_000;
const AT_ONCE = 25;
const BEAT_MS = 250;

/** Keeps so many connections: what is cut is made again. `beat` comes four times a second for each. */
async function crowd(
  target: Target,
  count: number,
  open: () => Promise<Wire | undefined>,
  beat: (wire: Wire) => void = () => undefined,
): Promise<void> {
  const wires = new Set<Wire>();
  const pace = new Pace(OPENING_PER_S);
  let opening = 0;
  const openOne = async (): Promise<void> => {
    opening += 1;
    const wire = await open();
    opening -= 1;
    if (wire !== undefined) wires.add(wire);
  };
  while (!target.isOver) {
    for (const wire of wires) {
      if (wire.isOpen) continue;
      wires.delete(wire);
      target.drop(wire);
    }
    for (let missing = count - wires.size - opening; missing > 0 && !target.isOver; missing -= AT_ONCE) {
      for (let i = 0; i < Math.min(missing, AT_ONCE); i += 1) void openOne();
      await pace.after(AT_ONCE);
    }
    for (const wire of wires) beat(wire);
    await target.pause(BEAT_MS);
  }
}

/** A connection that has said this much, and then nothing. */
async function said(target: Target, words: string, isHalfOpen = false): Promise<Wire | undefined> {
  const wire = await target.connect({ isHalfOpen });
  wire?.write(words);
  return wire;
}

/** Made and thrown away, `perS` a second over several at once. */
async function storm(target: Target, perS: number, once: () => Promise<void>, sides = 16): Promise<void> {
  await target.side(sides, async () => {
    const pace = new Pace(perS / sides);
    while (!target.isOver) {
      await once();
      await pace.after(1);
    }
  });
}

const HOST = 'Host: localhost\r\n';

const halfOpenUpgrades: Attack = {
  name: 'half_open_upgrades',
  what: '2,100 upgrades to a path that does not exist, each kept half-open after its refusal',
  run: (target) =>
    crowd(target, SOCKETS, () =>
      said(target, `GET /nothing HTTP/1.1\r\n${HOST}Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n`, true),
    ),
};

const upgradeTails: Attack = {
  name: 'upgrade_tails',
  what: '600 upgrades a second to a path that does not exist, after each of which a byte comes that nobody reads, and then the end',
  run: (target) =>
    storm(
      target,
      600,
      async () => {
        const wire = await said(
          target,
          `GET /nothing HTTP/1.1\r\n${HOST}Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n`,
          true,
        );
        if (wire === undefined) return;
        // Behind the refusal: in one packet with the request it would belong to that.
        await target.pause(20);
        wire.write('x');
        await target.pause(20);
        target.drop(wire);
      },
      64,
    ),
};

const slowHeaders: Attack = {
  name: 'slow_headers',
  what: '2,100 requests whose header comes byte by byte and does not end',
  run: (target) =>
    crowd(
      target,
      SOCKETS,
      () => said(target, `GET /health HTTP/1.1\r\n${HOST}X-Slow: `),
      (wire) => wire.write('b'),
    ),
};

const slowBodies: Attack = {
  name: 'slow_bodies',
  what: '1,000 requests whose body comes byte by byte',
  run: (target) => {
    const head = `PUT /api/config HTTP/1.1\r\n${HOST}Content-Type: application/json\r\nContent-Length: 60000\r\n\r\n{`;
    return crowd(
      target,
      1_000,
      () => said(target, head),
      (wire) => wire.write(' '),
    );
  },
};

const silentSockets: Attack = {
  name: 'silent_sockets',
  what: '2,100 connections that say nothing at all',
  run: (target) => crowd(target, SOCKETS, () => target.connect()),
};

const allSessions: Attack = {
  name: 'all_sessions',
  what: '1,100 telemetry sessions at rest from one address, where there are 1,000 places',
  run: (target) => crowd(target, SESSIONS, () => target.webSocket(telemetryLane('json'))),
};

const smallSessions: Attack = {
  name: 'small_sessions',
  what: '900 telemetry sessions, each with a subscription, a topic and four messages a second',
  run: (target) => {
    const opened = new Map<Wire, Buffer>();
    let made = 0;
    const open = async (): Promise<Wire | undefined> => {
      const wire = await target.webSocket(telemetryLane('json'));
      made += 1;
      if (wire === undefined) return undefined;
      opened.set(wire, publish(`small/${made}`, '1'));
      wire.write(text({ type: 'subscribe', id: 1, filter: `small/${made}`, contract: 'latest' }));
      return wire;
    };
    return crowd(target, 900, open, (wire) => wire.write(opened.get(wire)!));
  },
};

/** Below what ends a connection by default: twice `streaming.message_bytes_max`. */
const UNENDED_BYTES = 3_900_000;
const PIECE = Buffer.alloc(130_000, 'x');

const endlessMessages: Attack = {
  name: 'endless_messages',
  what: '200 messages in fragments, 3.9 MB each, whose last fragment never comes',
  run: (target) => {
    const first = frame(Opcode.text, PIECE, false);
    const next = frame(Opcode.continuation, PIECE, false);
    const sent = new Map<Wire, number>();
    return crowd(
      target,
      200,
      () => target.webSocket(telemetryLane('json')),
      (wire) => {
        const bytes = sent.get(wire) ?? 0;
        if (bytes + PIECE.length > UNENDED_BYTES || wire.inFlightBytes > PIECE.length) return;
        wire.write(bytes === 0 ? first : next);
        sent.set(wire, bytes + PIECE.length);
      },
    );
  },
};

const stoppedMidway: Attack = {
  name: 'stopped_midway',
  what: '300 frames of a video session that stop a byte before their end, 2 MB each',
  run: (target) => {
    const size = 2_000_000;
    const sent = new Map<Wire, number>();
    return crowd(
      target,
      300,
      () => target.webSocket(videoLane()),
      (wire) => {
        const bytes = sent.get(wire) ?? 0;
        if (bytes + PIECE.length >= size || wire.inFlightBytes > PIECE.length) return;
        if (bytes === 0) wire.write(frameHead(Opcode.binary, size));
        wire.write(PIECE);
        sent.set(wire, bytes + PIECE.length);
      },
    );
  },
};

const emptyFragments: Attack = {
  name: 'empty_fragments',
  what: 'a message in fragments of no bytes, without an end',
  run: async (target) => {
    const empty = Buffer.concat(Array<Buffer>(2_000).fill(frame(Opcode.continuation, '', false)));
    await target.insist(
      () => target.webSocket(telemetryLane('json')),
      async (wire) => {
        wire.write(frame(Opcode.text, '{', false));
        const pace = new Pace(4_000_000);
        while (await wire.hasRoom(target.untilMs)) {
          wire.write(empty);
          await pace.after(empty.length);
        }
      },
    );
  },
};

const handshakeStorm: Attack = {
  name: 'handshake_storm',
  what: '400 sessions a second, of every lane in turn, cut by RST as soon as they are open',
  run: (target) => {
    let turn = 0;
    return storm(target, 400, async () => {
      turn += 1;
      const lane = turn % 2 === 0 ? videoLane() : telemetryLane('binary');
      const wire = await target.webSocket(lane);
      if (wire !== undefined) target.drop(wire, 'reset');
    });
  },
};

const resumeStorm: Attack = {
  name: 'resume_storm',
  what: '16 sessions that are taken up again by their token, 200 times a second, while the last socket is still open',
  run: (target) =>
    target.side(16, async (i) => {
      const name = `${ATTACKER}${process.pid}-resumed-${i}`;
      const pace = new Pace(200 / 16);
      let token: string | undefined;
      let before: Wire | undefined;
      while (!target.isOver) {
        const lane = telemetryLane('json', { client_id: name, ...(token !== undefined && { token }) });
        const wire = await target.webSocket(lane);
        const welcome = await wire?.firstText();
        token = tokenIn(welcome) ?? token;
        if (before !== undefined) target.drop(before);
        before = wire;
        await pace.after(1);
      }
    }),
};

function tokenIn(welcome: string | undefined): string | undefined {
  const { token } = (welcome === undefined ? {} : JSON.parse(welcome)) as { token?: string };
  return token;
}

const unreadEvents: Attack = {
  name: 'unread_events',
  what: '200 event streams of one session that nobody reads, while it sends broken frames for answers',
  run: async (target) => {
    let request = '';
    const streams = crowd(target, 200, async () => {
      if (request === '') return undefined;
      const wire = await target.connect({ reads: false });
      wire?.write(request);
      return wire;
    });
    const broken = frame(Opcode.binary, Buffer.from([0xff, 0xd8, 0xff, 0xd9]));
    const name = `${ATTACKER}${process.pid}-events`;
    const session = target.insist(
      () => target.webSocket(videoLane({ client_id: name })),
      async (wire) => {
        const token = tokenIn(await wire.firstText());
        request = `GET /stream/events/${name}?token=${token} HTTP/1.1\r\n${HOST}\r\n`;
        const pace = new Pace(200);
        while (await wire.hasRoom(target.untilMs)) {
          wire.write(broken);
          await pace.after(1);
        }
      },
    );
    await Promise.all([session, streams]);
  },
};

const pipelinedMetrics: Attack = {
  name: 'pipelined_metrics',
  what: 'requests for all metrics, one behind the other on 20 connections, whose answers nobody reads',
  run: async (target) => {
    const requests = Buffer.from(`GET /api/performance/metrics HTTP/1.1\r\n${HOST}\r\n`.repeat(200));
    await target.side(20, () =>
      target.insist(
        () => target.connect({ reads: false }),
        async (wire) => {
          const pace = new Pace(100_000);
          while (await wire.hasRoom(target.untilMs, requests.length)) {
            wire.write(requests);
            await pace.after(requests.length);
          }
        },
      ),
    );
  },
};

export const SOCKETS_ATTACKS: readonly Attack[] = [
  halfOpenUpgrades,
  upgradeTails,
  slowHeaders,
  slowBodies,
  silentSockets,
  allSessions,
  smallSessions,
  endlessMessages,
  stoppedMidway,
  emptyFragments,
  handshakeStorm,
  resumeStorm,
  unreadEvents,
  pipelinedMetrics,
];
