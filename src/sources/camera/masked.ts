import type { Principal } from '../../auth/principal.ts';
import { SightlineError } from '../../base/errors.ts';
import type { CameraFeed } from './feed.ts';

/** Whether a caller may see the camera's own frames, which have no masks. To be asked as `requireUnmasked` is. */
export function maySeeUnmasked({ id, isMasked }: Pick<CameraFeed, 'id' | 'isMasked'>, caller: Principal): boolean {
  return !isMasked || caller.allows('unmasked', `cameras/${id}`);
}

/**
 * Throws CAMERA_MASKED: the camera has masks, which its own frames cannot have, and this caller may not see it without. Whoever hands out `raw` of a camera asks this
 * first, and again after each change of the camera.
 */
export function requireUnmasked(feed: Pick<CameraFeed, 'id' | 'isMasked'>, caller: Principal): void {
  if (maySeeUnmasked(feed, caller)) return;
  const { id } = feed;
  throw new SightlineError(
    'CAMERA_MASKED',
    `camera "${id}" has masks, and "${caller.name}" has no permission unmasked:cameras/${id} for its own frames: ask for those that are encoded anew`,
  );
}
