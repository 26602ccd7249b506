import type { TelemetryFormat } from '../../../src/client/telemetry.ts';
import { frame, Opcode } from '../wire.ts';
import type { Lane } from '../target.ts';

/** How attacks address the server, and the messages that several of them have. */

/** In front of the names of all sessions of an attacker. */
export const ATTACKER = 'attacker-';

export const FOXGLOVE: Lane = { path: '/ws/foxglove', protocol: 'foxglove.sdk.v1' };

/** Of this process: a name that was used is waited for by the server. */
let names = 0;

function nextName(): string {
  names += 1;
  return `${ATTACKER}${process.pid}-${names}`;
}

/** A video session of its own. */
export function videoLane(query: Readonly<Record<string, string>> = {}): Lane {
  return { path: `/ws/video?${new URLSearchParams({ client_id: nextName(), ...query })}` };
}

/** A telemetry session of its own. */
export function telemetryLane(form: TelemetryFormat, query: Readonly<Record<string, string>> = {}): Lane {
  const path = `/ws/telemetry?${new URLSearchParams({ client_id: nextName(), ...query })}`;
  return { path, protocol: `sightline.v1.${form}` };
}

/** A text message. */
export function text(message: string | object): Buffer {
  return frame(Opcode.text, typeof message === 'string' ? message : JSON.stringify(message));
}

export function binary(message: Uint8Array): Buffer {
  return frame(Opcode.binary, message);
}

/** `data`: JSON as it is to be sent. */
export function publish(topic: string, data: string, more = ''): Buffer {
  return text(`{"type":"publish","topic":"${topic}","data":${data}${more}}`);
}

export function advertise(alias: number, topic: string): Buffer {
  return text({ type: 'advertise', alias, topic });
}

export function subscribe(id: number, filter: string, more: object = {}): Buffer {
  return text({ type: 'subscribe', id, filter, contract: 'all', ...more });
}
