/**
 * The one catalogue of errors that a user can meet. A code is part of the public contract: it never changes its meaning.
 * `docs/errors.md` describes each of them; a test keeps the two consistent.
 *
 * `status` is the HTTP status; a WebSocket closes with 4000 + status when the error ends the session (RFC 6455 leaves
 * 4000 to 4999 to applications); the command line exits with `exit` (sysexits.h: 64 usage, 65 data, 66 no input,
 * 69 unavailable, 70 software, 73 cannot create, 74 input or output, 76 protocol, 78 configuration).
 */
export const ERRORS = {
  // A frame of a session. The session lives on.
  FRAME_EMPTY: { status: 400, exit: 65 },
  FRAME_NOT_JPEG: { status: 415, exit: 65 },
  FRAME_TRUNCATED: { status: 400, exit: 65 },
  FRAME_UNDECODABLE: { status: 422, exit: 65 },
  FRAME_PIXELS_BAD: { status: 400, exit: 65 },
  FRAME_TOO_LARGE: { status: 413, exit: 65 },
  FRAME_COSTLY: { status: 422, exit: 65 },
  FRAME_HEADER_BAD: { status: 400, exit: 65 },
  FRAME_SEQUENCE_BAD: { status: 409, exit: 65 },
  // A message of a session. The session lives on, but for a message over the size limit.
  MESSAGE_TOO_LARGE: { status: 413, exit: 65 },
  MESSAGE_NOT_JSON: { status: 400, exit: 65 },
  MESSAGE_TYPE_UNKNOWN: { status: 400, exit: 65 },
  MESSAGE_FIELD_BAD: { status: 400, exit: 65 },
  // Topics, filters and batches of the telemetry lane. The session lives on.
  TOPIC_BAD: { status: 400, exit: 64 },
  FILTER_BAD: { status: 400, exit: 64 },
  PAYLOAD_BAD: { status: 400, exit: 65 },
  BATCH_BAD: { status: 400, exit: 65 },
  BATCH_TOO_LARGE: { status: 413, exit: 65 },
  COMPRESSION_BAD: { status: 400, exit: 65 },
  SCHEMA_UNKNOWN: { status: 404, exit: 65 },
  TOPIC_FORBIDDEN: { status: 403, exit: 77 },
  TOPIC_LIMIT_REACHED: { status: 503, exit: 69 },
  ALIAS_UNKNOWN: { status: 404, exit: 65 },
  SUBSCRIPTION_UNKNOWN: { status: 404, exit: 65 },
  SUBSCRIPTION_LIMIT_REACHED: { status: 429, exit: 69 },
  PUBLISH_SEQUENCE_BAD: { status: 409, exit: 65 },
  RATE_EXCEEDED: { status: 429, exit: 69 },
  MEMORY_LIMIT_REACHED: { status: 429, exit: 69 },
  // Refusals and losses of the client itself.
  PUBLISH_QUEUE_FULL: { status: 429, exit: 69 },
  DECODER_LOST: { status: 500, exit: 70 },
  // A telemetry session that cannot go on; it resumes.
  CRITICAL_BACKLOG: { status: 429, exit: 69 },
  SLOW_CONSUMER: { status: 408, exit: 69 },
  // A session or request that cannot go on.
  QUERY_BAD: { status: 400, exit: 64 },
  REQUEST_BAD: { status: 400, exit: 65 },
  REQUEST_TIMEOUT: { status: 408, exit: 69 },
  HEADER_TOO_LARGE: { status: 431, exit: 65 },
  BODY_BAD: { status: 400, exit: 65 },
  BODY_TOO_LARGE: { status: 413, exit: 65 },
  BODY_TYPE_BAD: { status: 415, exit: 65 },
  RANGE_BAD: { status: 416, exit: 65 },
  PIPELINE_UNKNOWN: { status: 404, exit: 64 },
  NOT_FOUND: { status: 404, exit: 66 },
  UPGRADE_REQUIRED: { status: 426, exit: 76 },
  ORIGIN_FORBIDDEN: { status: 403, exit: 77 },
  HOST_FORBIDDEN: { status: 403, exit: 77 },
  SESSION_NAME_IN_USE: { status: 409, exit: 69 },
  SESSION_TOKEN_BAD: { status: 401, exit: 77 },
  SESSION_UNKNOWN: { status: 404, exit: 66 },
  SESSION_TAKEN_OVER: { status: 409, exit: 69 },
  SESSION_IDLE: { status: 408, exit: 69 },
  CONNECTIONS_EXHAUSTED: { status: 503, exit: 69 },
  ADDRESS_LIMIT_REACHED: { status: 429, exit: 69 },
  SHUTTING_DOWN: { status: 503, exit: 69 },
  // A client whose store for its token fails. Its session goes on.
  TOKEN_STORE_BAD: { status: 500, exit: 74 },
  // A client that finds no server, or loses it for good.
  CONNECTION_FAILED: { status: 502, exit: 69 },
  CONNECTION_LOST: { status: 502, exit: 69 },
  // Models and inference.
  MODEL_UNKNOWN: { status: 404, exit: 66 },
  MODEL_UNAVAILABLE: { status: 503, exit: 69 },
  MODEL_DAMAGED: { status: 422, exit: 65 },
  MODEL_UNSUPPORTED: { status: 422, exit: 65 },
  MODEL_CRASHED: { status: 422, exit: 65 },
  MODEL_FETCH_FAILED: { status: 502, exit: 69 },
  INFERENCE_FAILED: { status: 500, exit: 70 },
  WORKER_LOST: { status: 503, exit: 70 },
  // The hub, for programs that embed the server.
  STREAM_NAME_IN_USE: { status: 409, exit: 69 },
  STREAM_LIMIT_REACHED: { status: 503, exit: 69 },
  STREAM_CLOSED: { status: 410, exit: 69 },
  STREAM_OPTION_BAD: { status: 400, exit: 64 },
  // Sources and files.
  SOURCE_NOT_FOUND: { status: 404, exit: 66 },
  SOURCE_UNREADABLE: { status: 422, exit: 65 },
  OUTPUT_FAILED: { status: 500, exit: 73 },
  // The load tester.
  BENCHMARK_FAILED: { status: 500, exit: 70 },
  // The server's measurement of itself.
  BENCHMARK_BUSY: { status: 503, exit: 69 },
  // Settings for a running server, or for its start.
  CONFIG_KEY_UNKNOWN: { status: 400, exit: 78 },
  CONFIG_ENTRY_UNKNOWN: { status: 404, exit: 78 },
  CONFIG_VALUE_BAD: { status: 400, exit: 78 },
  CONFIG_CONTRADICTION: { status: 400, exit: 78 },
  CONFIG_KEY_FIXED: { status: 409, exit: 78 },
  // Starting up.
  CONFIG_UNREADABLE: { status: 500, exit: 78 },
  ADDRESS_IN_USE: { status: 500, exit: 69 },
  ADDRESS_NEEDS_CREDENTIALS: { status: 500, exit: 78 },
  USAGE: { status: 400, exit: 64 },
  INTERNAL: { status: 500, exit: 70 },
} as const satisfies Record<string, { status: number; exit: number }>;

export type ErrorCode = keyof typeof ERRORS;

/** The one error class. `message` names the bad value; `code` is stable. */
export class SightlineError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'SightlineError';
    this.code = code;
  }

  /** HTTP status of a response that carries this error. */
  get status(): number {
    return ERRORS[this.code].status;
  }

  /** WebSocket close code of a session that this error ends: 4000 + HTTP status. */
  get closeCode(): number {
    return 4000 + this.status;
  }

  /** Exit code of a command that this error ends. */
  get exitCode(): number {
    return ERRORS[this.code].exit;
  }
}

/** Any thrown value as a SightlineError; any other value becomes `fallback` with the original as its cause. */
export function toSightlineError(thrown: unknown, fallback: ErrorCode = 'INTERNAL'): SightlineError {
  if (thrown instanceof SightlineError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new SightlineError(fallback, message, { cause: thrown });
}
