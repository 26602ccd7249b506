import { frame, Opcode } from '../wire.ts';
import { flood, many, type Attack, type Lane } from '../target.ts';
import { FOXGLOVE, telemetryLane, text, videoLane } from './lanes.ts';

/** Clients that ask and do not read: the answers pile up somewhere. */

const BYTES_PER_S = 8_000_000;

function unread(name: string, what: string, lanes: () => readonly Lane[], question: () => Buffer): Attack {
  return {
    name,
    what,
    run: async (target) => {
      const bytes = many(question());
      const count = lanes().length;
      await target.side(count, (i) =>
        target.insist(
          () => target.webSocket(lanes()[i]!, { reads: false }),
          (wire) => flood(target, wire, bytes, { bytesPerS: BYTES_PER_S / count }),
        ),
      );
    },
  };
}

const LIST = 10_000;

export const UNREAD: readonly Attack[] = [
  unread(
    'unread_clock',
    'asks a video session for the time and reads no answer',
    () => [videoLane()],
    () => text({ type: 'clock', t0: 1 }),
  ),
  unread(
    'unread_pin',
    'pins the quality of a video session over and over and reads no grant',
    () => [videoLane()],
    () => text({ type: 'pin', level: 'low' }),
  ),
  unread(
    'unread_telemetry_clock',
    'asks a telemetry session for the time and reads no answer',
    () => [telemetryLane('json')],
    () => text({ type: 'clock', t0: 1 }),
  ),
  unread(
    'unread_parameters',
    'asks a Foxglove session for all parameters and reads none',
    () => [FOXGLOVE],
    () => text({ op: 'getParameters', parameterNames: [] }),
  ),
  unread(
    'unread_statuses',
    'sets 10,000 parameters at once, none of which can be set, and reads no refusal',
    () => [FOXGLOVE],
    () => text({ op: 'setParameters', parameters: Array.from({ length: LIST }, () => ({ name: 'q' })) }),
  ),
  unread('unread_errors', 'sends rubbish on every lane and reads no refusal', everyLane, () => text('rubbish')),
  unread('unread_pings', 'pings of 125 bytes on every lane, whose pongs it does not read', everyLane, () =>
    frame(Opcode.ping, Buffer.alloc(125)),
  ),
];

function everyLane(): readonly Lane[] {
  return [videoLane(), telemetryLane('json'), FOXGLOVE];
}
