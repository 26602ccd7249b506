import type { WebSocket } from 'ws';
import type { ChannelForm } from '../../base/camera-frame.ts';
import type { Clock } from '../../base/clock.ts';
import { SightlineError, toSightlineError } from '../../base/errors.ts';
import { openFences, type Fences } from '../../fences/fences.ts';
import type { Log } from '../../log/log.ts';
import type { CameraFeed, CameraFeeds } from '../../sources/camera/feed.ts';
import { parseCamerasQuery } from '../query.ts';
import { SessionRegistry } from '../registry.ts';
import { endMessage, endSocket, type OpeningRequest, type SessionSocket } from '../session-socket.ts';
import { PauseReason, SocketReading } from '../socket-reading.ts';
import { addCamerasCounts, NO_CAMERAS_COUNTS, type CamerasCounts } from './accounts.ts';
import { RawWatches } from '../../sources/camera/raw-watches.ts';
import { CamerasSession, type CamerasSettings, type ResultObserver } from './session.ts';

export interface CamerasLaneOptions {
  readonly feeds: CameraFeeds;
  readonly clock: Clock;
  readonly log?: Log;
  /** Default: no bounds. */
  readonly fences?: Fences;
  /** Left out: nobody is interested. */
  readonly observer?: ResultObserver;
  readonly settings: CamerasSettings & { readonly sessionsMax: number };
}

/** `WS /ws/cameras`: any number of cameras on one socket. */
export class CamerasLane {
  readonly #options: CamerasLaneOptions;
  readonly #fences: Fences;
  readonly #registry: SessionRegistry<CamerasSession>;
  readonly #watches = new RawWatches((feed, form, error) => {
    for (const session of this.#registry.sessions) session.endForm(feed, form, error);
  });
  readonly #forgetFeeds: () => void;
  /** Of sessions that have ended. */
  #ended = NO_CAMERAS_COUNTS;

  constructor(options: CamerasLaneOptions) {
    const { clock, log, settings, feeds } = options;
    this.#options = options;
    this.#fences = options.fences ?? openFences({ clock });
    this.#registry = new SessionRegistry<CamerasSession>({
      kind: 'cameras',
      clock,
      log,
      settings: { idleTimeoutMs: settings.idleTimeoutMs, resumeWindowMs: 0, sessionsMax: settings.sessionsMax },
      onSweep: (session, nowMs) => session.sweep(nowMs),
      onTick: () => this.#watches.sweep(clock.now()),
      onEnded: (session) => {
        this.#ended = addCamerasCounts(this.#ended, session.counts());
      },
    });
    this.#forgetFeeds = feeds.watchAll((id) => this.#onCameraChanged(id));
  }

  get sessions(): Iterable<CamerasSession> {
    return this.#registry.sessions;
  }

  get links(): readonly SessionSocket[] {
    return this.#registry.links;
  }

  get connected(): number {
    return this.#registry.connected;
  }

  get views(): number {
    return [...this.#registry.sessions].reduce((sum, { views }) => sum + views, 0);
  }

  /** Channels of cameras that are asked for, by form. */
  channels(): Record<ChannelForm, number> {
    return this.#watches.counts();
  }

  /** Takes over an accepted socket. Refusals are sent on the socket, which is then closed. */
  async open(socket: WebSocket, { query, address, principal }: OpeningRequest): Promise<void> {
    // Nothing is read before there is somebody to take it.
    const reading = SocketReading.of(socket);
    reading.pause(PauseReason.busy);
    socket.on('error', () => {
      // ws closes the socket itself (1009, 1002, …); the session sees the close.
    });
    try {
      parseCamerasQuery(query);
      this.#fences.penalties.require('cameras', { address, token: undefined });
      const { session } = await this.#registry.claim({ clientId: undefined, token: undefined, principal }, (clientId) =>
        this.#makeSession(clientId),
      );
      session.connect(socket, principal, address);
    } catch (thrown) {
      const error = toSightlineError(thrown);
      this.#fences.refusals.count('cameras', error.code);
      endSocket(socket, JSON.stringify(endMessage(error)), error);
    } finally {
      reading.resume(PauseReason.busy);
    }
  }

  /** Of all views, those that have ended included. */
  counts(): CamerasCounts {
    return [...this.#registry.sessions].reduce((sum, session) => addCamerasCounts(sum, session.counts()), this.#ended);
  }

  /** From now on there are no new sessions. A view is live: nothing of it is owed, and nothing has to be waited for. */
  drain(): void {
    this.#registry.drain();
  }

  /** Tells every client and ends every session. Idempotent. */
  close(): void {
    this.#forgetFeeds();
    this.#registry.close();
    this.#watches.close();
  }

  #makeSession(clientId: string): CamerasSession {
    const { clock, settings, feeds, observer } = this.#options;
    const session: CamerasSession = new CamerasSession({
      clientId,
      clock,
      fences: this.#fences,
      settings,
      feeds,
      watches: this.#watches,
      observer,
      onLost: () => this.#registry.end(session, new SightlineError('SESSION_IDLE', 'the connection was lost')),
    });
    return session;
  }

  #onCameraChanged(id: string): void {
    const present = this.#find(id);
    for (const session of this.#registry.sessions) session.cameraChanged(id, present);
  }

  #find(id: string): CameraFeed | undefined {
    try {
      return this.#options.feeds.get(id);
    } catch {
      return undefined;
    }
  }
}
