const PRIME = 0x01000193;

/** The start of a chain of `fnv1a`. */
const FNV_OFFSET = 0x811c9dc5;

/**
 * FNV-1a (Fowler, Noll and Vo) over the UTF-16 units of a text, u32. Pass the previous hash to continue. Not for
 * uses where a collision would help an attacker.
 */
export function fnv1a(text: string, before: number = FNV_OFFSET): number {
  let hash = before;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), PRIME);
  return hash >>> 0;
}
