/**
 * Numbers and names of the TFLite format: enumerations, option tables and their defaults, as TensorFlow's
 * `tensorflow/compiler/mlir/lite/schema/schema.fbs` has them.
 */

/** `TensorType`: those that Sightline reads. */
export const TensorType = {
  float32: 0,
  float16: 1,
  int32: 2,
  uint8: 3,
  int64: 4,
  bool: 6,
  int16: 7,
  int8: 9,
} as const;

const TYPE_NAMES = (
  'FLOAT32 FLOAT16 INT32 UINT8 INT64 STRING BOOL INT16 COMPLEX64 INT8 FLOAT64 COMPLEX128 UINT64 RESOURCE VARIANT UINT32 ' +
  'UINT16 INT4 BFLOAT16'
).split(' ');

/** The name that the schema has for a `TensorType`. */
export function typeName(type: number): string {
  return TYPE_NAMES[type] ?? `TYPE_${type}`;
}

/** Bytes of one element, in the order of `TYPE_NAMES`; 0 for strings, handles and packed types, which have no such size. */
const BYTES = '4 2 4 1 8 0 1 2 8 1 8 16 8 0 0 4 2 0 2'.split(' ').map(Number);

/** Bytes of one element of a `TensorType`, where all have the same. */
export function elementBytes(type: number): number | undefined {
  return BYTES[type] || undefined;
}

/** `BuiltinOperator`: all names in the order of their numbers, so that a refusal can name the operator. */
const OPERATORS = (
  'ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE EMBEDDING_LOOKUP FLOOR ' +
  'FULLY_CONNECTED HASHTABLE_LOOKUP L2_NORMALIZATION L2_POOL_2D LOCAL_RESPONSE_NORMALIZATION LOGISTIC LSH_PROJECTION LSTM ' +
  'MAX_POOL_2D MUL RELU RELU_N1_TO_1 RELU6 RESHAPE RESIZE_BILINEAR RNN SOFTMAX SPACE_TO_DEPTH SVDF TANH CONCAT_EMBEDDINGS ' +
  'SKIP_GRAM CALL CUSTOM EMBEDDING_LOOKUP_SPARSE PAD UNIDIRECTIONAL_SEQUENCE_RNN GATHER BATCH_TO_SPACE_ND SPACE_TO_BATCH_ND ' +
  'TRANSPOSE MEAN SUB DIV SQUEEZE UNIDIRECTIONAL_SEQUENCE_LSTM STRIDED_SLICE BIDIRECTIONAL_SEQUENCE_RNN EXP TOPK_V2 SPLIT ' +
  'LOG_SOFTMAX DELEGATE BIDIRECTIONAL_SEQUENCE_LSTM CAST PRELU MAXIMUM ARG_MAX MINIMUM LESS NEG PADV2 GREATER GREATER_EQUAL ' +
  'LESS_EQUAL SELECT SLICE SIN TRANSPOSE_CONV SPARSE_TO_DENSE TILE EXPAND_DIMS EQUAL NOT_EQUAL LOG SUM SQRT RSQRT SHAPE POW ' +
  'ARG_MIN FAKE_QUANT REDUCE_PROD REDUCE_MAX PACK LOGICAL_OR ONE_HOT LOGICAL_AND LOGICAL_NOT UNPACK REDUCE_MIN FLOOR_DIV ' +
  'REDUCE_ANY SQUARE ZEROS_LIKE FILL FLOOR_MOD RANGE RESIZE_NEAREST_NEIGHBOR LEAKY_RELU SQUARED_DIFFERENCE MIRROR_PAD ABS ' +
  'SPLIT_V UNIQUE CEIL REVERSE_V2 ADD_N GATHER_ND COS WHERE RANK ELU REVERSE_SEQUENCE MATRIX_DIAG QUANTIZE MATRIX_SET_DIAG ' +
  'ROUND HARD_SWISH IF WHILE NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5 SCATTER_ND SELECT_V2 DENSIFY SEGMENT_SUM ' +
  'BATCH_MATMUL PLACEHOLDER_FOR_GREATER_OP_CODES CUMSUM CALL_ONCE BROADCAST_TO RFFT2D CONV_3D IMAG REAL COMPLEX_ABS HASHTABLE ' +
  'HASHTABLE_FIND HASHTABLE_IMPORT HASHTABLE_SIZE REDUCE_ALL CONV_3D_TRANSPOSE VAR_HANDLE READ_VARIABLE ASSIGN_VARIABLE ' +
  'BROADCAST_ARGS RANDOM_STANDARD_NORMAL BUCKETIZE RANDOM_UNIFORM MULTINOMIAL GELU DYNAMIC_UPDATE_SLICE RELU_0_TO_1 ' +
  'UNSORTED_SEGMENT_PROD UNSORTED_SEGMENT_MAX UNSORTED_SEGMENT_SUM ATAN2 UNSORTED_SEGMENT_MIN SIGN BITCAST BITWISE_XOR ' +
  'RIGHT_SHIFT'
).split(' ');

