import type { Config } from '../config/schema.ts';
import type { ImageLimits } from '../media/jpeg.ts';
import type { OnnxEngineOptions } from './engine/engine.ts';
import type { ModelBookSettings } from './model-book.ts';
import type { RegistryOptions } from './registry.ts';

/** The configuration's part for this room, in the room's own terms. */

const MIB = 2 ** 20;
/** Free buffers that a worker keeps. Pictures of 33 megapixels take this for one: a few of them must not be kept for good. */
export const FREE_PIXEL_BYTES_MAX = 128 * MIB;
/** The first run allocates, the next ones show the just-in-time compiler what is hot. */
const WARM_UP_RUNS = 3;

export function engineOptions(config: Config): OnnxEngineOptions {
  const { inference } = config;
  return {
    // 0 leaves the numbers to the hint.
    ...(inference.workers > 0 && { workers: inference.workers }),
    ...(inference.threads_per_worker > 0 && { intraOpThreads: inference.threads_per_worker }),
    hint: inference.hint,
    ...(inference.thread_binding !== undefined && { threadBinding: inference.thread_binding }),
    warmUpRuns: inference.warm_up ? WARM_UP_RUNS : 0,
    deviceMemoryBytesMax: inference.device_memory_mb * MIB,
    prefetch: inference.prefetch,
    batchMax: inference.batch_max,
    batchDelayMs: inference.batch_delay_ms,
    providers: inference.providers,
    jobTimeoutMs: inference.job_timeout_ms,
    imageLimits: imageLimits(config),
  };
}

/** Limits of any picture that comes in, checked before decoding. */
export function imageLimits({ streaming }: Config): ImageLimits {
  return { sideMax: streaming.image_side_max, pixelsMax: streaming.image_pixels_max };
}

export function registryOptions({ models }: Config): RegistryOptions {
  return {
    cacheDir: models.cache_dir,
    cacheBytesMax: models.cache_bytes_max,
    manifests: models.manifests,
  };
}

export function modelBookSettings({ detection, inference }: Config): ModelBookSettings {
  return { defaultModel: detection.model, modelsMax: inference.models_max };
}
