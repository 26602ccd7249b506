/** The payloads of the unmasked WebSocket frames that stand one after the other; one that is not whole is left out. */
export function unframed(bytes: Buffer): Buffer[] {
  const frames: Buffer[] = [];
  for (let rest = bytes; rest.length >= 2;) {
    const short = rest[1]!;
    const head = short < 126 ? 2 : short === 126 ? 4 : 10;
    if (rest.length < head) break;
    const length = short < 126 ? short : short === 126 ? rest.readUInt16BE(2) : Number(rest.readBigUInt64BE(2));
    if (rest.length < head + length) break;
    frames.push(rest.subarray(head, head + length));
    rest = rest.subarray(head + length);
  }
  return frames;
}
