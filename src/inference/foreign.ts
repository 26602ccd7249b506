import { basename, extname } from 'node:path';
import { SightlineError } from '../base/errors.ts';
import { isOnnx } from './onnx/wire.ts';

/** Files that are neither ONNX nor TFLite: their kind, by their first bytes or else their ending, and how to convert them to ONNX. */

interface Format {
  readonly what: string;
  readonly how: string;
}

const ULTRALYTICS = 'yolo export model=best.pt format=onnx';

const FORMATS = {
  pytorch: {
    what: 'a PyTorch file, which needs the code that trained it',
    how: `export it there: "${ULTRALYTICS}" with Ultralytics, torch.onnx.export elsewhere`,
  },
  safetensors: {
    what: 'a safetensors file: weights without the model',
    how: 'export it with the code that trained it: "optimum-cli export onnx --model <folder> <to>" for Hugging Face, torch.onnx.export elsewhere',
  },
  tensorrt: {
    what: 'a TensorRT engine, which runs on the kind of GPU that it was built on alone',
    how: `take the .onnx that it was built from, or export that again: "${ULTRALYTICS}" with Ultralytics`,
  },
  openvino: {
    what: 'a model of OpenVINO',
    how: `take the .onnx that it was made of, or export that again: "${ULTRALYTICS}" with Ultralytics`,
  },
  tensorflow: {
    what: 'a model of TensorFlow',
    how: 'convert it: "python -m tf2onnx.convert --saved-model <folder> --output model.onnx" (--graphdef for a frozen .pb), or to .tflite',
  },
  keras: {
    what: 'a Keras model',
    how: 'export it: model.export("model.onnx", format="onnx") in Keras 3, or tf2onnx, or to .tflite',
  },
  coreml: {
    what: 'a Core ML model',
    how: `export ONNX from where it was trained: "${ULTRALYTICS}" with Ultralytics, torch.onnx.export elsewhere`,
  },
  paddle: { what: 'a model of PaddlePaddle', how: 'convert it with paddle2onnx' },
  caffe: { what: 'a Caffe model', how: 'convert it to ONNX, or take one that was exported as ONNX' },
  darknet: {
    what: 'a Darknet file',
    how: 'convert it to ONNX, or take one of the later YOLO projects, which export ONNX themselves',
  },
  compiled: {
    what: 'a model compiled for one runtime or chip',
    how: `take the .onnx that it was made of, or export that again: "${ULTRALYTICS}" with Ultralytics`,
  },
  ort: { what: "a model in ONNX Runtime's own format", how: 'take the .onnx that it was made of' },
  archive: { what: 'an archive', how: 'unpack it, and take the .onnx or .tflite that is in it' },
  weights: {
    what: 'the data of an ONNX model, or weights of another format',
    how: 'take the .onnx that belongs to it: it finds its data beside it',
  },
} as const satisfies Record<string, Format>;

const ENDINGS: Readonly<Record<string, keyof typeof FORMATS>> = {
  pt: 'pytorch',
  pth: 'pytorch',
  ckpt: 'pytorch',
  torchscript: 'pytorch',
  ptl: 'pytorch',
  safetensors: 'safetensors',
  engine: 'tensorrt',
  trt: 'tensorrt',
  plan: 'tensorrt',
  xml: 'openvino',
  pb: 'tensorflow',
  pbtxt: 'tensorflow',
  h5: 'keras',
  hdf5: 'keras',
  keras: 'keras',
  mlmodel: 'coreml',
  mlpackage: 'coreml',
  mlmodelc: 'coreml',
  pdmodel: 'paddle',
  pdiparams: 'paddle',
  pdparams: 'paddle',
  caffemodel: 'caffe',
  prototxt: 'caffe',
  weights: 'darknet',
  cfg: 'darknet',
  mnn: 'compiled',
  param: 'compiled',
  rknn: 'compiled',
  hef: 'compiled',
  dlc: 'compiled',
  om: 'compiled',
  ort: 'ort',
  zip: 'archive',
  gz: 'archive',
  tgz: 'archive',
  tar: 'archive',
  bin: 'weights',
  data: 'weights',
  onnx_data: 'weights',
};

/** Does a name end as a file of a format that Sightline does not read? */
export function hasForeignEnding(name: string): boolean {
  return Object.hasOwn(ENDINGS, endingOf(name));
}

