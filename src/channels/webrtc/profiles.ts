/** Profiles of H.264 as `profile-level-id` and `avc1.…` name them (RFC 6184, table 5). Pure. */

export type Profile = 'constrained-baseline' | 'baseline' | 'main' | 'constrained-high' | 'high' | 'high-444';

/**
 * Who can decode a stream of a profile, the closest first (ITU-T H.264, A.2). A stream that says baseline counts as constrained baseline: no camera makes use of what the latter
 * lacks, and hardly a decoder takes it.
 */
const DECODERS: Readonly<Record<Profile, readonly Profile[]>> = {
  'constrained-baseline': ['constrained-baseline', 'baseline', 'main', 'constrained-high', 'high', 'high-444'],
  baseline: ['baseline', 'constrained-baseline', 'main', 'constrained-high', 'high', 'high-444'],
  main: ['main', 'high', 'high-444'],
  'constrained-high': ['constrained-high', 'high', 'high-444'],
  high: ['high', 'high-444'],
  'high-444': ['high-444'],
};

/** Of the three bytes in hex; undefined: another one. */
export function profileOf(profileLevelId: string): Profile | undefined {
  const [, idc, flags] = /^([0-9a-f]{2})([0-9a-f]{2})[0-9a-f]{2}$/i.exec(profileLevelId) ?? [];
  if (idc === undefined) return undefined;
  const constraints = Number.parseInt(flags!, 16);
  const [set0, set1] = [(constraints & 0x80) !== 0, (constraints & 0x40) !== 0];
  switch (Number.parseInt(idc, 16)) {
    case 66:
      return set1 ? 'constrained-baseline' : 'baseline';
    case 77:
      return set0 ? 'constrained-baseline' : 'main';
    case 88:
      return set0 ? (set1 ? 'constrained-baseline' : 'baseline') : undefined;
    case 100:
      return (constraints & 0x0c) === 0x0c ? 'constrained-high' : 'high';
    case 244:
      return 'high-444';
    default:
      return undefined;
  }
}

/** Of a stream as RFC 6381 names it (`avc1.64001f`); undefined: it is no H.264, or of another profile. */
export function profileOfCodec(codecString: string | null): Profile | undefined {
  const id = /^avc[13]\.([0-9a-f]{6})$/i.exec(codecString ?? '')?.[1];
  return id === undefined ? undefined : profileOf(id);
}

/** How well a decoder of one profile fits a stream of another: 0 is best; undefined: it does not. */
export function distanceOf(stream: Profile, decoder: Profile): number | undefined {
  const at = DECODERS[stream].indexOf(decoder);
  return at < 0 ? undefined : at;
}
