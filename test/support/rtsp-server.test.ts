import { once } from 'node:events';
import { connect } from 'node:net';
import { Decoder, Demuxer } from 'node-av/api';
import { AV_PKT_DATA_PRFT } from 'node-av/constants';
import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import { systemClock } from '../../src/base/clock.ts';
import { seededRandom } from '../../src/base/random.ts';
import { numberedClip } from './coded-clip.ts';
import type { CodedClip } from './coded-clip.ts';
import { readNumber } from './picture-number.ts';
import { packetsOf } from './rtsp/packets.ts';
import { RtspPlayer } from './rtsp/player.ts';
import { RtspServer } from './rtsp-server.ts';
import type { RtspServerOptions } from './rtsp-server.ts';

/** Real clients: FFmpeg's. */

const RATE_FPS = 100;
const TICKS = 90_000 / RATE_FPS;
let clip: CodedClip;
let server: RtspServer;
beforeAll(async () => {
  clip = await numberedClip({ keyEvery: 10 });
});
afterEach(() => server.close());

async function open(
  cameras: RtspServerOptions['cameras'] = { gate: { clip, rateFps: RATE_FPS } },
): Promise<RtspServer> {
  return (server = await RtspServer.open({ cameras }));
}

const play = (url: string, options: Readonly<Record<string, string | number>> = {}) =>
  Demuxer.open(url, { skipStreamInfo: true, options: { rtsp_transport: 'tcp', timeout: 10_000_000, ...options } });

interface Seen {
  readonly number: number | undefined;
  readonly width: number;
}

/** Decodes until `count` pictures are there. `onPicture` is called behind each. */
async function watch(
  url: string,
  count: number,
  transport = 'tcp',
  onPicture?: (seen: Seen[]) => void,
): Promise<Seen[]> {
  const seen: Seen[] = [];
  await using demuxer = await play(url, { rtsp_transport: transport });
  // Before the first parameter sets, and where they are damaged, frames cannot be decoded.
  using decoder = await Decoder.create(demuxer.video()!, { context: { threadCount: 1 }, exitOnError: false });
  for await (const frame of decoder.frames(demuxer.packets())) {
    if (!frame) break;
    const { width, height } = frame;
    seen.push({ width, number: readNumber({ data: frame.toBuffer(), width, height, pixelBytes: 1 }) });
    frame.free();
    onPicture?.(seen);
    if (seen.length >= count) break;
  }
  return seen;
}

interface Taken {
  readonly pts: number;
  /** NTP time of the packet by the sender reports, Unix ms; undefined: there were none. */
  readonly capturedMs: number | undefined;
}

/** `onPacket` is called behind each, and ends it by returning true. */
async function take(url: string, count: number, onPacket?: (taken: Taken[]) => unknown): Promise<Taken[]> {
  const taken: Taken[] = [];
  await using demuxer = await play(url);
  for await (const packet of demuxer.packets()) {
    if (!packet) break;
    const prft = packet.getSideData(AV_PKT_DATA_PRFT);
    taken.push({ pts: Number(packet.pts), capturedMs: prft ? Number(prft.readBigInt64LE(0)) / 1000 : undefined });
    packet.free();
    if (onPacket?.(taken) === true || taken.length >= count) break;
  }
  return taken;
}

const differences = (values: readonly number[]) => values.slice(1).map((value, i) => value - values[i]!);

/** Numbers rise by one each, and begin again at the clip's end. */
function expectInARow(seen: readonly Seen[], frames: number): void {
  expect(seen.every(({ number }) => number !== undefined)).toBe(true);
  const steps = differences(seen.map(({ number }) => number!)).map((step) => (step + frames) % frames);
  expect(new Set(steps)).toEqual(new Set([1]));
}

