/**
 * Edit distance with swaps of neighbours counted as one edit (optimal string alignment; Damerau 1964), since swapped
 * letters are the most common slip.
 */
export function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let cost = Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + (same ? 0 : 1));
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (swapped) cost = Math.min(cost, beforeLast[j - 2]! + 1);
      row.push(cost);
    }
    beforeLast = last;
    last = row;
  }
  return last[b.length]!;
}

/** The candidate that was most likely meant, or `undefined` when none is near. Case does not count. */
export function suggest(wrong: string, candidates: Iterable<string>): string | undefined {
  const query = wrong.slice(0, 128).toLowerCase();
  let best: string | undefined;
  // A third of the letters may be wrong: more, and the hint is a riddle.
  let bestDistance = Math.floor(query.length / 3) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(query, candidate.toLowerCase());
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}
