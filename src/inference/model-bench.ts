import { inputDims } from '../vision/types.ts';
import { checkInput, declaredTensors } from './fit.ts';
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
  const [{ InferenceSession }, { TensorMemory }, { createHistogram }] = await Promise.all([
    import('onnxruntime-node'),
    import('./tensors.ts'),
    import('node:perf_hooks'),
  ]);
  const session = await InferenceSession.create(model.onnxPath, {
    intraOpNumThreads: options.threads,
    interOpNumThreads: 1,
  });
  const intake = checkInput(model.manifest, declaredTensors(session.inputMetadata));
  const dims = inputDims(model.manifest.input, intake.batch);
  const numbers = dims.reduce((a, b) => a * b, 1);
  const memory = new TensorMemory(intake.type, numbers);
  memory.floats.fill(0.5);
  memory.store(numbers);
  const feeds = { [intake.name]: memory.tensor(dims) };
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
