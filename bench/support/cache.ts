/** Where benchmarks keep what takes long to have and is no dependency: with the dependencies, so that both go together. */
export const CACHE = new URL('../../node_modules/.cache/sightline-bench/', import.meta.url);
