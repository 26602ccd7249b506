import { resolve } from 'node:path';
import { systemClock } from '../base/clock.ts';
import type { FrameOutcome } from '../base/frame.ts';
import type { Picture } from '../base/picture.ts';
import type { PipelineName } from '../base/result.ts';
import type { Config } from '../config/schema.ts';
import { OnnxEngine } from '../inference/engine/engine.ts';
import { requireDetector, type ModelManifest, type ReadyModel } from '../inference/manifest.ts';
import { isModelPath, ModelRegistry } from '../inference/registry.ts';
import { engineOptions, registryOptions } from '../inference/settings.ts';
import type { RgbPicture } from '../media/jpeg.ts';
import { Dispatcher } from '../pipelines/dispatcher.ts';
import { FrameOutcomes } from '../pipelines/frame-outcomes.ts';
import type { ModelSource } from '../pipelines/pipeline.ts';
import { PipelineHost } from '../pipelines/pipeline-host.ts';
import { boundless, type MemoryAccount } from '../fences/memory-ledger.ts';
import { FrameStreams } from '../stream/frame-streams.ts';
import { Hub } from '../stream/hub.ts';

/** An engine of a command's own. It works on all frames of one input after the other, as fast as it can. */

/** One input at a time: its frames, and the outcomes of each pipeline. */
const STREAMS_MAX = 16;
/** Deadlines do not matter for a file; a worker that hangs is given up long before. */
const NEVER_MS = 3_600_000;

export interface WorkerModel {
  readonly manifest: ModelManifest;
  /** The execution provider that really runs it. */
  readonly provider: string;
}

export interface FrameWorker extends AsyncDisposable {
  readonly models: readonly WorkerModel[];
  /** Frames that may be under way at once, at least 2. */
  readonly framesMax: number;
  /** For the frames of one input. */
  open(): Promise<WorkedInput>;
}

export interface WorkedInput extends Disposable {
  readonly pipelines: readonly PipelineName[];
  /** A promise for each pipeline; `seq` rises. The picture stays the caller's, who must not change it before they are settled. */
  push(seq: number, captureTimeMs: number, picture: RgbPicture): Promise<FrameOutcome>[];
}

/** Errors: PIPELINE_UNKNOWN, and those of models; MODEL_UNSUPPORTED for a model that is not a detector. */
export async function openWorker(
  names: readonly string[],
  config: Config,
  { size }: { readonly size?: { readonly width: number; readonly height: number } },
  { cwd, signal }: { readonly cwd: string; readonly signal: AbortSignal },
): Promise<FrameWorker> {
  const registry = new ModelRegistry(registryOptions(config));
  const engine = new OnnxEngine(engineOptions(config));
  const hub = new Hub({ clock: systemClock, streamsMax: STREAMS_MAX });
  const close = async (): Promise<void> => {
    hub.close();
    await engine.close();
  };
  try {
    const loaded: WorkerModel[] = [];
    const load = async ({ manifest, onnxPath }: ReadyModel): Promise<ModelManifest> => {
      signal.throwIfAborted();
      const { effective } = await engine.load({ manifest, onnxPath });
      if (!loaded.some((one) => one.manifest.id === manifest.id)) loaded.push({ manifest, provider: effective });
      return manifest;
    };
    let detector: Promise<ModelManifest> | undefined;
    const models: ModelSource = {
      detector: async () => {
        const { model } = config.detection;
        detector ??= registry
          .resolve(isModelPath(model) ? resolve(cwd, model) : model, size && { size })
          .then((ready) => {
            requireDetector(ready.manifest);
            return load(ready);
          });
        return (await detector).id;
      },
      model: async (id) => await load(await registry.resolve(id)),
    };
    // A worker that has nothing to do yet takes one frame and has the next one ready.
    const framesMax = Math.max(2, engine.stats().workerSlots * (config.inference.prefetch + 1));
    const dispatcher = new Dispatcher({
      engine,
      clock: systemClock,
      laneInFlightMax: framesMax,
      stallTimeoutMs: NEVER_MS,
    });
    // Its frames come one by one, as they are asked for.
    const memory = boundless();
    const streams = new FrameStreams(hub, memory);
    const account = (): MemoryAccount => memory.server;
    const host = new PipelineHost({ streams, dispatcher, models, config: () => config });
    let inputs = 0;
    const open = async (): Promise<WorkedInput> => {
      const source = `input:${++inputs}`;
      const frames = streams.frames(`${source}/frames`, framesMax, account);
      const { lane, pipelines } = await host.open({ source, frames, account, pipelines: names, choice: {} });
      const outcomes = new FrameOutcomes(pipelines);
      return {
        pipelines: pipelines.map(({ name }) => name),
        push: (seq, captureTimeMs, { data, width, height }) => {
          const promised = outcomes.of(seq);
          const picture: Picture = { kind: 'rgb', bytes: data, width, height, source: { width, height } };
          frames.publish({ seq, captureTimeMs, data: picture });
          return promised;
        },
        [Symbol.dispose]: () => {
          dispatcher.detach(lane);
          outcomes[Symbol.dispose]();
          frames.close();
        },
      };
    };
    // Wrong names and models are reported before an input is read.
    (await open())[Symbol.dispose]();
    signal.throwIfAborted();
    return { models: loaded, framesMax, open, [Symbol.asyncDispose]: close };
  } catch (thrown) {
    await close();
    throw thrown;
  }
}
