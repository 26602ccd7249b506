import { describe, expect, test } from 'vitest';
import { LiveEdge } from './live-edge.ts';

const FRAME_S = 0.04;
const at = (edge: LiveEdge, distanceS: number, nowMs = 0) => edge.move({ distanceS, frameS: FRAME_S, nowMs });
const rate = (edge: LiveEdge, distanceS: number) => (at(edge, distanceS) as { rate: number }).rate;

describe('the live edge', () => {
  test('near its place the rate is 1', () => {
    const edge = new LiveEdge();
    const targetS = edge.targetS(FRAME_S);
    expect(targetS).toBeCloseTo(0.1);
    for (const off of [-0.01, 0, 0.01]) expect(at(edge, targetS + off)).toEqual({ kind: 'rate', rate: 1 });
  });

  test('behind it the player hurries, before it it dawdles, within what nobody sees', () => {
    const edge = new LiveEdge();
    const targetS = edge.targetS(FRAME_S);
    expect(rate(edge, targetS + 0.1)).toBeCloseTo(1.05);
    expect(rate(edge, targetS + 0.5)).toBeCloseTo(1.1);
    expect(rate(edge, targetS - 0.1)).toBeCloseTo(0.95);
    expect(rate(edge, 0)).toBeCloseTo(0.95);
    expect(rate(edge, -5)).toBeCloseTo(0.9);
  });

  test('far behind it jumps', () => {
    const edge = new LiveEdge();
    const targetS = edge.targetS(FRAME_S);
    expect(at(edge, targetS + 0.59).kind).toBe('rate');
    expect(at(edge, targetS + 0.61)).toEqual({ kind: 'jump', backS: targetS });
  });

  test('waiting for frames moves the place back, up to a bound; in time it comes nearer again', () => {
    const edge = new LiveEdge();
    at(edge, 0.1, 0);
    const firstS = edge.targetS(FRAME_S);
    edge.waited();
    expect(edge.targetS(FRAME_S)).toBeCloseTo(firstS + 0.04);
    for (let i = 0; i < 100; i++) edge.waited();
    expect(edge.targetS(FRAME_S)).toBeCloseTo(0.34);
    at(edge, 0.5, 10_000);
    expect(edge.targetS(FRAME_S)).toBeCloseTo(0.24);
    at(edge, 0.5, 1_000_000);
    expect(edge.targetS(FRAME_S)).toBeCloseTo(firstS);
  });

  test('a player that follows these moves comes to its place, from either side, and stays there', () => {
    for (const beginS of [0.01, 0.3, 0.6]) {
      const edge = new LiveEdge();
      let distanceS = beginS;
      for (let frame = 0; frame < 1_500; frame++) {
        const move = edge.move({ distanceS, frameS: FRAME_S, nowMs: frame * 40 });
        if (move.kind === 'jump') distanceS = move.backS;
        else distanceS += FRAME_S * (1 - move.rate);
      }
      expect(Math.abs(distanceS - edge.targetS(FRAME_S))).toBeLessThan(0.03);
    }
  });
});
