import type { OpenPictures } from '../sources/camera/picture-feed.ts';
import type { ModelSize } from '../sources/camera/picture-plan.ts';
import type { FrameSources } from './frame-sources.ts';
import type { OpenPipeline } from './pipeline-host.ts';

/** The pipelines for pictures of cameras. */
export function cameraPictures(sources: Pick<FrameSources, 'open'>): OpenPictures {
  return async ({ model, ...request }) => {
    const work = await sources.open({ ...request, choice: { model }, isChoiceForSome: true });
    const { frames, pipelines, rate, queued, serviceMs, close } = work;
    return {
      frames,
      pipelines,
      modelSize: modelSizeOf(pipelines),
      queued,
      serviceMs,
      rateFps: () => rate.rateFps,
      noteFrame: () => rate.frame(),
      close,
    };
  };
}

/** Two pipelines share their pictures: none of them decides. */
function modelSizeOf(pipelines: readonly OpenPipeline[]): ModelSize | undefined {
  const [{ input } = { input: undefined }, ...others] = pipelines;
  if (!input || others.length > 0) return undefined;
  return { width: input.width, height: input.height, fit: input.fit === 'stretch' ? 'stretch' : 'contain' };
}
