/** A source of numbers in [0, 1): injected wherever chance decides, so that a run can be repeated from its seed. */
export type Random = () => number;

/** SplitMix32 (a 32-bit form of Steele, Lea and Flood 2014): small, seedable, good enough for simulations and jitter. */
export function seededRandom(seed: number): Random {
  let state = seed | 0;
  return () => {
    state = (state + 0x9e3779b9) | 0;
    let t = state ^ (state >>> 16);
    t = Math.imul(t, 0x21f0aaad);
    t ^= t >>> 15;
    t = Math.imul(t, 0x735a2d97);
    return ((t ^ (t >>> 15)) >>> 0) / 4294967296;
  };
}
