import { systemClock, type Clock } from '../../src/base/clock.ts';
import type { LogLevel } from '../../src/log/events.ts';
import { Log, type LogEntry } from '../../src/log/log.ts';

/** A log whose entries can be looked at. */
export function collectingLog({ clock = systemClock, level }: { clock?: Clock; level?: LogLevel } = {}) {
  const entries: LogEntry[] = [];
  const log = new Log({ clock, sink: (entry) => void entries.push(entry), ...(level !== undefined && { level }) });
  return { log, entries, texts: () => entries.map(({ text }) => text) };
}