export const CUSTOM_OPERATOR = 32;

/** The name of a built-in operator; `OPERATOR_<number>` for those that came later than Sightline's list. */
export function operatorName(code: number): string {
  return OPERATORS[code] ?? `OPERATOR_${code}`;
}

export type OptionType = 'byte' | 'int' | 'float';
/** Each field's number, type and default. */
export type OptionFields = Readonly<Record<string, readonly [field: number, type: OptionType, fallback: number]>>;

const STRIDED = {
  padding: [0, 'byte', 0],
  strideW: [1, 'int', 0],
  strideH: [2, 'int', 0],
} as const satisfies OptionFields;
const POOL = {
  ...STRIDED,
  filterW: [3, 'int', 0],
  filterH: [4, 'int', 0],
  activation: [5, 'byte', 0],
} as const satisfies OptionFields;
const ACTIVATION = { activation: [0, 'byte', 0] } as const satisfies OptionFields;
const REDUCE = { keepDims: [0, 'byte', 0] } as const satisfies OptionFields;
const BLOCK = { blockSize: [0, 'int', 0] } as const satisfies OptionFields;

/** Numbers in the option tables, by operator. */
export const OPTIONS: Readonly<Record<string, OptionFields>> = {
  CONV_2D: { ...STRIDED, activation: [3, 'byte', 0], dilationW: [4, 'int', 1], dilationH: [5, 'int', 1] },
  DEPTHWISE_CONV_2D: { ...STRIDED, activation: [4, 'byte', 0], dilationW: [5, 'int', 1], dilationH: [6, 'int', 1] },
  TRANSPOSE_CONV: { ...STRIDED, activation: [3, 'byte', 0] },
  MAX_POOL_2D: POOL,
  AVERAGE_POOL_2D: POOL,
  ADD: ACTIVATION,
  SUB: ACTIVATION,
  MUL: ACTIVATION,
  DIV: ACTIVATION,
  CONCATENATION: { axis: [0, 'int', 0], activation: [1, 'byte', 0] },
  RESIZE_BILINEAR: { alignCorners: [2, 'byte', 0], halfPixelCenters: [3, 'byte', 0] },
  RESIZE_NEAREST_NEIGHBOR: { alignCorners: [0, 'byte', 0], halfPixelCenters: [1, 'byte', 0] },
  MEAN: REDUCE,
  SUM: REDUCE,
  REDUCE_MAX: REDUCE,
  REDUCE_MIN: REDUCE,
  REDUCE_PROD: REDUCE,
  FULLY_CONNECTED: { activation: [0, 'byte', 0], weightsFormat: [1, 'byte', 0], keepNumDims: [2, 'byte', 0] },
  BATCH_MATMUL: { adjX: [0, 'byte', 0], adjY: [1, 'byte', 0] },
  SOFTMAX: { beta: [0, 'float', 0] },
  LEAKY_RELU: { alpha: [0, 'float', 0] },
  GELU: { approximate: [0, 'byte', 0] },
  DEPTH_TO_SPACE: BLOCK,
  SPACE_TO_DEPTH: BLOCK,
  STRIDED_SLICE: {
    beginMask: [0, 'int', 0],
    endMask: [1, 'int', 0],
    ellipsisMask: [2, 'int', 0],
    newAxisMask: [3, 'int', 0],
    shrinkAxisMask: [4, 'int', 0],
    offset: [5, 'byte', 0],
  },
  PACK: { valuesCount: [0, 'int', 0], axis: [1, 'int', 0] },
  UNPACK: { num: [0, 'int', 0], axis: [1, 'int', 0] },
  SPLIT: { numSplits: [0, 'int', 0] },
  SPLIT_V: { numSplits: [0, 'int', 0] },
  GATHER: { axis: [0, 'int', 0], batchDims: [1, 'int', 0] },
  MIRROR_PAD: { mode: [0, 'byte', 0] },
};

/** Lists in the option tables: the field's number, by operator. */
export const OPTION_LISTS: Readonly<Record<string, number>> = { RESHAPE: 0, SQUEEZE: 0 };