describe('a camera plays', () => {
  test.each([
    { codec: 'h264', transport: 'tcp' },
    { codec: 'h264', transport: 'udp' },
    { codec: 'hevc', transport: 'tcp' },
    { codec: 'hevc', transport: 'udp' },
  ] as const)('each picture of $codec in its turn, looped, by $transport', async ({ codec, transport }) => {
    const played = codec === 'h264' ? clip : await numberedClip({ codec, keyEvery: 10 });
    const { url, camera } = await openOne({ clip: played, rateFps: RATE_FPS });
    expectInARow(await watch(url, 55, transport), 50);
    expect(camera.counts).toMatchObject({ plays: 1, framesDropped: 0, packetsLost: 0 });
    await expect.poll(() => [camera.clients, server.connections]).toEqual([0, 0]);
  });

  test('pictures in another order than they are coded', async () => {
    const { url } = await openOne({
      clip: await numberedClip({ keyEvery: 10, bFrames: 2, options: { preset: 'fast' } }),
    });
    expectInARow(await watch(url, 30), 50);
  });

  test('to several at once the same, each camera in a phase of its own', async () => {
    await open({ a: { clip, rateFps: RATE_FPS }, b: { clip, rateFps: RATE_FPS } });
    await Promise.all(['a', 'a', 'b'].map(async (name) => expectInARow(await watch(server.url(name), 30), 50)));
    expect(server.camera('a').counts.plays).toBe(2);
    expect(server.camera('a').timestamp).not.toBe(server.camera('b').timestamp);
  });

  test('and says when each was taken, by a clock of its own or by none', async () => {
    const { url, camera } = await openOne();
    const HOUR_MS = 3_600_000;
    camera.ntpOffsetMs = HOUR_MS;
    const sentMs: number[] = [];
    camera.onFrame = ({ timeMs }) => sentMs.push(timeMs + systemClock.wallAheadMs());
    const told = (await take(url, 20)).map(({ capturedMs }) => capturedMs! - HOUR_MS);
    // A frame may be late on its way, but was not taken behind that; FFmpeg counts in whole ticks.
    expect(told[0]).toBeLessThan(sentMs[0]! + 3);
    expect(told[0]).toBeGreaterThan(sentMs[0]! - 6000);
    for (const step of differences(told)) expect(Math.abs(step - 1000 / RATE_FPS)).toBeLessThan(1);
    camera.ntpOffsetMs = null;
    expect((await take(url, 5)).map(({ capturedMs }) => capturedMs)).toEqual(
      Array.from({ length: 5 }, () => undefined),
    );
  });

  test.each([['described'], ['in_band']] as const)('with parameter sets %s alone', async (sets) => {
    const { url, camera } = await openOne();
    camera.sets = sets;
    expectInARow(await watch(url, 20), 50);
  });

  test('without the marks of a frame that is whole', async () => {
    const { url, camera } = await openOne();
    camera.hasMarkers = false;
    expectInARow(await watch(url, 20), 50);
  });
});

describe('credentials', () => {
  test.each(['basic', 'digest'] as const)('%s', async (scheme) => {
    const { url, camera } = await openOne({
      clip,
      rateFps: RATE_FPS,
      credentials: { scheme, user: 'viewer', password: 'open sesame' },
    });
    await expect(play(url)).rejects.toThrow('401');
    await expect(play(server.url('gate', 'viewer:wrong'))).rejects.toThrow('401');
    expect(await take(server.url('gate', 'viewer:open%20sesame'), 2)).toHaveLength(2);
    camera.mode = 'unauthorized';
    await expect(play(server.url('gate', 'viewer:open%20sesame'))).rejects.toThrow('401');
  });
});

