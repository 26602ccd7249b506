import { describe, expect, test } from 'vitest';
import { greediest, judgeSilence, placesFor } from './places.ts';

describe('places', () => {
  test('as many sockets again as connections that last, for short requests', () => {
    expect(placesFor(1000, undefined)).toEqual({ sockets: 2064, connections: 1000 });
    expect(placesFor(1, undefined)).toEqual({ sockets: 66, connections: 1 });
  });

  test.each([
    [{ max: 1_048_576, others: 80, reserved: 32 }, 2064, 1000],
    [{ max: 1024, others: 80, reserved: 32 }, 912, 848],
    [{ max: 400, others: 80, reserved: 32 }, 288, 224],
    [{ max: 200, others: 80, reserved: 32 }, 88, 66],
    // None to spare: a few short requests still get through.
    [{ max: 100, others: 80, reserved: 32 }, 4, 3],
  ])('fewer where the process may not open as many files: %j', (descriptors, sockets, connections) => {
    expect(placesFor(1000, descriptors)).toEqual({ sockets, connections });
  });

  test('connections that last never take all sockets', () => {
    for (let room = 0; room < 3_000; room++) {
      const { sockets, connections } = placesFor(1000, { max: room, others: 0, reserved: 0 });
      expect(sockets - connections).toBeGreaterThan(0);
      expect(connections).toBeGreaterThan(0);
      expect(sockets).toBeLessThanOrEqual(Math.max(4, room));
    }
  });
});

describe('who makes room', () => {
  const of = (name: string, open: number, sinceMs: number) => ({ name, address: { open }, sinceMs });

  test('one of the address with the most connections, the oldest of these', () => {
    const found = greediest([of('a', 2, 0), of('b2', 9, 30), of('b', 9, 20), of('b3', 9, 20), of('c', 3, 10)]);
    expect(found).toMatchObject({ name: 'b' });
  });

  test('the oldest where all have as many, and nobody where there is none', () => {
    expect(greediest([of('a', 1, 5), of('b', 1, 4)])).toMatchObject({ name: 'b' });
    expect(greediest([])).toBe(undefined);
    const adopted = { address: undefined, sinceMs: 0 };
    expect(greediest([adopted])).toBe(adopted);
  });
});

describe('a silent socket', () => {
  const still = { unsentBytes: 0, ageMs: 30_000, answerMsMax: 600_000 };

  test.each([
    ['waiting', still, 'idle'],
    ['request', still, undefined],
    ['request', { ...still, unsentBytes: 1 }, 'unread'],
    ['request', { ...still, ageMs: 600_000 }, 'unanswered'],
    ['event_stream', still, undefined],
    ['event_stream', { ...still, ageMs: 1e9 }, undefined],
    ['event_stream', { ...still, unsentBytes: 1 }, 'unread'],
    ['websocket', { ...still, unsentBytes: 1 }, undefined],
    ['closing', { ...still, unsentBytes: 1 }, undefined],
  ] as const)('in the state %s with %j: %s', (state, facts, ending) => expect(judgeSilence(state, facts)).toBe(ending));
});
