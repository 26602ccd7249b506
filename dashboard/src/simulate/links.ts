import { phaseAt, type LinkProfile } from './link-line.ts';

/** The links that a visitor may choose from. */

const MBIT = 1e6;

export type LinkName = 'steady' | 'halved' | 'wifi';

export const LINKS: Readonly<Record<LinkName, LinkProfile>> = {
  steady: { phases: [{ forMs: Infinity, bitsPerS: 10 * MBIT }], delayMs: 10, jitterMs: 0 },
  halved: {
    phases: [
      { forMs: 15_000, bitsPerS: 5 * MBIT },
      { forMs: 15_000, bitsPerS: 2.5 * MBIT },
    ],
    delayMs: 10,
    jitterMs: 0,
  },
  /** Rates that come and go, and stalls while a lost packet is sent again: TCP shows loss as stalls. */
  wifi: {
    phases: [
      { forMs: 1_700, bitsPerS: 12 * MBIT },
      { forMs: 180, bitsPerS: 0 },
      { forMs: 1_300, bitsPerS: 6 * MBIT },
      { forMs: 90, bitsPerS: 0 },
      { forMs: 1_500, bitsPerS: 12 * MBIT },
      { forMs: 700, bitsPerS: 3 * MBIT },
      { forMs: 350, bitsPerS: 0 },
    ],
    delayMs: 4,
    jitterMs: 12,
  },
};

/** Description of a link, and its present phase at this time since it was chosen. */
export function linkText(name: LinkName, sinceMs: number): string {
  const profile = LINKS[name];
  const { index, leftMs } = phaseAt(profile, sinceMs);
  const { phases, delayMs, jitterMs } = profile;
  const { bitsPerS } = phases[index]!;
  const now = bitsPerS === 0 ? 'nothing goes through' : `${bitsPerS / MBIT} Mbit/s`;
  if (name === 'halved') {
    const next = phases[(index + 1) % phases.length]!;
    return `The link: ${now}, ${next.bitsPerS / MBIT} in ${Math.ceil(leftMs / 1000)} s; ${delayMs} ms each way.`;
  }
  const way = jitterMs > 0 ? `${delayMs} to ${delayMs + jitterMs} ms` : `${delayMs} ms`;
  const stalls = phases.filter((phase) => phase.bitsPerS === 0).map(({ forMs }) => forMs);
  const about = stalls.length > 0 ? `, with stalls of up to ${Math.max(...stalls)} ms` : '';
  return `The link: ${now}, ${way} each way${about}.`;
}
