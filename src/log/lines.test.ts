import { describe, expect, test } from 'vitest';
import { ManualClock } from '../base/clock.ts';
import { openJsonSink } from './json-lines.ts';
import { Log, type LogEntry } from './log.ts';
import { textLine } from './text-lines.ts';

describe('lines of JSON', () => {
  test('one object a line, with time, level, room, event, fields and the sentence', async () => {
    const lines: string[] = [];
    const clock = new ManualClock(Date.UTC(2026, 2, 1, 12));
    const sink = await openJsonSink((line) => lines.push(line) > 0);
    const log = new Log({ clock, sink });
    log.write('recording_started', { file: 'a\nb.mcap', topics: ['#'] });
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatch(/^[^\n]*\n$/);
    expect(JSON.parse(lines[0]!)).toEqual({
      level: 'info',
      time: '2026-03-01T12:00:00.000Z',
      room: 'delivery',
      event: 'recording_started',
      file: 'a\nb.mcap',
      topics: ['#'],
      msg: 'recording # into a\nb.mcap',
    });
  });

  test('what was left out is a field', async () => {
    const lines: string[] = [];
    const log = new Log({ clock: new ManualClock(), sink: await openJsonSink((line) => lines.push(line) > 0) });
    for (let i = 0; i < 7; i++) log.write('worker_replaced', { restarts: i });
    log.close();
    expect(lines.map((line) => JSON.parse(line) as object)).toMatchObject([
      { restarts: 0 },
      { restarts: 6, suppressed: 5 },
    ]);
  });

  test('lines that nobody takes are counted, and told of before the next that is taken', async () => {
    const lines: string[] = [];
    let isRead = false;
    const sink = await openJsonSink((line) => {
      if (isRead) lines.push(line);
      return isRead;
    });
    const log = new Log({ clock: new ManualClock(), sink });
    for (let i = 0; i < 3; i++) log.write('shutdown_started', {});
    isRead = true;
    log.write('server_stopped', { took_ms: 1 });
    const told = lines.map((line) => JSON.parse(line) as { event: string; lines?: number });
    expect(told.map(({ event }) => event)).toEqual(['log_lines_dropped', 'server_stopped']);
    expect(told[0]!.lines).toBe(3);
  });
});

describe('lines of text', () => {
  const entry: LogEntry = {
    timeMs: 0,
    level: 'info',
    room: 'app',
    event: 'shutdown_started',
    text: 'stopping',
    fields: {},
  };

  test('the sentence, with its weight where it is no plain information', () => {
    expect(textLine(entry)).toBe('stopping');
    expect(textLine({ ...entry, level: 'warn', suppressed: 3 })).toBe('warn: stopping (and 3 more like this)');
  });

  test('nothing that a client said moves the cursor of a terminal', () => {
    expect(textLine({ ...entry, text: 'a\u001b[2Jb\r\u009b' })).toBe('a\\u001b[2Jb\\u000d\\u009b');
  });
});
