import { once } from 'node:events';
import { SightlineError, toSightlineError } from '../../base/errors.ts';
import { openData, openParent } from '../../supervise/parent.ts';
import { lowerThisThread } from '../../supervise/thread-priority.ts';
import { ClipDrawing, type DrawingCounts } from './clip-drawing.ts';
import type { ExportNews, ExportOrder } from './clip-exports.ts';
import { clipOf } from './clip.ts';

/** The process of one export: it reads recordings, draws on them what was found, and writes the clip to its pipe, as fast as that is read. */

// Before there are threads that decode: viewers of what is live wait for others.
lowerThisThread();
const { socket } = openData();
const parent = openParent<ExportOrder, ExportNews>({ isGuarded: true, onMessage: (order) => void run(order) });

async function run(order: ExportOrder): Promise<void> {
  let drawing: ClipDrawing | undefined;
  const counts = (): DrawingCounts => drawing?.counts ?? { drawn: 0, leftOut: 0 };
  try {
    const clip = await clipOf(order.files, order.range);
    drawing = new ClipDrawing({ ...order, clip, files: order.resultFiles });
    const bytes = await write(drawing.pieces(), () => void parent.send({ type: 'begun', fromMs: clip.fromMs }));
    parent.end({ type: 'ended', bytes, ...counts() });
  } catch (thrown) {
    const { code, message } = toSightlineError(thrown, 'EXPORT_FAILED');
    socket.destroy();
    parent.end({ type: 'failed', code, message, ...counts() });
  }
}

/** Returns how much that was. */
async function write(pieces: AsyncIterable<Uint8Array>, onBegun: () => void): Promise<number> {
  let bytes = 0;
  for await (const piece of pieces) {
    if (bytes === 0) onBegun();
    bytes += piece.length;
    if (socket.destroyed) throw new SightlineError('EXPORT_FAILED', 'nobody reads it');
    // Where nobody reads it any more this process is ended.
    if (!socket.write(piece)) await once(socket, 'drain');
  }
  await new Promise<void>((done) => socket.end(done));
  return bytes;
}
