import protobuf from 'protobufjs/light.js';

/** The fields of a protobuf message as they lie in the file, whatever their meaning. */

export interface Field {
  /** Its number × 8, and its wire type. */
  readonly tag: number;
  /** Bytes from the start of the message. */
  readonly start: number;
  readonly end: number;
  /** Of a field that has a length; not a copy. */
  readonly content: Uint8Array | undefined;
  /** Of a whole number, its low 32 bits. */
  readonly value: number | undefined;
}

export const LENGTH_DELIMITED = 2;
const WHOLE_NUMBER = 0;

/** Throws (protobufjs's RangeError or Error) where the message is torn. */
export function* fieldsOf(message: Uint8Array): Generator<Field> {
  const reader = protobuf.Reader.create(message);
  while (reader.pos < reader.len) {
    const start = reader.pos;
    const tag = reader.uint32();
    const type = tag & 7;
    const content = type === LENGTH_DELIMITED ? reader.bytes() : undefined;
    const value = type === WHOLE_NUMBER ? reader.uint32() : undefined;
    if (content === undefined && value === undefined) reader.skipType(type);
    yield { tag, start, end: reader.pos, content, value };
  }
}

const IR_VERSION = (1 << 3) | WHOLE_NUMBER;
const GRAPH = (7 << 3) | LENGTH_DELIMITED;

/** Does a file have what every ONNX model has? No other format of models that is protobuf, too, has both. */
export function isOnnx(bytes: Uint8Array): boolean {
  const tags = new Set<number>();
  try {
    for (const { tag } of fieldsOf(bytes)) tags.add(tag);
  } catch {
    return false;
  }
  return tags.has(IR_VERSION) && tags.has(GRAPH);
}
