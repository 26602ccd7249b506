import type { RoverCommand } from './rover-model.ts';

/** Decisions of the vehicle itself, independent of its driver: all pure, times in Unix ms on the vehicle's clock. */

/** Without a fresh order for this long the vehicle brakes: the driver may be gone. */
export const DEAD_MAN_MS = 300;

/** The last order that reached the vehicle. */
export interface DriveOrder {
  /** −1 to 1. */
  readonly throttle: number;
  /** −1 to 1. */
  readonly steer: number;
  readonly receivedTimeMs: number;
  /** The driver's own limit: after this moment the order is void, however late it came. */
  readonly expiresTimeMs: number;
}

/**
 * Why the vehicle brakes. `emergency`: someone pressed stop; `idle`: nobody has driven yet; `expired`: the order came too
 * late or its time is over; `silence`: no order for `DEAD_MAN_MS`.
 */
export type StopCause = 'emergency' | 'idle' | 'expired' | 'silence';

export interface Decision {
  readonly command: RoverCommand;
  /** Undefined: the vehicle obeys the order. */
  readonly stopCause: StopCause | undefined;
}

const BRAKES: RoverCommand = { throttle: 0, steer: 0, brake: true };

/** The wheels' commands at this moment. */
export function decideDrive(order: DriveOrder | undefined, emergency: boolean, nowMs: number): Decision {
  const stopCause = stopCauseOf(order, emergency, nowMs);
  if (stopCause !== undefined || !order) return { command: BRAKES, stopCause };
  return { command: { throttle: order.throttle, steer: order.steer, brake: false }, stopCause: undefined };
}

function stopCauseOf(order: DriveOrder | undefined, emergency: boolean, nowMs: number): StopCause | undefined {
  if (emergency) return 'emergency';
  if (!order) return 'idle';
  // Silence goes first: an order expires soon after, and the missing driver is the better reason.
  if (nowMs - order.receivedTimeMs >= DEAD_MAN_MS) return 'silence';
  return nowMs >= order.expiresTimeMs ? 'expired' : undefined;
}
