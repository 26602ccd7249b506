import { SightlineError, type ErrorCode } from '../../base/errors.ts';
import type { Log } from '../../log/log.ts';
import type { CameraFeeds } from '../../sources/camera/feed.ts';
import { PeerSession, type EndCause, type SessionParts } from './peer-session.ts';
import { stateFault } from './state-fault.ts';

/** The camera goes on with its publisher: another process reads it soon, or what has ended was the last publisher. */
const PASSING: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['CAMERA_PROCESS_LOST', 'CAMERA_ENDED']);

/** One publisher, who is a camera. Its packets go from the thread to the process of the camera; here is only how long that lasts. */
export class PublisherSession extends PeerSession {
  readonly #parts: SessionParts;
  readonly #log: Log;
  readonly #forget: () => void;

  constructor(parts: SessionParts, log: Log) {
    super(parts);
    this.#parts = parts;
    this.#log = log;
    this.#forget = parts.feed.watchState(() => this.#onState());
    this.begin();
  }

  override cameraChanged(feeds: Pick<CameraFeeds, 'all'>): void {
    const { feed } = this.#parts;
    if (!feeds.all().includes(feed)) {
      this.close('camera', new SightlineError('CAMERA_UNKNOWN', `camera "${feed.id}" was removed`));
    } else if (feed.inlet === undefined) this.close('camera', notPublished(feed.id));
  }

  protected override onConnected(): void {
    this.#log.write('camera_published', { camera: this.camera, publisher: this.#parts.principal.name });
  }

  protected override onClosed(cause: EndCause, wasConnected: boolean): void {
    this.#forget();
    if (!wasConnected) return;
    this.#log.write('camera_unpublished', { camera: this.camera, publisher: this.#parts.principal.name, cause });
  }

  /** What it sends was refused, or has not come for a while; or the camera is read no more. */
  #onState(): void {
    const { feed } = this.#parts;
    const { state, reason } = feed.standing();
    const isGone = state === 'off' || state === 'failed' || state === 'backing_off';
    if (!isGone || (state === 'backing_off' && PASSING.has(reason?.code as ErrorCode))) return;
    this.close('camera', stateFault(feed));
  }
}

export function notPublished(id: string): SightlineError {
  return new SightlineError(
    'CAMERA_NOT_PUBLISHED',
    `camera ${id} is read from an address of its own: only one whose address is whip: can be published to`,
  );
}
