/**
 * The one catalogue of errors that a user can meet. A code is part of the public contract: it never changes its meaning.
 * `docs/errors.md` describes each of them; a test keeps the two consistent.
 *
 * The number is the HTTP status; a WebSocket closes with 4000 + status when the error ends the session (RFC 6455 leaves
 * 4000 to 4999 to applications). With what the command line exits stands in `exit-codes.ts`, which browsers need not load.
 */
export const ERRORS = {
  // A frame of a session. The session lives on.
  FRAME_EMPTY: 400,
  FRAME_NOT_JPEG: 415,
  FRAME_TRUNCATED: 400,
  FRAME_UNDECODABLE: 422,
  FRAME_PIXELS_BAD: 400,
  FRAME_TOO_LARGE: 413,
  FRAME_COSTLY: 422,
  FRAME_HEADER_BAD: 400,
  FRAME_SEQUENCE_BAD: 409,
  SESSION_COSTLY: 429,
  // A message of a session. The session lives on, but for a message over the size limit.
  MESSAGE_TOO_LARGE: 413,
  MESSAGE_NOT_JSON: 400,
  MESSAGE_TYPE_UNKNOWN: 400,
  MESSAGE_FIELD_BAD: 400,
  // Topics, filters and batches of the telemetry lane. The session lives on.
  TOPIC_BAD: 400,
  FILTER_BAD: 400,
  PAYLOAD_BAD: 400,
  BATCH_BAD: 400,
  BATCH_TOO_LARGE: 413,
  COMPRESSION_BAD: 400,
  SCHEMA_UNKNOWN: 404,
  TOPIC_FORBIDDEN: 403,
  TOPIC_LIMIT_REACHED: 503,
  ALIAS_UNKNOWN: 404,
  SUBSCRIPTION_UNKNOWN: 404,
  SUBSCRIPTION_LIMIT_REACHED: 429,
  PUBLISH_SEQUENCE_BAD: 409,
  RATE_EXCEEDED: 429,
  MEMORY_LIMIT_REACHED: 429,
  // Refusals and losses of the client itself.
  PUBLISH_QUEUE_FULL: 429,
  DECODER_LOST: 500,
  // A telemetry session that cannot go on; it resumes.
  CRITICAL_BACKLOG: 429,
  SLOW_CONSUMER: 408,
  // A session or request that cannot go on.
  QUERY_BAD: 400,
  REQUEST_BAD: 400,
  REQUEST_TIMEOUT: 408,
  HEADER_TOO_LARGE: 431,
  BODY_BAD: 400,
  BODY_TOO_LARGE: 413,
  BODY_TYPE_BAD: 415,
  RANGE_BAD: 416,
  PIPELINE_UNKNOWN: 404,
  NOT_FOUND: 404,
  UPGRADE_REQUIRED: 426,
  // Who comes in, and what they may do.
  CREDENTIALS_MISSING: 401,
  CREDENTIALS_BAD: 401,
  CREDENTIALS_EXPIRED: 401,
  CREDENTIALS_UNCHECKED: 503,
  LOGIN_LIMIT_REACHED: 429,
  PERMISSION_DENIED: 403,
  ORIGIN_FORBIDDEN: 403,
  HOST_FORBIDDEN: 403,
  SESSION_NAME_IN_USE: 409,
  SESSION_TOKEN_BAD: 401,
  SESSION_UNKNOWN: 404,
  SESSION_TAKEN_OVER: 409,
  SESSION_IDLE: 408,
  CONNECTIONS_EXHAUSTED: 503,
  ADDRESS_LIMIT_REACHED: 429,
  SHUTTING_DOWN: 503,
  NOT_READY: 503,
  // A client whose store for its token fails. Its session goes on.
  TOKEN_STORE_BAD: 500,
  // A client that finds no server, or loses it for good.
  CONNECTION_FAILED: 502,
  CONNECTION_LOST: 502,
  // Models and inference.
  MODEL_UNKNOWN: 404,
  MODEL_UNAVAILABLE: 503,
  MODEL_DAMAGED: 422,
  MODEL_UNSUPPORTED: 422,
  MODEL_CRASHED: 422,
  MODEL_FETCH_FAILED: 502,
  INFERENCE_FAILED: 500,
  WORKER_LOST: 503,
  // The hub, for programs that embed the server.
  STREAM_NAME_IN_USE: 409,
  STREAM_LIMIT_REACHED: 503,
  STREAM_CLOSED: 410,
  STREAM_OPTION_BAD: 400,
  // Sources and files.
  SOURCE_NOT_FOUND: 404,
  SOURCE_UNREADABLE: 422,
  OUTPUT_FAILED: 500,
  // Cameras of the fleet.
  CAMERA_UNKNOWN: 404,
  CAMERA_OFF: 409,
  CAMERA_LIMIT_REACHED: 503,
  CAMERA_NO_PICTURE: 503,
  CAMERA_MASKED: 403,
  CAMERA_STALLED: 504,
  CHANNEL_UNAVAILABLE: 404,
  RECORDING_MISSING: 404,
  CLIP_BROKEN: 409,
  EXPORT_LIMIT_REACHED: 503,
  EXPORT_FAILED: 500,
  WAIT_LIMIT_REACHED: 503,
  CAMERA_PROCESS_LOST: 503,
  CAMERA_TESTS_BUSY: 429,
  TRANSCODE_LIMIT_REACHED: 503,
  TRANSCODE_FAILED: 500,
  ANNOTATE_LIMIT_REACHED: 503,
  ANNOTATE_FAILED: 500,
  CAMERA_UNREACHABLE: 502,
  CAMERA_CREDENTIALS: 502,
  CAMERA_NOT_FOUND: 502,
  CAMERA_FORBIDDEN: 422,
  CAMERA_FORMAT: 422,
  CAMERA_TOO_LARGE: 422,
  CAMERA_ENDED: 502,
  CAMERA_NOT_PUBLISHED: 409,
  CAMERA_TAKEN: 409,
  // Viewers and publishers by WebRTC.
  SDP_BAD: 400,
  SDP_UNFIT: 422,
  WEBRTC_OFF: 404,
  WEBRTC_LIMIT_REACHED: 503,
  WEBRTC_UNAVAILABLE: 503,
  IF_MATCH_MISSING: 428,
  IF_MATCH_FAILED: 412,
  // The load tester.
  BENCHMARK_FAILED: 500,
  // The server's measurement of itself.
  BENCHMARK_BUSY: 503,
  // Silences of alerts.
  SILENCE_UNKNOWN: 404,
  SILENCE_LIMIT_REACHED: 429,
  // Settings for a running server, or for its start.
  CONFIG_KEY_UNKNOWN: 400,
  CONFIG_ENTRY_UNKNOWN: 404,
  CONFIG_VALUE_BAD: 400,
  CONFIG_CONTRADICTION: 400,
  CONFIG_KEY_FIXED: 409,
  // Starting up.
  CONFIG_UNREADABLE: 500,
  ADDRESS_IN_USE: 500,
  ADDRESS_NEEDS_CREDENTIALS: 500,
  CREDENTIALS_UNREADABLE: 500,
  CERTIFICATE_UNREADABLE: 500,
  CERTIFICATE_BAD: 500,
  USAGE: 400,
  INTERNAL: 500,
} as const satisfies Record<string, number>;

/** HTTP status of an answer that carries this error. */
export function statusOf({ code }: { readonly code: keyof typeof ERRORS }): number {
  return ERRORS[code];
}

/** WebSocket close code of a session that this error ends: 4000 + HTTP status. */
export function closeCodeOf(error: { readonly code: keyof typeof ERRORS }): number {
  return 4000 + statusOf(error);
}

/** For a code that somebody else has sent. */
export function isErrorCode(code: unknown): code is keyof typeof ERRORS {
  return typeof code === 'string' && Object.hasOwn(ERRORS, code);
}
