import { encodeTelemetryServerMessage } from '../../protocol/telemetry-codec.ts';
import type { TelemetryServerMessage, TelemetrySubprotocol } from '../../protocol/telemetry.ts';

const TEXT = 0x81;
const BINARY = 0x82;

/** A control message as a WebSocket frame. */
export function controlFrame(control: TelemetryServerMessage, protocol: TelemetrySubprotocol): Buffer {
  const message = encodeTelemetryServerMessage(control, protocol);
  return typeof message === 'string' ? framed(Buffer.from(message), true) : framed(message, false);
}

/** One unmasked, final WebSocket frame (RFC 6455 §5.2). */
export function framed(data: Uint8Array, isText: boolean): Buffer {
  const { length } = data;
  const headBytes = length < 126 ? 2 : length < 65_536 ? 4 : 10;
  const frame = Buffer.allocUnsafeSlow(headBytes + length);
  frame[0] = isText ? TEXT : BINARY;
  if (headBytes === 2) frame[1] = length;
  else if (headBytes === 4) {
    frame[1] = 126;
    frame.writeUInt16BE(length, 2);
  } else {
    frame[1] = 127;
    frame.writeBigUInt64BE(BigInt(length), 2);
  }
  frame.set(data, headBytes);
  return frame;
}
