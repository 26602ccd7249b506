import { toSightlineError } from '../base/errors.ts';
import type { Log } from '../log/log.ts';
import type { DemoView } from '../sources/demo.ts';
import type { Sightline } from '../app.ts';

/** A server, as far as a demo gives it cameras. */
type WallServer = Pick<Sightline, 'cameraIds' | 'lendCamera' | 'isPreparingCameras'>;

/** As often as they have key frames, so that only these are decoded. */
const LOOKS_FPS = 1;

export interface WallOptions {
  readonly log: Log;
  readonly signal: AbortSignal;
  /** What goes first; never rejects. */
  readonly after?: Promise<void>;
}

/**
 * Gives a server that has no cameras those of the demo, each when its clip is there; never rejects. Whoever has cameras wants to see those, and not to
 * look for them among others.
 */
export async function fillWall(
  server: WallServer,
  views: () => AsyncIterable<DemoView>,
  { log, signal, after }: WallOptions,
): Promise<void> {
  if (server.cameraIds.length > 0) return;
  server.isPreparingCameras = true;
  let cameras = 0;
  try {
    await after;
    if (server.cameraIds.length > 0) return;
    for await (const { id, path } of views()) {
      // The server closes.
      if (signal.aborted) return;
      // Somebody may have added one of that name meanwhile.
      if (server.cameraIds.includes(id)) continue;
      // Whatever else the server has to look at goes first, and a machine with nothing else to do is not kept busy by a demo.
      server.lendCamera(id, { url: path, class: 'low', max_fps: LOOKS_FPS });
      cameras += 1;
    }
  } catch (thrown) {
    if (signal.aborted) return;
    const { code, message } = toSightlineError(thrown);
    log.write('demo_wall_failed', { cameras, code, reason: message });
  } finally {
    server.isPreparingCameras = false;
  }
}
