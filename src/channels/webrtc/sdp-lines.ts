import { SightlineError } from '../../base/errors.ts';

/** A description of a session (SDP, RFC 8866) taken apart into its lines: bounded, and nothing is interpreted. Pure. */

export interface SdpSection {
  /** Of `m=`; empty for the lines before the first of them. */
  readonly media: string;
  /** `a=name:value` by name; a name without a value has an empty one. */
  readonly attributes: ReadonlyMap<string, readonly string[]>;
}

export interface SdpLines {
  readonly session: SdpSection;
  readonly media: readonly SdpSection[];
}

/** Browsers offer some hundreds. */
const LINES_MAX = 4_000;
const MEDIA_MAX = 32;

/** Errors: SDP_BAD, naming the line. `isWhole`: it begins as a description does; a fragment (RFC 8840) need not. */
export function sdpLines(text: string, isWhole = true): SdpLines {
  const lines = text.split(/\r\n|\n/);
  if (lines.length > LINES_MAX) throw bad(`it has more than ${LINES_MAX} lines`);
  if (isWhole && lines[0] !== 'v=0') throw bad('it does not begin with "v=0"');
  const sections = [section('')];
  for (const [i, line] of lines.entries()) {
    if (line === '') continue;
    const [, kind, value] = /^([a-z])=([^\0\r]*)$/.exec(line) ?? [];
    if (kind === undefined) throw bad(`line ${i + 1} is not of the form "x=…"`);
    if (kind === 'm') {
      if (sections.length > MEDIA_MAX) throw bad(`it has more than ${MEDIA_MAX} media`);
      sections.push(section(value!));
    } else if (kind === 'a') {
      const colon = value!.indexOf(':');
      const [name, rest] = colon < 0 ? [value!, ''] : [value!.slice(0, colon), value!.slice(colon + 1)];
      const { attributes } = sections.at(-1)!;
      const values = attributes.get(name);
      if (values) values.push(rest);
      else attributes.set(name, [rest]);
    }
  }
  const [session, ...media] = sections;
  return { session: session!, media };
}

export function bad(why: string): SightlineError {
  return new SightlineError('SDP_BAD', `this is no offer in SDP: ${why}`);
}

function section(media: string) {
  return { media, attributes: new Map<string, string[]>() };
}
