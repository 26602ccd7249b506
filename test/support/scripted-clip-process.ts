import type { ExportNews, ExportOrder } from '../../src/channels/archive/clip-exports.ts';
import { openData, openParent } from '../../src/supervise/parent.ts';

/** In place of the process that draws on clips: it does what the id of the camera says, once a part of its clip was written: `waits` does nothing more. */

const PART = Buffer.alloc(100_000, 7);
const COUNTS = { drawn: 1, leftOut: 0 };

const { socket } = openData();
const parent = openParent<ExportOrder, ExportNews>({
  isGuarded: true,
  onMessage: ({ range: { camera, fromMs } }) => {
    parent.send({ type: 'begun', fromMs });
    socket.write(PART, () => {
      if (camera === 'dies') process.kill(process.pid, 'SIGKILL');
      if (camera === 'leaves') process.exit();
      if (camera === 'fails') {
        socket.destroy();
        parent.end({ type: 'failed', code: 'EXPORT_FAILED', message: 'as it was told', ...COUNTS });
      }
      if (camera === 'short') {
        socket.end();
        parent.end({ type: 'ended', bytes: PART.length + 1, ...COUNTS });
      }
      if (camera === 'whole') {
        socket.end();
        parent.end({ type: 'ended', bytes: PART.length, ...COUNTS });
      }
    });
  },
});
