import type { Config } from '../config/schema.ts';
import type { OnnxEngineOptions } from './engine/engine.ts';
import type { RegistryOptions } from './registry.ts';

/** What the configuration says of this room, in the room's own words. */

export function engineOptions({ inference, streaming }: Config): OnnxEngineOptions {
  return {
    // 0 leaves the number to the engine.
    ...(inference.workers > 0 && { workers: inference.workers }),
    intraOpThreads: inference.threads_per_worker,
    hint: inference.hint,
    prefetch: inference.prefetch,
    providers: inference.providers,
    jobTimeoutMs: inference.job_timeout_ms,
    imageLimits: { sideMax: streaming.image_side_max, pixelsMax: streaming.image_pixels_max },
  };
}

export function registryOptions({ models }: Config): RegistryOptions {
  return {
    cacheDir: models.cache_dir,
    cacheBytesMax: models.cache_bytes_max,
    manifests: models.manifests,
  };
}
