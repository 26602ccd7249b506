import type { WorkerLike } from './telemetry-decoder.ts';

/**
 * A worker for the option `worker` of `connectTelemetry`; undefined where there are none or where the page forbids it. Bundlers
 * know the form and give the worker a file of its own: the page needs `worker-src 'self'` in its Content-Security-Policy.
 */
export function decodingWorker(): WorkerLike | undefined {
  if (typeof Worker !== 'function') return undefined;
  try {
    // The ending is that of the published package; bundlers find the source in the clone by it as well.
    return new Worker(new URL('./telemetry-worker.js', import.meta.url), { type: 'module' });
  } catch {
    return undefined;
  }
}
