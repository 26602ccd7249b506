import type { ReadyModel } from './manifest.ts';
import { keepRuntimeQuiet } from './quiet-runtime.ts';

export interface ModelBench {
  readonly threads: number;
  readonly runs: number;
  /** Milliseconds of one run. */
  readonly p50_ms: number;
  readonly p95_ms: number;
  /** Runs in a second. */
  readonly fps: number;
}

const WARM_UP_RUNS = 3;

/**
 * Runs a model on grey pictures, one after another, in one ONNX Runtime session on the calling thread, which is blocked
 * while a run lasts. Aborting `signal` throws its reason between two runs.
 */
export async function benchModel(
  model: ReadyModel,
  options: { readonly threads: number; readonly seconds: number; readonly signal: AbortSignal },
): Promise<ModelBench> {
  keepRuntimeQuiet();
  const [{ InferenceSession, Tensor }, { createHistogram }] = await Promise.all([
    import('onnxruntime-node'),
    import('node:perf_hooks'),
  ]);
  const session = await InferenceSession.create(model.onnxPath, {
    intraOpNumThreads: options.threads,
    interOpNumThreads: 1,
  });
  const { width, height, layout } = model.manifest.input;
  const dims = layout === 'nchw' ? [1, 3, height, width] : [1, height, width, 3];
  const picture = new Tensor('float32', new Float32Array(3 * width * height).fill(0.5), dims);
  const feeds = { [session.inputNames[0] as string]: picture };
  const histogram = createHistogram();
  try {
    for (let i = 0; i < WARM_UP_RUNS; i += 1) await session.run(feeds);
    const startMs = performance.now();
    while (performance.now() - startMs < options.seconds * 1000) {
      options.signal.throwIfAborted();
      const beforeMs = performance.now();
      await session.run(feeds);
      histogram.record(Math.max(1, Math.round((performance.now() - beforeMs) * 1e6)));
    }
    const elapsedMs = performance.now() - startMs;
    return {
      threads: options.threads,
      runs: histogram.count,
      p50_ms: histogram.percentile(50) / 1e6,
      p95_ms: histogram.percentile(95) / 1e6,
      fps: (histogram.count * 1000) / elapsedMs,
    };
  } finally {
    await session.release();
  }
}
