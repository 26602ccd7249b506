import { LOG_EVENTS } from './events.ts';
import type { LogEntry, LogSink } from './log.ts';

/**
 * A sink that writes entries as lines of JSON. `write` takes a line with its end, and returns false where it had to drop it; an
 * entry of its own then reports how many were dropped. Pino is loaded here and not before: most commands write no log.
 */
export async function openJsonSink(write: (line: string) => boolean): Promise<LogSink> {
  const { pino } = await import('pino');
  let wasTaken = true;
  let dropped = 0;
  const logger = pino(
    { level: 'trace', base: null, timestamp: false, formatters: { level: (label) => ({ level: label }) } },
    { write: (line) => (wasTaken = write(line)) },
  );
  const put = ({ timeMs, level, room, event, text, fields, suppressed }: LogEntry): boolean => {
    const time = new Date(timeMs).toISOString();
    logger[level]({ time, room, event, ...fields, ...(suppressed !== undefined && { suppressed }) }, text);
    return wasTaken;
  };
  return (entry) => {
    if (dropped > 0 && put(droppedEntry(dropped, entry.timeMs))) dropped = 0;
    if (!put(entry)) dropped++;
  };
}

function droppedEntry(lines: number, timeMs: number): LogEntry {
  const { room, level, text } = LOG_EVENTS.log_lines_dropped;
  return { timeMs, level, room, event: 'log_lines_dropped', text: text({ lines }), fields: { lines } };
}
