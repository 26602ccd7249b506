const DECIMALS_MAX = 6;

/** A tick's value with the decimals that tell it from its neighbours, `decimals` at least, and a real minus. */
export function axisText(value: number, increment: number, decimals: number): string {
  const text = value.toFixed(Math.max(decimals, decimalsOf(increment)));
  return Number(text) === 0 ? text.replace('-', '') : text.replace('-', '−');
}

/** Decimals of the steps between ticks: 0.25 has two. */
function decimalsOf(increment: number): number {
  for (let decimals = 0; decimals < DECIMALS_MAX; decimals++) {
    const scaled = increment * 10 ** decimals;
    if (Math.abs(scaled - Math.round(scaled)) < 1e-6 * Math.max(1, scaled)) return decimals;
  }
  return DECIMALS_MAX;
}
