import { SightlineError } from '../base/errors.ts';
import type { DetectorHead, PictureInput } from '../vision/types.ts';

/**
 * A model's manifest: one per model, whether it is built in, pulled or the user's own. It has everything
 * that a worker needs to run the model, so that it can be handed to another thread or process as it is.
 */

/** Where the model's bytes come from. */
export type ModelSource =
  | {
      /** A file inside a package of the npm registry, or a byte range of that file (MediaPipe packs several into one). */
      readonly kind: 'npm';
      readonly package: string;
      readonly version: string;
      readonly file: string;
      readonly range?: { readonly start: number; readonly end: number };
    }
  | { readonly kind: 'url'; readonly url: string }
  | { readonly kind: 'file'; readonly path: string };

export interface ModelLicence {
  /** SPDX identifier, or `unknown`. */
  readonly spdx: string;
  /** One line for people: its maker, and what to mind. */
  readonly notice: string;
}

/** What `vision/` reads out of the output tensors, or nothing: hand landmarks have a pipeline of their own. */
export type ModelHead = DetectorHead | { readonly kind: 'tensors' };

export interface ModelManifest {
  /** `[a-z0-9][a-z0-9._-]{0,63}`. */
  readonly id: string;
  readonly title: string;
  readonly task: 'detect' | 'palm' | 'hand-landmarks' | 'tensors';
  readonly format: 'tflite' | 'onnx';
  readonly source: ModelSource;
  /** Checksum of the source's bytes (of the range, where there is one), lower-case hexadecimal. */
  readonly sha256: string;
  readonly licence: ModelLicence;
  /** The source ships with Sightline's own dependencies; other models are pulled on request. */
  readonly builtIn: boolean;
  readonly labels: readonly string[];
  readonly input: PictureInput;
  readonly head: ModelHead;
  readonly defaults: {
    readonly confidence: number;
    readonly iou: number;
    /** Thresholds of single classes by label; they beat `confidence`. */
    readonly perClass?: Readonly<Record<string, number>>;
  };
}

/** A model that is on this machine, whole and proven: an engine can load it. */
export interface ReadyModel {
  readonly manifest: ModelManifest;
  /** The ONNX file, converted where the source was TFLite. */
  readonly onnxPath: string;
  /** Notes for the user, from an import. */
  readonly notes?: readonly string[];
}

/** The same manifest, of a model that finds objects in pictures. Throws MODEL_UNSUPPORTED. */
export function requireDetector(manifest: ModelManifest): ModelManifest {
  if (manifest.task === 'detect') return manifest;
  throw new SightlineError('MODEL_UNSUPPORTED', `model ${manifest.id} is not a detector: its task is ${manifest.task}`);
}
