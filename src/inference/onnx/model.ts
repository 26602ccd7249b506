import protobuf from 'protobufjs/light.js';

/**
 * ONNX graphs as plain objects, to and from protobuf. Field numbers are those of `onnx.proto3` (ONNX 1.18, IR version 10);
 * fields that Sightline neither reads nor writes are left out and skipped when a file has them.
 */

/** `TensorProto.DataType`. */
export const DataType = {
  float: 1,
  uint8: 2,
  int8: 3,
  int32: 6,
  int64: 7,
  string: 8,
  bool: 9,
  float16: 10,
  double: 11,
} as const;
export type DataType = (typeof DataType)[keyof typeof DataType];

export interface OnnxTensor {
  name: string;
  dims: number[];
  dataType: number;
  /** Little-endian elements. */
  rawData: Uint8Array;
  /** Where the elements lie instead of here (external-data.ts). */
  externalData?: { key: string; value: string }[];
  /** 1: in `externalData`. */
  dataLocation?: 0 | 1;
}

/** `float`, `int`, `string`, `tensor`, `floats`, `ints`: the kinds of attribute that Sightline writes. */
export type OnnxAttribute =
  | { name: string; type: 1; f: number }
  | { name: string; type: 2; i: number }
  | { name: string; type: 3; s: Uint8Array }
  | { name: string; type: 4; t: OnnxTensor }
  | { name: string; type: 6; floats: number[] }
  | { name: string; type: 7; ints: number[] };

export interface OnnxNode {
  name: string;
  opType: string;
  domain?: string;
  input: string[];
  output: string[];
  attribute: OnnxAttribute[];
}

/** A dimension is a number, or the name of one that is only known at run time. */
export interface OnnxValueInfo {
  name: string;
  elemType: number;
  shape: (number | string)[];
}

export interface OnnxModel {
  irVersion: number;
  opset: number;
  producerName: string;
  graph: {
    name: string;
    node: OnnxNode[];
    initializer: OnnxTensor[];
    input: OnnxValueInfo[];
    output: OnnxValueInfo[];
  };
  metadata: Record<string, string>;
}

const f = (id: number, type: string, rule?: 'repeated') => (rule ? { id, type, rule } : { id, type });

const root = protobuf.Root.fromJSON({
  nested: {
    StringEntry: { fields: { key: f(1, 'string'), value: f(2, 'string') } },
    OperatorSetId: { fields: { domain: f(1, 'string'), version: f(2, 'int64') } },
    Tensor: {
      fields: {
        dims: f(1, 'int64', 'repeated'),
        dataType: f(2, 'int32'),
        floatData: f(4, 'float', 'repeated'),
        int32Data: f(5, 'int32', 'repeated'),
        int64Data: f(7, 'int64', 'repeated'),
        name: f(8, 'string'),
        rawData: f(9, 'bytes'),
        externalData: f(13, 'StringEntry', 'repeated'),
        dataLocation: f(14, 'int32'),
      },
    },
    Attribute: {
      fields: {
        name: f(1, 'string'),
        f: f(2, 'float'),
        i: f(3, 'int64'),
        s: f(4, 'bytes'),
        t: f(5, 'Tensor'),
        floats: f(7, 'float', 'repeated'),
        ints: f(8, 'int64', 'repeated'),
        type: f(20, 'int32'),
      },
    },
    Node: {
      fields: {
        input: f(1, 'string', 'repeated'),
        output: f(2, 'string', 'repeated'),
        name: f(3, 'string'),
        opType: f(4, 'string'),
        attribute: f(5, 'Attribute', 'repeated'),
        domain: f(7, 'string'),
      },
    },
    Dimension: {
      fields: { dimValue: f(1, 'int64'), dimParam: f(2, 'string') },
      oneofs: { value: { oneof: ['dimValue', 'dimParam'] } },
    },
    Shape: { fields: { dim: f(1, 'Dimension', 'repeated') } },
    TensorType: { fields: { elemType: f(1, 'int32'), shape: f(2, 'Shape') } },
    Type: { fields: { tensorType: f(1, 'TensorType') } },
    ValueInfo: { fields: { name: f(1, 'string'), type: f(2, 'Type') } },
    Graph: {
      fields: {
        node: f(1, 'Node', 'repeated'),
        name: f(2, 'string'),
        initializer: f(5, 'Tensor', 'repeated'),
        input: f(11, 'ValueInfo', 'repeated'),
        output: f(12, 'ValueInfo', 'repeated'),
      },
    },
    Model: {
      fields: {
        irVersion: f(1, 'int64'),
        producerName: f(2, 'string'),
        graph: f(7, 'Graph'),
        opsetImport: f(8, 'OperatorSetId', 'repeated'),
        metadataProps: f(14, 'StringEntry', 'repeated'),
      },
    },
  },
});

