let table: Float32Array | undefined;

/** Little-endian IEEE 754 half-precision numbers as float32; the 65,536 values are computed once, then looked up. */
export function halfToFloat(bytes: Uint8Array): Float32Array {
  table ??= Float32Array.from({ length: 65_536 }, (_, bits) => halfValue(bits));
  const halves = new Uint16Array(Uint8Array.from(bytes).buffer, 0, bytes.length >> 1);
  const floats = new Float32Array(halves.length);
  for (let i = 0; i < halves.length; i += 1) floats[i] = table[halves[i] as number] as number;
  return floats;
}

/** One half-precision number: 1 sign bit, 5 bits of exponent (bias 15), 10 bits of fraction (IEEE 754 binary16). */
function halfValue(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
