import type { ChannelForm } from '../base/camera-frame.ts';
import { SightlineError } from '../base/errors.ts';

/** The channels of a camera that go out to players, by their names in addresses. */
export const CHANNEL_NAMES = ['raw', 'annotated'] as const satisfies readonly ChannelForm[];
export type ChannelName = (typeof CHANNEL_NAMES)[number];

const NAME_CHARS_MAX = 40;

/** Errors: NOT_FOUND. */
export function channelNamed(name: string): ChannelName {
  const found = CHANNEL_NAMES.find((known) => known === name);
  if (found !== undefined) return found;
  const quoted = JSON.stringify(name.slice(0, NAME_CHARS_MAX));
  throw new SightlineError('NOT_FOUND', `a camera has no channel ${quoted}: ${CHANNEL_NAMES.join(', ')}`);
}