describe('a camera does wrong', () => {
  test.each([
    ['not_found', '404'],
    ['garbage', ''],
    ['close', ''],
  ] as const)('%s', async (mode, reason) => {
    const { url, camera } = await openOne();
    camera.mode = mode;
    await expect(play(url, { timeout: 500_000 })).rejects.toThrow(reason);
  });

  test('it hangs', async () => {
    const { url, camera } = await openOne();
    camera.mode = 'hang';
    const opened = play(url, { timeout: 300_000 });
    await expect(opened).rejects.toThrow('Failed to open');
    expect(camera.counts).toMatchObject({ requests: 1, plays: 0 });
  });

  test('there is none, and there is no server', async () => {
    await open();
    await expect(play(server.url('attic'))).rejects.toThrow('404');
    const url = server.url('gate');
    await server.close();
    await expect(play(url)).rejects.toThrow('refused');
    await open();
  });

  test('it sends elsewhere', async () => {
    await open({ gate: { clip, rateFps: RATE_FPS }, other: { clip, rateFps: RATE_FPS } });
    server.camera('gate').redirectTo = server.url('other');
    expectInARow(await watch(server.url('gate'), 5), 50);
    expect(server.camera('gate').counts.plays).toBe(0);
    expect(server.camera('other').counts.plays).toBe(1);
  });

  test('it stalls, and goes on', async () => {
    const { url, camera } = await openOne();
    await using demuxer = await play(url);
    const packets = demuxer.packets();
    await packets.next();
    camera.mode = 'stall';
    await expect.poll(() => camera.counts.frames).toBeGreaterThan(0);
    const { frames } = camera.counts;
    // A camera beside it is served on.
    const beside = server.add('beside', { clip, rateFps: RATE_FPS });
    expectInARow(await watch(server.url('beside'), 10), 50);
    expect(beside.counts.plays).toBe(1);
    expect(camera.counts.frames).toBe(frames);
    expect(camera.clients).toBe(1);
    camera.mode = 'play';
    await expect.poll(() => camera.counts.frames).toBeGreaterThan(frames);
  });

  test('it ends, by itself or at once', async () => {
    const { url, camera } = await openOne();
    const seen = await watch(url, 1000, 'tcp', ({ length }) => length === 5 && camera.closeClients());
    expect(seen.length).toBeGreaterThanOrEqual(5);
    expect(seen.length).toBeLessThan(1000);
    camera.mode = 'end';
    expect((await take(url, 1000)).length).toBeLessThanOrEqual(1);
  });

  test('its timestamps jump, and wrap', async () => {
    const { url, camera } = await openOne();
    const stepsOf = (taken: readonly Taken[]) => differences(taken.slice(1).map(({ pts }) => pts));
    // A client that is behind has frames still to take that were sent before.
    const taken = await take(url, Infinity, (all) => {
      if (all.length === 10) camera.setTimestamp(camera.timestamp + 900_000);
      return stepsOf(all).at(-10)! > TICKS;
    });
    expect(stepsOf(taken).filter((step) => step !== TICKS)).toEqual([900_000 + TICKS]);
    const sent: number[] = [];
    camera.onFrame = ({ timestamp }) => sent.push(timestamp);
    // Its time goes on until somebody plays.
    camera.setTimestamp(2 ** 32 - 100 * TICKS);
    await take(url, Infinity, () => sent.at(-1)! < sent[0]!);
    const turn = sent.indexOf(0);
    expect(sent[turn - 1]).toBe(2 ** 32 - TICKS);
    expect(new Set(differences(sent.slice(0, turn)))).toEqual(new Set([TICKS]));
    expect(differences(sent.slice(turn)).every((step) => step === TICKS)).toBe(true);
  });

  test('its pictures change their size on the way', async () => {
    const { url, camera } = await openOne();
    const larger = await numberedClip({ width: 640, height: 360, frames: 20, keyEvery: 10 });
    const seen = await watch(url, 40, 'tcp', ({ length }) => length === 10 && camera.change(larger));
    const widths = seen.map(({ width }) => width);
    const turn = widths.indexOf(640);
    expect(turn).toBeGreaterThan(0);
    expect(new Set(widths.slice(turn))).toEqual(new Set([640]));
    expect(seen[turn]!.number).toBe(0);
    expectInARow(seen.slice(0, turn), 50);
    expectInARow(seen.slice(turn), 20);
  });

  test('packets are lost on their way', async () => {
    const { url, camera } = await openOne();
    camera.lossShare = 0.1;
    await watch(url, 40, 'udp');
    expect(camera.counts.packetsLost).toBeGreaterThan(3);
    const { packetsLost } = camera.counts;
    await watch(url, 10, 'tcp');
    expect(camera.counts.packetsLost).toBe(packetsLost);
  });

  test('and damaged', async () => {
    const { url, camera } = await openOne();
    camera.damageShare = 1;
    const damaged = watch(url, 20);
    await expect.poll(() => camera.counts.frames).toBeGreaterThan(20);
    camera.damageShare = 0;
    const seen = await damaged;
    expect(seen.some(({ number }) => number !== undefined)).toBe(true);
  });

  test('it has sound alone', async () => {
    const { url, camera } = await openOne();
    camera.hasPicture = false;
    await using demuxer = await play(url);
    expect(demuxer.video()).toBeUndefined();
    expect(demuxer.audio()!.codecpar.sampleRate).toBe(8000);
    const { value: packet } = await demuxer.packets().next();
    expect(packet!.size).toBe(160);
    packet!.free();
  });
});

test('a client that is no client is let go', async () => {
  await open();
  for (const words of ['GET / HTTP/1.1\r\n\r\n', 'x'.repeat(20_000)]) {
    const socket = connect(server.port, '127.0.0.1');
    socket.on('error', () => undefined);
    socket.write(words);
    await once(socket, 'close');
  }
  await expect.poll(() => server.connections).toBe(0);
});

test('a client that is too slow misses frames up to a key frame', async () => {
  await open();
  const sent: Buffer[] = [];
  const link = {
    hasRoom: true,
    channel: 0,
    send: (bytes: Buffer) => void sent.push(bytes),
    sendReport: () => undefined,
  };
  const player = new RtspPlayer(link, seededRandom(1));
  const packets = packetsOf([Buffer.from('unit'), Buffer.from('another')]);
  const frame = { packets, timestamp: 0, payloadType: 96, hasMarker: true, ntpMs: null, damageShare: 0 };
  const results = [true, false, true, true, true].map((hasRoom, index) => {
    link.hasRoom = hasRoom;
    return player.send({ ...frame, isKey: index === 3 }, 0, 1000);
  });
  expect(results).toEqual([true, false, false, true, true]);
  const marks = sent[0]!.readUInt8(5) >> 7;
  expect(marks).toBe(0);
  expect(sent[0]!.readUInt8(packets.starts[1]! + 5) >> 7).toBe(1);
  expect(differences(sent.map((bytes) => bytes.readUInt16BE(6)))).toEqual([2, 2]);
});

async function openOne(options: RtspServerOptions['cameras'][string] = { clip, rateFps: RATE_FPS }) {
  await open({ gate: options });
  return { url: server.url('gate'), camera: server.camera('gate') };
}
