import { describe, expect, test } from 'vitest';
import { collectingLog } from '../../test/support/log.ts';
import { ManualClock } from '../base/clock.ts';
import { Penalties, type Offender } from './penalties.ts';

function setUp() {
  const clock = new ManualClock(1_000);
  const { log, texts } = collectingLog({ clock });
  const penalties = new Penalties({
    clock,
    log,
    banMs: 60_000,
    nameOfAddress: (address) => (address.startsWith('127.') ? undefined : address.split('::')[0]),
  });
  const offend = (offender: Offender, lane = 'telemetry') => {
    for (let time = 0; time < 3; time++) penalties.disconnected(lane, 'rover7', offender);
  };
  const isBanned = (offender: Offender, lane = 'telemetry') => {
    try {
      penalties.require(lane, offender);
      return false;
    } catch (thrown) {
      expect(thrown).toMatchObject({ code: 'RATE_EXCEEDED' });
      return true;
    }
  };
  return { clock, penalties, offend, isBanned, texts };
}

describe('a ban', () => {
  test('sticks to the token, wherever it comes from, and to nobody else', () => {
    const { offend, isBanned, texts, clock, penalties } = setUp();
    offend({ address: '127.0.0.1', token: 'one' });
    expect(isBanned({ address: '127.0.0.1', token: 'one' })).toBe(true);
    expect(isBanned({ address: undefined, token: 'one' })).toBe(true);
    expect(isBanned({ address: '127.0.0.1', token: 'other' })).toBe(false);
    expect(isBanned({ address: '127.0.0.1', token: undefined })).toBe(false);
    expect(texts()).toEqual(['session rover7 is banned for 60 s']);
    expect(texts().join()).not.toContain('one');
    expect(penalties.refusals('telemetry')).toBe(2);
    clock.advance(60_000);
    expect(isBanned({ address: '127.0.0.1', token: 'one' })).toBe(false);
  });

  test('sticks to an address on every lane, whatever the name and the token', () => {
    const { offend, isBanned, penalties } = setUp();
    offend({ address: '192.0.2.7', token: undefined }, 'foxglove');
    expect(isBanned({ address: '192.0.2.7', token: 'anything' })).toBe(true);
    expect(isBanned({ address: '192.0.2.7', token: undefined }, 'foxglove')).toBe(true);
    expect(isBanned({ address: '192.0.2.8', token: undefined })).toBe(false);
    expect([penalties.refusals('telemetry'), penalties.refusals('foxglove')]).toEqual([1, 1]);
  });

  test('never hits an address from which others come, too', () => {
    const { offend, isBanned } = setUp();
    offend({ address: '127.0.0.1', token: undefined });
    expect(isBanned({ address: '127.0.0.1', token: undefined })).toBe(false);
  });

  test('is by the name of an address, which may be that of a network', () => {
    const { offend, isBanned } = setUp();
    offend({ address: '2001:db8:0:1::7', token: undefined });
    expect(isBanned({ address: '2001:db8:0:1::8', token: undefined })).toBe(true);
    expect(isBanned({ address: '2001:db8:0:2::7', token: undefined })).toBe(false);
  });
});
