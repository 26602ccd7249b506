import type { GrantFields } from 'sightline/client';
import { DEMO_URL } from '../cameras.ts';

const STILLS = 6;
/** A clip of the user's own may be of any size. */
const STILL_SIDE_MAX = 960;
/** JPEGs kept, all sizes and qualities together. */
const JPEGS_MAX = 120;
/** Grants differ by a little from session to session: pictures do not have to. */
const QUALITY_STEP = 10;
const WIDTH_STEP = 32;

/** A few pictures of the demo camera, as JPEGs that keep to a grant. Each is made once, one at a time, on first use. */
export class DemoStills {
  readonly #stills: readonly ImageBitmap[];
  readonly #jpegs = new Map<string, Uint8Array<ArrayBuffer>>();
  #isEncoding = false;

  private constructor(stills: readonly ImageBitmap[]) {
    this.#stills = stills;
  }

  /** Rejects when the browser cannot play the demo camera's clip. */
  static async take(): Promise<DemoStills> {
    const video = document.createElement('video');
    video.muted = true;
    video.preload = 'auto';
    video.src = DEMO_URL;
    await once(video, 'loadeddata');
    const stills: ImageBitmap[] = [];
    for (let i = 0; i < STILLS; i++) {
      const seeked = once(video, 'seeked');
      video.currentTime = ((i + 0.5) * video.duration) / STILLS;
      await seeked;
      stills.push(await stillOf(video));
    }
    video.removeAttribute('src');
    video.load();
    return new DemoStills(stills);
  }

  /** The `n`th picture for a grant; undefined while it is being made. */
  jpeg(n: number, { width, height, quality }: GrantFields): Uint8Array<ArrayBuffer> | undefined {
    const index = n % this.#stills.length;
    const still = this.#stills[index]!;
    const scale = Math.min(1, width / still.width, height / still.height);
    const size = Math.max(WIDTH_STEP, Math.floor((still.width * scale) / WIDTH_STEP) * WIDTH_STEP);
    const step = Math.max(QUALITY_STEP, Math.floor(quality / QUALITY_STEP) * QUALITY_STEP);
    const key = `${index} ${size} ${step}`;
    const made = this.#jpegs.get(key);
    if (!made && !this.#isEncoding) void this.#make(key, still, size, step);
    return made;
  }

  close(): void {
    for (const still of this.#stills) still.close();
    this.#jpegs.clear();
  }

  async #make(key: string, still: ImageBitmap, width: number, quality: number): Promise<void> {
    this.#isEncoding = true;
    try {
      const height = Math.max(1, Math.round((width * still.height) / still.width));
      const canvas = new OffscreenCanvas(width, height);
      canvas.getContext('2d', { alpha: false })?.drawImage(still, 0, 0, width, height);
      const blob = await canvas.convertToBlob({ type: 'image/jpeg', quality: quality / 100 });
      this.#jpegs.set(key, new Uint8Array(await blob.arrayBuffer()));
      const [oldest] = this.#jpegs.keys();
      if (this.#jpegs.size > JPEGS_MAX) this.#jpegs.delete(oldest!);
    } finally {
      this.#isEncoding = false;
    }
  }
}

function stillOf(video: HTMLVideoElement): Promise<ImageBitmap> {
  const { videoWidth, videoHeight } = video;
  const scale = Math.min(1, STILL_SIDE_MAX / Math.max(videoWidth, videoHeight));
  return createImageBitmap(video, {
    resizeWidth: Math.round(videoWidth * scale),
    resizeHeight: Math.round(videoHeight * scale),
  });
}

function once(video: HTMLVideoElement, event: string): Promise<void> {
  return new Promise((resolve, reject) => {
    video.addEventListener(event, () => resolve(), { once: true });
    video.addEventListener('error', () => reject(new Error('the demo clip does not play')), { once: true });
  });
}
