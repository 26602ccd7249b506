import { systemClock } from '../../src/base/clock.ts';
import type { TelemetrySession } from '../../src/client/telemetry.ts';

/** How often the session is asked for its estimate. */
const CLOCK_MS = 100;

/** The server's time of day, of which the SDK gives all times. In Node and in a page. */
export function serverClock(session: TelemetrySession): () => number {
  let readMs = -Infinity;
  let aheadMs = 0;
  return () => {
    const nowMs = systemClock.now();
    if (nowMs - readMs > CLOCK_MS) {
      readMs = nowMs;
      aheadMs = session.toServerTimeMs(nowMs) - nowMs;
    }
    return nowMs + aheadMs;
  };
}
