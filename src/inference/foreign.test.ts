import { describe, expect, test } from 'vitest';
import { DataType, encodeOnnx, node } from './onnx/model.ts';
import { foreignFile, foreignFolder, hasForeignEnding } from './foreign.ts';

const bytes = (text: string) => new Uint8Array(Buffer.from(text, 'latin1'));
const refusal = (name: string, content: Uint8Array) => {
  const error = foreignFile(`/models/${name}`, content);
  return error && `${error.code}: ${error.message}`;
};

const ONNX = encodeOnnx({
  irVersion: 8,
  opset: 18,
  producerName: 'test',
  metadata: {},
  graph: {
    name: 'g',
    node: [node('Relu', ['x'], ['y'])],
    initializer: [],
    input: [{ name: 'x', elemType: DataType.float, shape: [1] }],
    output: [{ name: 'y', elemType: DataType.float, shape: [1] }],
  },
});

describe('a model of another format is told how to become ONNX', () => {
  test.each<[string, string, RegExp]>([
    [
      'best.pt',
      'PK\x03\x04aaaa',
      /best\.pt is a PyTorch file.*yolo export model=best\.pt format=onnx.*torch\.onnx\.export/,
    ],
    ['old.pth', '\x80\x02}q\x00', /PyTorch/],
    ['anything.onnx', 'PK\x03\x04\x00\x00best/data.pkl', /anything\.onnx is a PyTorch file/],
    ['model.keras', 'PK\x03\x04metadata.json', /Keras.*model\.export/],
    ['weights.onnx', '\x89HDF\r\n', /Keras/],
    ['best.engine', 'whatever', /TensorRT engine.*\.onnx that it was built from/],
    ['best.xml', '<?xml version="1.0"?>\n<net name="x">', /OpenVINO/],
    ['frozen.pb', '\x0a\x10node', /TensorFlow.*tf2onnx/],
    ['best.mlmodel', '\x08\x01', /Core ML/],
    ['model.safetensors', '\x40\x00\x00\x00\x00\x00\x00\x00{"a":1}', /safetensors/],
    ['yolov4.weights', '\x00\x00', /Darknet/],
    ['model.ort', '\x00\x00\x00\x00ORTM', /ONNX Runtime's own format/],
    ['best.onnx.data', '\x00\x00\x00', /take the \.onnx that belongs to it/],
    ['model.onnx_data', '\x00\x00\x00', /take the \.onnx that belongs to it/],
    ['archive.onnx', 'PK\x03\x04readme.txt', /archive\.onnx is an archive; unpack it/],
    ['best.onnx', '\x1f\x8b\x08', /archive/],
    ['inference.pdmodel', '\x0a', /paddle2onnx/],
  ])('%s', (name, content, words) => {
    expect(refusal(name, bytes(content))).toMatch(words);
    expect(refusal(name, bytes(content))).toMatch(/^MODEL_UNSUPPORTED/);
  });

  test('a folder', () => {
    expect(foreignFolder('/m/best.mlpackage', ['Data']).message).toMatch(/Core ML/);
    expect(foreignFolder('/m/saved', ['variables', 'saved_model.pb']).message).toMatch(
      /saved is a model of TensorFlow/,
    );
    expect(foreignFolder('/m/out', ['b.onnx', 'a.onnx', 'x.txt']).message).toBe(
      '/m/out is a folder; name the file in it: a.onnx, b.onnx',
    );
    expect(foreignFolder('/m/out', [])).toMatchObject({ code: 'SOURCE_UNREADABLE', message: '/m/out is a folder' });
  });
});

test.each<[string, string, RegExp]>([
  ['an HTML page', '\n<!DOCTYPE html><html>', /HTML page.*download the file itself/],
  ['an HTML page in capitals', '<HTML><BODY>404', /HTML page/],
  ['a pointer', 'version https://git-lfs.github.com/spec/v1\noid sha256:', /git lfs pull/],
  ['an error of a store', '<?xml version="1.0"?><Error><Code>AccessDenied', /XML document/],
  ['an error in JSON', '{"error": "not found"}', /JSON text/],
  ['nothing', '', /is empty/],
])('what came instead of a model is told: %s', (_what, content, words) => {
  expect(refusal('best.onnx', bytes(content))).toMatch(words);
  expect(refusal('best.onnx', bytes(content))).toMatch(/^MODEL_DAMAGED/);
});

test('what is in the file counts, not its name', () => {
  for (const name of ['best.onnx', 'best.pb', 'best.bin', 'best']) expect(refusal(name, ONNX)).toBeUndefined();
  expect(refusal('best.bin', bytes('\x1c\x00\x00\x00TFL3'))).toBeUndefined();
  // Torn, it is for ONNX Runtime to say so.
  expect(refusal('best.onnx', ONNX.subarray(0, ONNX.length - 3))).toBeUndefined();
});

test('endings by which a name is a path and no id', () => {
  expect(['best.pt', 'best.ENGINE', 'a.onnx_data'].every(hasForeignEnding)).toBe(true);
  expect(['yolov8n', 'yolo.v8', 'constructor', 'x.onnx'].some(hasForeignEnding)).toBe(false);
});
