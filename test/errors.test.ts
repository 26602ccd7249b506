import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { closeCodeOf, ERRORS, statusOf } from '../src/base/error-catalogue.ts';
import { SightlineError, toSightlineError } from '../src/base/errors.ts';
import { exitCodeOf } from '../src/base/exit-codes.ts';
import type { ErrorCode } from '../src/base/errors.ts';

interface Row {
  readonly status: number;
  readonly close: string;
  readonly exit: number;
  readonly meaning: string;
  readonly remedy: string;
}

const page = readFileSync(new URL('../docs/errors.md', import.meta.url), 'utf8');

const rows = new Map<string, Row>(
  [...page.matchAll(/^\| `([A-Z_]+)` \| (\d+) \| (\S+) \| (\d+) \| (.*) \| (.*) \|$/gm)].map((match) => [
    match[1]!,
    { status: Number(match[2]), close: match[3]!, exit: Number(match[4]), meaning: match[5]!, remedy: match[6]! },
  ]),
);

/** RFC 6455 §7.4.1 has codes for these two. */
const STANDARD_CLOSE: Partial<Record<ErrorCode, string>> = { MESSAGE_TOO_LARGE: '1009', SHUTTING_DOWN: '1001' };

describe('docs/errors.md and the catalogue', () => {
  test('have the same codes, each once', () => {
    expect([...rows.keys()].toSorted()).toEqual(Object.keys(ERRORS).toSorted());
    expect(page.match(/^\| `[A-Z_]+` \|/gm)).toHaveLength(rows.size);
  });

  test.each(Object.keys(ERRORS) as ErrorCode[])('%s has one status, close code and exit code', (code) => {
    const error = new SightlineError(code, 'x');
    const row = rows.get(code);
    expect(row).toMatchObject({ status: statusOf(error), exit: exitCodeOf(error) });
    const livesOn =
      /^(FRAME|MESSAGE|TOPIC|FILTER|PAYLOAD|BATCH|COMPRESSION|SCHEMA|PUBLISH_QUEUE|DECODER)_|^SESSION_COSTLY$/.test(
        code,
      );
    expect(row!.close).toBe(STANDARD_CLOSE[code] ?? (livesOn ? '–' : String(closeCodeOf(error))));
    expect(row!.meaning.length).toBeGreaterThan(10);
    expect(row!.remedy.length).toBeGreaterThan(5);
  });
});

describe('toSightlineError', () => {
  test('leaves a SightlineError as it is', () => {
    const error = new SightlineError('USAGE', 'x');
    expect(toSightlineError(error)).toBe(error);
  });

  test('keeps what else was thrown as the cause', () => {
    const cause = new RangeError('far');
    expect(toSightlineError(cause, 'INFERENCE_FAILED')).toMatchObject({
      code: 'INFERENCE_FAILED',
      message: 'far',
      cause,
    });
    expect(toSightlineError('text')).toMatchObject({ code: 'INTERNAL', message: 'text' });
  });
});