/** Why a folder is not a model. `names`: its files. */
export function foreignFolder(path: string, names: readonly string[]): SightlineError {
  const name = basename(path);
  const format = names.includes('saved_model.pb') ? 'tensorflow' : byEnding(name);
  if (format) return refusal(name, format);
  const models = names.filter((one) => /\.(onnx|tflite)$/i.test(one)).toSorted();
  const hint = models.length > 0 ? `; name the file in it: ${models.slice(0, NAMED_MAX).join(', ')}` : '';
  return new SightlineError('SOURCE_UNREADABLE', `${path} is a folder${hint}`);
}

const NAMED_MAX = 5;

/** Why a file cannot be read as a model; undefined where nothing speaks against it. */
export function foreignFile(path: string, bytes: Uint8Array): SightlineError | undefined {
  const name = basename(path);
  const broken = notAModel(bytes);
  if (broken) return new SightlineError('MODEL_DAMAGED', `${name} ${broken}`);
  const format = isReadable(bytes) ? undefined : (formatByContent(name, bytes) ?? byEnding(name));
  return format && refusal(name, format);
}

function refusal(name: string, format: keyof typeof FORMATS): SightlineError {
  const { what, how } = FORMATS[format];
  return new SightlineError('MODEL_UNSUPPORTED', `${name} is ${what}; ${how}`);
}

/** By the identifier at byte 4 of a TFLite file. */
export function isTflite(bytes: Uint8Array): boolean {
  return latin1(bytes, 4, 4) === 'TFL3';
}

/** Whatever its name is. */
function isReadable(bytes: Uint8Array): boolean {
  return isTflite(bytes) || isOnnx(bytes);
}

function byEnding(name: string): keyof typeof FORMATS | undefined {
  return Object.hasOwn(ENDINGS, endingOf(name)) ? ENDINGS[endingOf(name)] : undefined;
}

function endingOf(name: string): string {
  return extname(name).slice(1).toLowerCase();
}

/** Of a text, or of an archive's first names. */
const LOOKED_AT = 4096;
/** The kind of bytes that are not a model: mostly of a download that went wrong. */
function notAModel(bytes: Uint8Array): string | undefined {
  if (bytes.length === 0) return 'is empty: fetch it again';
  const start = latin1(bytes, 0, LOOKED_AT).replace(/^ï»¿/, '').trimStart();
  if (/^<(!doctype\s+html|html|head|body)\b/i.test(start)) {
    return 'is an HTML page, as a site shows it instead of the file; download the file itself';
  }
  if (start.startsWith('version https://git-lfs')) {
    return 'is a pointer of Git LFS; fetch the file itself with "git lfs pull"';
  }
  if (start.startsWith('<?xml') && !start.includes('<net')) {
    return 'is an XML document, as a server answers instead of the file; fetch it again';
  }
  if (/^\{\s*"/.test(start)) return 'is JSON text, no model file; fetch the file itself';
  return undefined;
}

function formatByContent(name: string, bytes: Uint8Array): keyof typeof FORMATS | undefined {
  const starts = (text: string, at = 0) => latin1(bytes, at, text.length) === text;
  if (starts('PK\x03\x04')) {
    const named = byEnding(name);
    if (named && named !== 'archive') return named;
    return latin1(bytes, 0, LOOKED_AT).includes('/data.pkl') ? 'pytorch' : 'archive';
  }
  if (['\x1f\x8b', 'BZh', '\xfd7zXZ', '\x28\xb5\x2f\xfd', '7z\xbc\xaf', 'Rar!'].some((magic) => starts(magic))) {
    return 'archive';
  }
  if (starts('ustar', 257)) return 'archive';
  if (starts('\x89HDF')) return 'keras';
  // A pickle of protocol 2 to 5, as PyTorch wrote them before its files were archives.
  if (bytes[0] === 0x80 && bytes[1]! >= 2 && bytes[1]! <= 5) return 'pytorch';
  if (starts('ORTM', 4)) return 'ort';
  if (starts('ftrt') || starts('ptrt')) return 'tensorrt';
  if (starts('<?xml') || starts('<net')) return 'openvino';
  // The length of a header in JSON, then that.
  return starts('\x00\x00\x00{"', 5) ? 'safetensors' : undefined;
}

function latin1(bytes: Uint8Array, start: number, length: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1', start, start + length);
}
