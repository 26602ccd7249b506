/** Digits that a repetition would not give again are left out. */
export function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}

export function toMb(bytes: number): number {
  return bytes / 2 ** 20;
}