const ModelType = root.lookupType('Model');
const TensorType = root.lookupType('Tensor');
/** How fields come out: numbers for 64 bits, every field there. */
const PLAIN = { longs: Number, defaults: true, arrays: true, objects: true, oneofs: true } as const;

/** The ONNX file of a graph. */
export function encodeOnnx(model: OnnxModel): Uint8Array {
  const { graph } = model;
  return ModelType.encode(
    ModelType.fromObject({
      irVersion: model.irVersion,
      producerName: model.producerName,
      opsetImport: [{ domain: '', version: model.opset }],
      metadataProps: Object.entries(model.metadata).map(([key, value]) => ({ key, value })),
      graph: {
        name: graph.name,
        node: graph.node,
        initializer: graph.initializer,
        input: graph.input.map(encodeValueInfo),
        output: graph.output.map(encodeValueInfo),
      },
    }),
  ).finish();
}

/**
 * The graph in an ONNX file. Throws (protobufjs's RangeError or Error) when the bytes are not a protobuf message or end too
 * early. Tensors keep their raw bytes; typed data fields are turned into raw bytes.
 */
export function decodeOnnx(bytes: Uint8Array): OnnxModel {
  const plain = ModelType.toObject(ModelType.decode(bytes), PLAIN);
  if (!plain['graph']) throw new Error('the file holds no graph');
  const graph = plain['graph'];
  return {
    irVersion: plain['irVersion'],
    producerName: plain['producerName'],
    opset:
      plain['opsetImport'].find((o: { domain: string }) => o.domain === '' || o.domain === 'ai.onnx')?.version ?? 0,
    metadata: Object.fromEntries(plain['metadataProps'].map((e: { key: string; value: string }) => [e.key, e.value])),
    graph: {
      name: graph.name,
      node: graph.node,
      initializer: graph.initializer.map(decodeTensor),
      input: graph.input.map(decodeValueInfo),
      output: graph.output.map(decodeValueInfo),
    },
  };
}

/** One tensor alone, with where its elements lie if that is elsewhere. */
export function decodeOnnxTensor(bytes: Uint8Array): OnnxTensor & { external: { key: string; value: string }[] } {
  const plain = TensorType.toObject(TensorType.decode(bytes), PLAIN);
  return { ...decodeTensor(plain), external: plain['externalData'] };
}

function encodeValueInfo(info: OnnxValueInfo) {
  return {
    name: info.name,
    type: {
      tensorType: {
        elemType: info.elemType,
        shape: { dim: info.shape.map((d) => (typeof d === 'number' ? { dimValue: d } : { dimParam: d })) },
      },
    },
  };
}

function decodeValueInfo(info: any): OnnxValueInfo {
  const tensor = info.type?.tensorType;
  return {
    name: info.name,
    elemType: tensor?.elemType ?? 0,
    shape: (tensor?.shape?.dim ?? []).map((d: any) => (d.value === 'dimValue' ? d.dimValue : (d.dimParam ?? ''))),
  };
}

function decodeTensor(t: any): OnnxTensor {
  let rawData: Uint8Array = t.rawData;
  if (rawData.length === 0) {
    if (t.floatData.length > 0) rawData = bytesOf(Float32Array.from(t.floatData));
    else if (t.int64Data.length > 0) rawData = bytesOf(BigInt64Array.from(t.int64Data, BigInt));
    else if (t.int32Data.length > 0) rawData = bytesOf(Int32Array.from(t.int32Data));
  }
  return { name: t.name, dims: t.dims, dataType: t.dataType, rawData };
}

/** The bytes under a typed array, without a copy. */
export function bytesOf(array: ArrayBufferView): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

/** A node; its name is that of its first output. */
export function node(opType: string, input: string[], output: string[], attribute: OnnxAttribute[] = []): OnnxNode {
  return { name: output[0] ?? opType, opType, input, output, attribute };
}

export const attr = {
  int: (name: string, i: number): OnnxAttribute => ({ name, type: 2, i }),
  ints: (name: string, ints: number[]): OnnxAttribute => ({ name, type: 7, ints }),
  float: (name: string, value: number): OnnxAttribute => ({ name, type: 1, f: value }),
  string: (name: string, value: string): OnnxAttribute => ({ name, type: 3, s: new TextEncoder().encode(value) }),
};

export const tensor = {
  float: (name: string, dims: number[], values: ArrayLike<number>): OnnxTensor => ({
    name,
    dims,
    dataType: DataType.float,
    rawData: bytesOf(values instanceof Float32Array ? values : Float32Array.from(values)),
  }),
  int64: (name: string, dims: number[], values: number[]): OnnxTensor => ({
    name,
    dims,
    dataType: DataType.int64,
    rawData: bytesOf(BigInt64Array.from(values, BigInt)),
  }),
};
