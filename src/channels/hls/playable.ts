import { isErrorCode } from '../../base/error-catalogue.ts';
import { SightlineError } from '../../base/errors.ts';
import type { CameraFeed } from '../../sources/camera/feed.ts';
import type { ChannelName } from '../channel-names.ts';

type Playable = Pick<CameraFeed, 'id' | 'standing'>;

/**
 * Why nothing comes of a camera's channel now; undefined: frames come, or may come at any moment. `isOpen`: somebody plays it, who can wait for the next try.
 */
export function refusalOf(camera: Playable, channel: ChannelName, isOpen: boolean): SightlineError | undefined {
  const { state, reason, stream } = camera.standing();
  if (channel === 'raw' && stream?.codec_string === null) {
    const message = `camera ${camera.id} sends ${stream.codec}, which does not go into fragments of MP4 as it is`;
    return new SightlineError('CHANNEL_UNAVAILABLE', message);
  }
  if (state === 'off') return new SightlineError('CAMERA_OFF', `camera ${camera.id} is turned off`);
  if (state === 'failed' || (state === 'backing_off' && !isOpen)) {
    const code = isErrorCode(reason?.code) ? reason.code : 'CAMERA_NO_PICTURE';
    return new SightlineError(code, `camera ${camera.id}: ${reason?.message ?? 'it is not read'}`);
  }
  if (state === 'waiting' && !isOpen) {
    return new SightlineError('CAMERA_NO_PICTURE', `camera ${camera.id} waits for a publisher`);
  }
  if (state === 'ended' && !isOpen) return new SightlineError('CAMERA_ENDED', `camera ${camera.id} has ended`);
  return undefined;
}
