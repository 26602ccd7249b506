import { drawScaled, encodeJpeg } from './canvas.ts';
import type { EncodeReply, EncodeRequest } from './encoder.ts';

/** The module that a capture's worker runs: a frame of a video in, the JPEG and its very picture out. */

interface WorkerScope {
  addEventListener(type: 'message', listener: (event: { readonly data: EncodeRequest }) => void): void;
  postMessage(reply: EncodeReply, transfer: Transferable[]): void;
}

const scope = globalThis as unknown as WorkerScope;
const canvas = new OffscreenCanvas(1, 1);

scope.addEventListener('message', ({ data }) => void answer(data));
scope.postMessage({ type: 'ready' }, []);

async function answer({ source, width, height, quality }: EncodeRequest): Promise<void> {
  try {
    drawScaled(canvas, source, { width, height });
    // Cameras lend only a few frames.
    source.close();
    const jpeg = await encodeJpeg(canvas, quality);
    const picture = canvas.transferToImageBitmap();
    scope.postMessage({ type: 'encoded', jpeg, picture }, [jpeg.buffer, picture]);
  } catch (thrown) {
    scope.postMessage({ type: 'failed', message: String(thrown) }, []);
  }
}
