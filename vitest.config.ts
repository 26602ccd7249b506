import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

/** They fill the heap, time and again, and look at what it has. */
const MEMORY = ['src/**/*-memory.test.ts'];

/** They have forms that only the long run has (`test/support/forms.ts`), or more worlds there (`test/sim/seeds.ts`). */
const REPEATED = [
  'src/inference/tflite/convert.test.ts',
  'src/sources/camera/{fleet,fleet-rtsp}.test.ts',
  'src/sources/demo.test.ts',
  'src/vision/picture-watch.test.ts',
  'test/e2e/{detect,package,whep,whip}.test.ts',
  'test/sim/{mixes,random}.test.ts',
];

/** Whole commands, again and again, of what shorter tests hold too: `npm test` has no time for them. */
const LONG_ONLY = [
  'alerts',
  'base-path',
  'benchmark',
  'camera-player',
  'camera-recording',
  'cameras-kept',
  'crash',
  'demo-wall',
  'metrics',
  'monitor',
  'namespaces',
  'optimize',
  'pictures',
  'recording',
  'reload',
  'secrets',
  'tls',
].map((name) => `test/e2e/${name}.test.ts`);

export default defineConfig({
  test: {
    // Processes, not threads: the native modules (ONNX Runtime, FFmpeg) are loaded once a process and start threads of their own.
    pool: 'forks',
    // Three even where there are two cores: many tests wait for something.
    maxWorkers: Math.max(3, availableParallelism() - 1),
    env: {
      // Many tests start the command and helpers of their own, which are compiled once for all of them.
      NODE_COMPILE_CACHE: fileURLToPath(new URL('node_modules/.cache/compile', import.meta.url)),
      // For tests that load ONNX Runtime themselves; src/inference/quiet-runtime.ts tells why.
      ORT_DISABLE_TELEMETRY: '1',
      // Whatever keys this user has, they are not for the servers of tests.
      XDG_DATA_HOME: fileURLToPath(new URL('node_modules/.cache/data', import.meta.url)),
      // Nor is what one of them has kept for the next one.
      SIGHTLINE_STORE__MODE: 'memory',
    },
    // A second, which is the default, is short beside a busy neighbour.
    expect: { poll: { timeout: 10_000 } },
    reporters: ['default', './test/support/reporter.ts'],
    coverage: {
      provider: 'v8',
      reportOnFailure: true,
      include: ['src/**/*.ts'],
      exclude: ['src/**/*.test.ts'],
      reporter: ['text-summary', 'html', 'json-summary'],
    },
    projects: [
      {
        extends: true,
        test: {
          name: 'unit',
          include: [
            'src/**/*.test.ts',
            'dashboard/src/**/*.test.ts',
            'test/*.test.ts',
            'test/sim/**/*.test.ts',
            'test/support/**/*.test.ts',
          ],
          exclude: MEMORY,
          testTimeout: 20_000,
          hookTimeout: 30_000,
          // Most of the time of a file that has a process of its own goes into starting it and reading the same modules again.
          isolate: false,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          exclude: LONG_ONLY,
          globalSetup: ['./test/support/setup.ts'],
          // A second worker loads its model once more, which is a third of what starting a server takes. Tests of the engine ask for more.
          env: { SIGHTLINE_INFERENCE__WORKERS: '1' },
          testTimeout: 120_000,
          hookTimeout: 180_000,
          isolate: false,
          // One queue with the unit tests, and before them, as projects of one group go by their names: many short files come last, so that no
          // worker is idle at the end.
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          // Too long for `npm test`: benchmarks in their quick form, soaks, other releases of Node, many more worlds of the simulations, estimates of
          // memory beside the heap itself.
          name: 'long',
          include: ['test/long/**/*.test.ts', ...LONG_ONLY, ...REPEATED, ...MEMORY],
          env: { RANDOM_WORLDS: '1000', REPETITIONS: '1' },
          globalSetup: ['./test/support/setup.ts'],
          testTimeout: 300_000,
          hookTimeout: 300_000,
          fileParallelism: false,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
