import { expect, test } from 'vitest';
import { MemoryLedger } from './memory-ledger.ts';

const bound = (totalBytesMax: number, clientBytesMax = totalBytesMax) => ({ totalBytesMax, clientBytesMax });

function open() {
  return new MemoryLedger({
    history: bound(1_000),
    session: bound(100, 60),
    incoming: bound(100),
    frames: bound(100),
    channels: bound(100),
  });
}

const REFUSED = expect.objectContaining({ code: 'MEMORY_LIMIT_REACHED' });

test('a charge is refused as a whole over the bound of the client, or of all', () => {
  const ledger = open();
  const [one, other] = [ledger.open('telemetry', 'one'), ledger.open('telemetry', 'other')];
  one.charge('session', 60);
  expect(() => one.charge('session', 1)).toThrow(REFUSED);
  other.charge('session', 40);
  expect(() => other.charge('session', 1)).toThrow(REFUSED);
  expect([one.bytes('session'), other.bytes('session'), ledger.bytes('session')]).toEqual([60, 40, 100]);
  expect(ledger.refusals.session).toBe(2);
  one.release('session', 1);
  other.charge('session', 1);
});

test('who has gone holds nothing; its history is the estate’s', () => {
  const ledger = open();
  const one = ledger.open('telemetry', 'one');
  one.charge('session', 50);
  one.add('history', 700);
  expect(ledger.largest('history')).toBe(one);
  one.close();
  one.close();
  expect([one.bytes('session'), one.bytes('history'), ledger.bytes('session')]).toEqual([0, 0, 0]);
  expect([ledger.estate.bytes('history'), ledger.bytes('history')]).toEqual([700, 700]);
  // What it held is given back late.
  one.release('session', 50);
  expect([ledger.bytes('history'), ledger.bytes('session')]).toEqual([700, 0]);
  expect([...ledger.accounts]).toEqual([ledger.server, ledger.estate]);
});
