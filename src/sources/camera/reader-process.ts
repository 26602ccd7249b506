import { flushCompileCache } from 'node:module';
import { openData, openParent } from '../../supervise/parent.ts';
import { hardwareDecoder } from './hardware-device.ts';
import { KeptWatches } from './kept-watches.ts';
import type { ReaderNews, ReaderOrder } from './messages.ts';
import { Outlet } from './outlet.ts';
import { CameraReader } from './reader.ts';

/**
 * The process that reads cameras. Each of FFmpeg's reads may hold a thread of libuv's pool until its camera sends something: whoever forks this sets
 * `UV_THREADPOOL_SIZE` to the number of its cameras and a few more.
 */

const COUNTS_INTERVAL_MS = 1_000;
/** News that may wait for the server: more than all cameras of a process can have at once. */
const WAITING_MAX = 4_096;

const readers = new Map<number, CameraReader>();
const watches = new KeptWatches();
const outlet = new Outlet(openData());
const parent = openParent<ReaderOrder, ReaderNews>({ isGuarded: true, waitingMax: WAITING_MAX, onMessage: follow });

function follow(order: ReaderOrder): void {
  if (order.type === 'open') {
    const { camera, epoch, input } = order;
    // It ends first; whoever opens a number twice gets what the first one has to say.
    readers.get(camera)?.close();
    const reader: CameraReader = new CameraReader({
      camera,
      epoch,
      input,
      outlet,
      hardware: hardwareDecoder,
      watches,
      tell: (news) => void parent.send(news),
      onEnd: () => {
        if (readers.get(camera) === reader) readers.delete(camera);
      },
    });
    readers.set(camera, reader);
    return;
  }
  const reader = readers.get(order.camera);
  // It may have ended while the order was on its way.
  if (!reader) {
    if (order.type === 'still') {
      const { camera, request } = order;
      const reason = 'it has no connection';
      parent.send({ type: 'still_failed', camera, request, code: 'CAMERA_NO_PICTURE', reason });
    }
  } else if (order.type === 'close') reader.close();
  else if (order.type === 'pictures') reader.orderPictures(order.rateFps, order.scale);
  else if (order.type === 'raw') reader.orderRaw(order.isWanted);
  else if (order.type === 'decoder') reader.orderDecoder(order.by);
  else if (order.type === 'transcoded') reader.orderTranscoded(order.isWanted);
  else if (order.type === 'annotated') reader.orderAnnotated(order.wish);
  else if (order.type === 'result') reader.orderResult(order);
  else reader.orderStill(order);
}

// One that is ended by a signal would leave nothing of what it has compiled to the next one.
flushCompileCache();
setInterval(() => {
  if (readers.size === 0) return;
  parent.send({ type: 'counts', cameras: [...readers].map(([camera, { counts }]) => [camera, counts] as const) });
}, COUNTS_INTERVAL_MS);
