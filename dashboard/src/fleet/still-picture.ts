import type { CameraResult, CamerasSession, CameraView } from 'sightline/client/cameras';
import { BoxMemory } from './boxes.ts';
import { paint } from './draw.ts';
import { unixNow } from './lane.ts';
import type { LivePictureOptions, Seen } from './live-picture.ts';
import { fetchStill, stillWidth } from './stills.ts';

const INTERVAL_MS = 1_000;

/** Where the browser cannot play a camera's codec: a still each second, with the boxes of that very frame when they come. */
export class StillPicture {
  readonly canvas = document.createElement('canvas');
  readonly view: CameraView;
  readonly #options: Omit<LivePictureOptions, 'onState'>;
  readonly #memory = new BoxMemory<CameraResult>();
  readonly #timer: ReturnType<typeof setInterval>;
  #tag: string | undefined;
  #isLoading = false;
  #shown: Seen | undefined;
  showsOlder = true;

  constructor(options: Omit<LivePictureOptions, 'onState'>) {
    this.#options = options;
    const { session, camera, stage, onView } = options;
    this.canvas.setAttribute('aria-hidden', 'true');
    stage.append(this.canvas);
    this.view = this.#open(session, camera);
    this.#timer = setInterval(() => void this.#load(), INTERVAL_MS);
    this.view.on('state', () => void (this.#shown ?? this.#load()));
    onView?.(this.view);
  }

  close(): void {
    clearInterval(this.#timer);
    this.view.close();
    this.canvas.remove();
    (this.#shown?.picture as ImageBitmap | undefined)?.close();
  }

  #open(session: CamerasSession, camera: string): CameraView {
    const view = session.open(camera, { raw: false });
    view.on('result', (result) => {
      if (result.result.outcome !== 'result') return;
      this.#memory.add(result);
      this.#draw();
    });
    return view;
  }

  async #load(): Promise<void> {
    if (this.#isLoading || document.hidden || this.view.state?.state !== 'live') return;
    this.#isLoading = true;
    try {
      const width = stillWidth(this.canvas.clientWidth || 640, globalThis.devicePixelRatio || 1);
      const loaded = await fetchStill(this.view.camera, { width, tag: this.#tag });
      const frame = loaded?.still.frame;
      if (!loaded || !frame || this.view.closed) return;
      this.#tag = loaded.tag;
      const picture = await createImageBitmap(loaded.still.picture);
      (this.#shown?.picture as ImageBitmap | undefined)?.close();
      const nowMs = unixNow();
      const latencyMs = this.view.toServerTimeMs(nowMs) - loaded.still.captureTimeMs;
      const { width: w, height: h } = picture;
      const captureTimeMs = nowMs - latencyMs;
      const drawn = this.#memory.at(frame, captureTimeMs);
      const { clock } = loaded.still;
      this.#shown = {
        frame,
        captureTimeMs,
        latencyMs,
        clock,
        inPageMs: undefined,
        width: w,
        height: h,
        drawn,
        boxes: 'none',
        picture,
      };
      this.#draw();
    } catch {
      // The camera's state tells why there is none.
    } finally {
      this.#isLoading = false;
    }
  }

  #draw(): void {
    if (!this.#shown) return;
    const { frame, captureTimeMs, width, height, picture } = this.#shown;
    const drawn = this.#memory.at(frame, captureTimeMs);
    const { canvas, showsOlder } = this;
    const hasOwn = paint(canvas, { width, height, drawn, picture, isWhole: true, showsOlder });
    canvas.dataset['frame'] = hasOwn ? `${frame.epoch}/${frame.seq}` : '';
    this.#options.onSeen?.({ ...this.#shown, drawn });
  }
}
