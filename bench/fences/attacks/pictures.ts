import { flatJpeg, progressiveJpeg, type FlatSize } from '../jpegs.ts';
import type { Attack } from '../target.ts';
import { binary, videoLane } from './lanes.ts';

/** Pictures that cost more than they weigh. */

const GIANT: FlatSize = { width: 8_192, height: 4_096 };
const VGA: FlatSize = { width: 640, height: 480 };
/** The longest budget and the highest class: what is late or crowded out hurts nobody. */
const QUERY = { budget_ms: '60000', priority: 'critical' };

function pictures(name: string, what: string, everyMs: number, make: () => Buffer): Attack {
  return {
    name,
    what,
    run: async (target) => {
      const message = binary(make());
      await target.insist(
        () => target.webSocket(videoLane(QUERY)),
        async (wire) => {
          while (await wire.hasRoom(target.untilMs)) {
            wire.write(message);
            await target.pause(everyMs);
          }
        },
      );
    },
  };
}

/** Longer than any worker waits: it is given up and goes on. */
const longScans = pictures(
  'long_scans',
  'progressive pictures of 34,000 passes, some 2 MB each: every one takes longer than a worker may',
  1_500,
  () => progressiveJpeg(GIANT, 34_000),
);

export const PICTURES: readonly Attack[] = [
  pictures('scans', 'progressive pictures of 100 kB with 630 passes over 33 million pixels, two a second', 500, () =>
    progressiveJpeg(GIANT, 630),
  ),
  longScans,
  pictures('small_scans', 'progressive pictures of 640×480 with 2,000 passes, five a second', 200, () =>
    progressiveJpeg(VGA, 2_000),
  ),
  pictures('flat_giants', 'baseline pictures of one grey, 33 million pixels in 131 kB, ten a second', 100, () =>
    flatJpeg(GIANT),
  ),
];
