import { parentPort, workerData } from 'node:worker_threads';
import type { WorkerRequest, WorkerSettings } from '../../src/inference/engine/messages.ts';
import { NativeGuard } from '../../src/inference/engine/native-guard.ts';
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
      return;
    }
    case 106:
      // For ever, and by its own account in a native library.
      new NativeGuard((workerData as WorkerSettings).native!).enter();
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  }
}
