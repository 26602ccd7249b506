import { parentPort } from 'node:worker_threads';
import type { WorkerRequest } from '../../src/inference/engine/messages.ts';
// The real worker, whose listener comes first: a job has begun when this one hears of it.
// oxlint-disable-next-line import/no-unassigned-import -- it is the program
import '../../src/inference/engine/worker.ts';

/** The engine's worker with faults that a test asks for by the width of an RGB picture, or by the name of a model to load. */

parentPort!.on('message', (request: WorkerRequest) => {
  if (request.kind === 'load' && request.model.manifest.id === 'deadly') process.exit(9);
  if (request.kind === 'run' && request.picture.kind === 'rgb') misbehave(request.picture.width);
});

function misbehave(width: number): void {
  switch (width) {
    case 101:
      return process.exit(7);
    case 102:
      throw new Error('a fault that nobody caught');
    case 103:
      for (;;);
    case 104: {
      const hoard: number[][] = [];
      for (;;) hoard.push(Array<number>(1e6).fill(0.5));
    }
    case 105: {
      // Busy for a while, then all is well.
      const endMs = performance.now() + 100;
      while (performance.now() < endMs);
    }
  }
}
