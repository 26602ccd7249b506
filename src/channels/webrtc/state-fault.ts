import { isErrorCode } from '../../base/error-catalogue.ts';
import { SightlineError } from '../../base/errors.ts';
import type { CameraFeed } from '../../sources/camera/feed.ts';

/** Why there is nothing to be had of a camera in its present state: the reason of that, or CAMERA_OFF, CAMERA_NO_PICTURE. */
export function stateFault(feed: Pick<CameraFeed, 'id' | 'standing'>): SightlineError {
  const { id } = feed;
  const { state, reason } = feed.standing();
  if (state === 'off') return new SightlineError('CAMERA_OFF', `camera ${id} is turned off`);
  if (reason && isErrorCode(reason.code)) return new SightlineError(reason.code, `camera ${id}: ${reason.message}`);
  return new SightlineError('CAMERA_NO_PICTURE', `camera ${id} is ${state}: it has shown no picture yet`);
}
