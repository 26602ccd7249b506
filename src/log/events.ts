import type { ErrorCode } from '../base/errors.ts';

/** The levels of log entries, the most severe first; `silent`, for settings only, lets none through. */
export const LOG_LEVELS = ['silent', 'fatal', 'error', 'warn', 'info', 'debug', 'trace'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];
export type EntryLevel = Exclude<LogLevel, 'silent'>;

export type LogValue = string | number | boolean | null | readonly string[];
export type LogFields = Readonly<Record<string, LogValue | undefined>>;

interface EventKind<F extends LogFields> {
  readonly room: string;
  readonly level: EntryLevel;
  /** What has happened, for docs/logging.md. */
  readonly about: string;
  /** Meaning of each field. */
  readonly fields: { readonly [K in keyof F]-?: string };
  /** The entry as a sentence for a person. */
  readonly text: (fields: F) => string;
  /**
   * At most one entry in this time, default 1,000 ms; 0, for rare events: every entry is written.
   * With `by` each value of that field is counted by itself.
   */
  readonly intervalMs?: number;
  readonly by?: keyof F & string;
}

/** Keeps the type of the fields. */
function event<F extends LogFields>(kind: EventKind<F>): EventKind<F> {
  return kind;
}

const ADDRESS_INTERVAL_MS = 600_000;
const COSTLY_INTERVAL_MS = 10_000;
const TRACES_INTERVAL_MS = 60_000;
const LOGIN_INTERVAL_MS = 10_000;
const CAMERA_INTERVAL_MS = 10_000;
const LANE = '`video`, `telemetry`, `foxglove` or `cameras`';
const CODE = 'error code';
const REASON = 'what went wrong, in words';
const TOOK_MS = 'how long it took, ms';
const LOST = 'messages lost since the recording began';

/** Everything that is logged, by its name, which is stable. `docs/logging.md` is made from it. */
export const LOG_EVENTS = {
  server_listening: event<{ url: string }>({
    room: 'app',
    level: 'info',
    about: 'The server takes connections; its model may still be loading.',
    fields: { url: 'where it listens' },
    text: ({ url }) => `listening on ${url}`,
    intervalMs: 0,
  }),
  page_ready: event<{ url: string }>({
    room: 'cli',
    level: 'info',
    about: 'The page of `demo`, or of an `--app`, can be opened.',
    fields: { url: 'address of the page' },
    text: ({ url }) => `Open ${url} in a browser. Ctrl+C stops the server.`,
    intervalMs: 0,
  }),
  memory_promised: event<{
    planned_mib: number;
    max_memory_usage_mib: number;
    machine_mib: number;
    largest: readonly string[];
  }>({
    room: 'app',
    level: 'warn',
    about:
      'The bounds of memory come to more, all together, than the settings or the machine allow the process (docs/limits.md).',
    fields: {
      planned_mib: 'all bounds together, MiB',
      max_memory_usage_mib: '`performance.max_memory_usage`',
      machine_mib: 'memory of the machine, or of its cgroup where that is less, MiB',
      largest: 'the largest bounds, by name',
    },
    text: ({ planned_mib, max_memory_usage_mib, machine_mib, largest }) =>
      `the bounds of memory come to ${planned_mib} MiB together, over ${planned_mib > machine_mib ? `the ${machine_mib} MiB of this machine` : `performance.max_memory_usage (${max_memory_usage_mib} MiB)`}; the largest are ${largest.join(', ')}`,
    intervalMs: 0,
  }),
  config_reloaded: event<{ settings: readonly string[]; needs_restart: readonly string[] }>({
    room: 'app',
    level: 'info',
    about: 'The configuration file was read again (SIGHUP, or `POST /api/config/reload`).',
    fields: {
      settings: 'those that have changed',
      needs_restart: 'those that differ from the file until the next start',
    },
    text: ({ settings, needs_restart: left }) =>
      `the configuration was read again: ${settings.join(', ') || 'nothing'} has changed` +
      (left.length > 0 ? `; ${left.join(', ')} need a restart` : ''),
    intervalMs: 0,
  }),
  config_reload_failed: event<{ code: string; reason: string }>({
    room: 'app',
    level: 'error',
    about: 'The configuration was to be read again and has an error; nothing has changed.',
    fields: { code: CODE, reason: REASON },
    text: ({ code, reason }) => `the configuration has an error, nothing has changed: ${reason} (${code})`,
    intervalMs: 0,
  }),
  config_changed: event<{ settings: readonly string[] }>({
    room: 'app',
    level: 'info',
    about: 'Settings were changed while the server runs (`PUT /api/config`).',
    fields: { settings: 'those that changed, by key' },
    text: ({ settings }) => `configuration changed: ${settings.join(', ')}`,
  }),
  traces_joined: event<{ unused: boolean }>({
    room: 'observe',
    level: 'info',
    about: 'Traces of frames go to the tracing that the embedding program has registered (`@opentelemetry/api`).',
    fields: { unused: 'there is an `observe.traces.endpoint` as well, which is not used' },
    text: ({ unused }) =>
      `traces go to the provider that this program has registered${unused ? ', and not to observe.traces.endpoint' : ''}`,
    intervalMs: 0,
  }),
  traces_lost: event<{ cause: string; spans: number; reason: string }>({
    room: 'observe',
    level: 'warn',
    about: 'The collector of traces (`observe.traces.endpoint`) has not taken some. Nothing else suffers.',
    fields: { cause: '`refused`, `failed`, `timeout` or `stopped`', spans: 'how many', reason: REASON },
    text: ({ cause, spans, reason }) => `${spans} spans of traces are lost (${cause}): ${reason}`,
    intervalMs: TRACES_INTERVAL_MS,
    by: 'cause',
  }),
  shutdown_started: event({
    room: 'app',
    level: 'info',
    about: 'The server begins to end.',
    fields: {},
    text: () => 'stopping',
    intervalMs: 0,
  }),
  shutdown_step: event<{ step: string; took_ms: number }>({
    room: 'app',
    level: 'debug',
    about: 'A part of the server has ended.',
    fields: {
      step: 'which part: `drain`, `recordings`, `sessions`, `http`, `cameras`, `traces`, `engine` or `store`',
      took_ms: TOOK_MS,
    },
    text: ({ step, took_ms }) => `${step} ended after ${took_ms} ms`,
    intervalMs: 0,
  }),
  server_stopped: event<{ took_ms: number }>({
    room: 'app',
    level: 'info',
    about: 'The server has ended.',
    fields: { took_ms: TOOK_MS },
    text: ({ took_ms }) => `stopped after ${took_ms} ms`,
    intervalMs: 0,
  }),
  shutdown_forced: event<{ step: string; after_ms: number }>({
    room: 'cli',
    level: 'error',
    about:
      'The server did not end in time (`server.shutdown_timeout_ms`): the process ends at once, by the signal that it got, and gives up what was left.',
    fields: {
      step: 'what it was waiting for: `start`, `command` (a recording, a replay), or a part as in `shutdown_step`',
      after_ms: 'how long it had, ms',
    },
    text: ({ step, after_ms }) => `ending by force: ${step} has not ended within ${after_ms} ms`,
    intervalMs: 0,
  }),
  command_failed: event<{ code: ErrorCode; reason: string; stack?: string | undefined }>({
    room: 'cli',
    level: 'fatal',
    about: 'A command ends with an error.',
    fields: { code: CODE, reason: REASON, stack: 'where, for an unexpected error' },
    text: ({ reason, code }) => `${reason} (${code})`,
    intervalMs: 0,
  }),
  log_lines_dropped: event<{ lines: number }>({
    room: 'log',
    level: 'warn',
    about: 'Standard error was not read for a while, and lines were left out.',
    fields: { lines: 'how many' },
    text: ({ lines }) => `${lines} lines of the log were dropped`,
  }),

  model_ready: event<{ model: string; provider: string; workers: number; took_ms: number }>({
    room: 'app',
    level: 'info',
    about: 'A model is loaded in every worker.',
    fields: {
      model: 'its id',
      provider: 'execution provider that runs it',
      workers: 'worker threads',
      took_ms: 'how long loading took, with conversion and first runs, ms',
    },
    text: ({ model, provider, workers }) =>
      `model ${model} is ready (${provider}, ${workers} ${workers === 1 ? 'worker' : 'workers'})`,
    by: 'model',
  }),
  model_failed: event<{ model: string; code: ErrorCode; reason: string }>({
    room: 'app',
    level: 'error',
    about: 'A requested model cannot be used.',
    fields: { model: 'its id', code: CODE, reason: REASON },
    text: ({ model, reason, code }) => `model ${model} cannot be used: ${reason} (${code})`,
    by: 'model',
  }),
  worker_lost: event<{ reason: string; code: ErrorCode }>({
    room: 'inference',
    level: 'error',
    about: 'An inference worker died, or hung and was given up; its frames are answered by an error.',
    fields: { reason: REASON, code: CODE },
    text: ({ reason, code }) => `an inference worker is lost: it ${reason} (${code})`,
  }),
  workers_left: event<{ workers: number }>({
    room: 'inference',
    level: 'warn',
    about:
      'The server ends while threads are inside a native library, where none can be stopped; each ends when it comes back.',
    fields: { workers: 'how many' },
    text: ({ workers }) =>
      `${workers} inference ${workers === 1 ? 'thread is' : 'threads are'} left behind, in native code`,
    intervalMs: 0,
  }),
  worker_replaced: event<{ restarts: number }>({
    room: 'inference',
    level: 'info',
    about: 'A new worker replaces a lost one.',
    fields: { restarts: 'workers that were replaced since the start' },
    text: () => 'an inference worker was replaced',
  }),

  camera_live: event<{ camera: string; codec: string; size: string; took_ms: number }>({
    room: 'cameras',
    level: 'info',
    about: 'Frames come of a camera.',
    fields: { camera: 'its id', codec: 'of its frames', size: 'of its pictures', took_ms: TOOK_MS },
    text: ({ camera, codec, size, took_ms }) => `camera ${camera} is live: ${codec}, ${size}, after ${took_ms} ms`,
    intervalMs: CAMERA_INTERVAL_MS,
    by: 'camera',
  }),
  camera_lost: event<{ camera: string; url: string; code: string; reason: string; retry_ms: number }>({
    room: 'cameras',
    level: 'warn',
    about: 'A camera cannot be reached, or its connection has ended; it is tried again.',
    fields: { camera: 'its id', url: 'without credentials', code: CODE, reason: REASON, retry_ms: 'until then, ms' },
    text: ({ camera, url, code, reason, retry_ms }) =>
      `camera ${camera} (${url}): ${reason} (${code}); tried again ${retry_ms === 0 ? 'at once' : `in ${(retry_ms / 1000).toFixed(1)} s`}`,
    intervalMs: CAMERA_INTERVAL_MS,
    by: 'camera',
  }),
  camera_given_up: event<{ camera: string; url: string; code: string; reason: string }>({
    room: 'cameras',
    level: 'error',
    about: 'A camera is not read, and not tried again until its settings change.',
    fields: { camera: 'its id', url: 'without credentials', code: CODE, reason: REASON },
    text: ({ camera, url, code, reason }) => `camera ${camera} (${url}) is not read: ${reason} (${code})`,
    intervalMs: CAMERA_INTERVAL_MS,
    by: 'camera',
  }),
  camera_ended: event<{ camera: string }>({
    room: 'cameras',
    level: 'info',
    about: 'A file was played to its end.',
    fields: { camera: 'its id' },
    text: ({ camera }) => `camera ${camera}: its file was played to the end`,
    intervalMs: CAMERA_INTERVAL_MS,
    by: 'camera',
  }),
  camera_condition: event<{ camera: string; condition: string }>({
    room: 'cameras',
    level: 'warn',
    about: 'What can be seen of a camera’s picture itself has changed.',
    fields: {
      camera: 'its id',
      condition: '`ok`, `frozen`, `black`, `covered` or `moved`; `unknown`: it cannot be said',
    },
    text: ({ camera, condition }) => `camera ${camera}: its picture is ${condition}`,
    intervalMs: CAMERA_INTERVAL_MS,
    by: 'camera',
  }),
  camera_transcode_failed: event<{ camera: string; reason: string }>({
    room: 'cameras',
    level: 'warn',
    about:
      'A camera is encoded anew no more, for viewers that cannot play its own codec; it is tried again for the next one.',
    fields: { camera: 'its id', reason: REASON },
    text: ({ camera, reason }) => `camera ${camera} cannot be encoded anew: ${reason}`,
    intervalMs: CAMERA_INTERVAL_MS,
    by: 'camera',
  }),
  camera_annotate_failed: event<{ camera: string; reason: string }>({
    room: 'cameras',
    level: 'warn',
    about: 'Results are drawn on the frames of a camera no more; it is tried again for the next viewer of that.',
    fields: { camera: 'its id', reason: REASON },
    text: ({ camera, reason }) => `camera ${camera} cannot be drawn on: ${reason}`,
    intervalMs: CAMERA_INTERVAL_MS,
    by: 'camera',
  }),
  archive_failed: event<{ camera: string; reason: string; retry_s: number }>({
    room: 'channels',
    level: 'error',
    about: 'Recordings of a camera on the disk cannot be written, looked at or removed; it is tried again.',
    fields: {
      camera: 'its id; empty: those of all',
      reason: REASON,
      retry_s: 'time between two tries, s; 0: it is not',
    },
    text: ({ camera, reason }) => `recordings${camera === '' ? '' : ` of camera ${camera}`}: ${reason}`,
    intervalMs: CAMERA_INTERVAL_MS,
    by: 'camera',
  }),
  archive_resumed: event<{ camera: string }>({
    room: 'channels',
    level: 'info',
    about: 'Recordings of a camera can be written again.',
    fields: { camera: 'its id' },
    text: ({ camera }) => `camera ${camera} is recorded again`,
    by: 'camera',
  }),
  cache_failed: event<{ tier: string; reason: string }>({
    room: 'channels',
    level: 'warn',
    about: 'A tier of the fragment cache does not work; the cache goes on without it, and tries it again.',
    fields: { tier: '`redis` or `disk`', reason: REASON },
    text: ({ tier, reason }) => `the fragment cache goes on without ${tier}: ${reason}`,
    intervalMs: CAMERA_INTERVAL_MS,
    by: 'tier',
  }),
  cache_resumed: event<{ tier: string }>({
    room: 'channels',
    level: 'info',
    about: 'A tier of the fragment cache works again.',
    fields: { tier: '`redis` or `disk`' },
    text: ({ tier }) => `the fragment cache has ${tier} again`,
    by: 'tier',
  }),
  export_failed: event<{ camera: string; code: ErrorCode; reason: string }>({
    room: 'channels',
    level: 'error',
    about: 'A clip of a recording with what was found drawn on it could not be made, or broke off.',
    fields: { camera: 'its id', code: CODE, reason: REASON },
    text: ({ camera, code, reason }) => `a clip of camera ${camera} could not be drawn on: ${reason} (${code})`,
    intervalMs: CAMERA_INTERVAL_MS,
    by: 'camera',
  }),
  camera_not_recorded: event<{ camera: string; file: string }>({
    room: 'cameras',
    level: 'warn',
    about:
      'A recording has no frames of a camera, since it has masks, and its own frames have not (`fleet.record_unmasked`).',
    fields: { camera: 'its id', file: 'of the recording' },
    text: ({ camera, file }) => `camera ${camera} has masks: its frames are not in the recording ${file}`,
    intervalMs: CAMERA_INTERVAL_MS,
    by: 'camera',
  }),
  camera_published: event<{ camera: string; publisher: string }>({
    room: 'webrtc',
    level: 'info',
    about: 'A publisher is connected, and is a camera from now on (WHIP).',
    fields: { camera: 'its id', publisher: 'name of the key, or of whoever it is' },
    text: ({ camera, publisher }) => `camera ${camera}: ${publisher} publishes to it`,
    intervalMs: CAMERA_INTERVAL_MS,
    by: 'camera',
  }),
  camera_unpublished: event<{ camera: string; publisher: string; cause: string }>({
    room: 'webrtc',
    level: 'info',
    about: 'The session of a publisher has ended; the camera waits for the next one.',
    fields: {
      camera: 'its id',
      publisher: 'name of the key, or of whoever it was',
      cause: '`deleted` or `closed` by it, `lost`, `camera` (what it sent was refused, or none came), `shutdown` …',
    },
    text: ({ camera, publisher, cause }) => `camera ${camera}: ${publisher} publishes to it no more (${cause})`,
    intervalMs: CAMERA_INTERVAL_MS,
    by: 'camera',
  }),
  webrtc_lost: event<{ reason: string }>({
    room: 'webrtc',
    level: 'error',
    about:
      'The thread for WebRTC has ended, and with it all sessions of viewers and publishers; the next one gets another thread.',
    fields: { reason: REASON },
    text: ({ reason }) => `WebRTC: all sessions have ended with their thread: ${reason}`,
  }),
  webrtc_fault: event<{ reason: string }>({
    room: 'webrtc',
    level: 'warn',
    about: 'Something went wrong in the thread for WebRTC; no session has ended by it.',
    fields: { reason: REASON },
    text: ({ reason }) => `WebRTC: ${reason}`,
    intervalMs: CAMERA_INTERVAL_MS,
  }),
  camera_pipelines_failed: event<{ camera: string; code: string; reason: string }>({
    room: 'cameras',
    level: 'warn',
    about: 'A camera has no results, since its pipelines cannot be opened; they are tried again.',
    fields: { camera: 'its id', code: CODE, reason: REASON },
    text: ({ camera, code, reason }) => `camera ${camera} has no results: ${reason} (${code})`,
    intervalMs: CAMERA_INTERVAL_MS,
    by: 'camera',
  }),
  camera_isolated: event<{ camera: string; cause: string }>({
    room: 'cameras',
    level: 'warn',
    about: 'The process that read a camera has ended twice while it did: the camera gets a process of its own.',
    fields: { camera: 'its id', cause: 'of the end: `hung`, `signal`, `failed`, `memory` …' },
    text: ({ camera, cause }) =>
      `camera ${camera} gets a process of its own: the last one ended twice with it (${cause})`,
    intervalMs: CAMERA_INTERVAL_MS,
    by: 'camera',
  }),
  camera_decoder_lost: event<{ camera: string; reason: string }>({
    room: 'cameras',
    level: 'warn',
    about: 'The device that decoded a camera, or was to, has failed with it: the software decodes it.',
    fields: { camera: 'its id', reason: REASON },
    text: ({ camera, reason }) => `camera ${camera} is decoded in software: ${reason}`,
    intervalMs: CAMERA_INTERVAL_MS,
    by: 'camera',
  }),
  hardware_decoding: event<{ device: string; codecs: readonly string[]; reason: string }>({
    room: 'cameras',
    level: 'info',
    about: 'A device of this machine decodes cameras: it was tried, and gives the right pictures.',
    fields: {
      device: 'FFmpeg’s name of its kind',
      codecs: 'that it decodes',
      reason: 'why not others; empty: it does all',
    },
    text: ({ device, codecs, reason }) =>
      `${device} decodes cameras: ${codecs.join(', ')}${reason === '' ? '' : ` (not others: ${reason})`}`,
  }),
  hardware_unavailable: event<{ wanted: string; reason: string }>({
    room: 'cameras',
    level: 'warn',
    about: 'No device of this machine decodes cameras, though one is wanted: the software does.',
    fields: { wanted: '`fleet.hardware_decoding`', reason: REASON },
    text: ({ wanted, reason }) => `cameras are decoded in software (fleet.hardware_decoding is ${wanted}): ${reason}`,
  }),
  reader_process_lost: event<{
    cause: string;
    pid: number | null;
    reason: string;
    cameras: number;
    restart_ms: number;
    errors: string;
  }>({
    room: 'cameras',
    level: 'error',
    about:
      'A process that reads cameras has ended. Another one takes its place; cameras of other processes notice nothing.',
    fields: {
      cause: '`hung`, `signal`, `failed`, `memory` …',
      pid: 'of the process',
      reason: REASON,
      cameras: 'that it read',
      restart_ms: 'until the next one, ms',
      errors: 'the end of what it wrote',
    },
    text: ({ pid, reason, cameras, restart_ms, errors }) =>
      `the process ${pid} of ${cameras} cameras ${reason}; the next one comes ${restart_ms === 0 ? 'at once' : `in ${(restart_ms / 1000).toFixed(1)} s`}${errors === '' ? '' : `: ${errors}`}`,
    by: 'cause',
  }),

  recording_started: event<{ file: string; topics: readonly string[] }>({
    room: 'delivery',
    level: 'info',
    about: 'A recording begins.',
    fields: { file: 'the file', topics: 'filters of its topics' },
    text: ({ file, topics }) => `recording ${topics.join(' ')} into ${file}`,
    by: 'file',
  }),
  recording_interrupted: event<{ file: string; code: ErrorCode; reason: string; retry_s: number }>({
    room: 'delivery',
    level: 'warn',
    about: 'A recording cannot be written, and is tried again.',
    fields: { file: 'the file', code: CODE, reason: REASON, retry_s: 'time between two tries, s' },
    text: ({ reason, retry_s }) => `the recording is interrupted: ${reason}; it is tried again every ${retry_s} s`,
    by: 'file',
  }),
  recording_resumed: event<{ file: string; lost: number }>({
    room: 'delivery',
    level: 'info',
    about: 'A recording that was interrupted goes on.',
    fields: { file: 'the new file', lost: LOST },
    text: ({ file, lost }) => `the recording goes on in ${file}; ${lost} messages are lost`,
    by: 'file',
  }),
  recording_ended: event<{ files: readonly string[]; messages: number; written_bytes: number; lost: number }>({
    room: 'delivery',
    level: 'info',
    about: 'A recording is complete.',
    fields: {
      files: 'its files',
      messages: 'messages that were recorded',
      written_bytes: 'size of its files, bytes',
      lost: LOST,
    },
    text: ({ files, messages, lost }) =>
      `recorded ${messages} messages into ${files.join(', ')}${lost > 0 ? `; ${lost} are lost` : ''}`,
    intervalMs: 0,
  }),
  recording_failed: event<{ file: string; code: ErrorCode; reason: string; lost: number }>({
    room: 'delivery',
    level: 'error',
    about: 'A recording has ended with an error.',
    fields: { file: 'the file', code: CODE, reason: REASON, lost: LOST },
    text: ({ reason, lost }) => `the recording has ended: ${reason}; ${lost} messages are lost`,
    by: 'file',
  }),

  address_refused: event<{ code: ErrorCode; header: string; value: string; remedy: string }>({
    room: 'http',
    level: 'warn',
    about: 'A request came with an `Origin` or a `Host` that is not allowed. Each value is logged once in ten minutes.',
    fields: {
      code: CODE,
      header: '`Origin` or `Host`',
      value: 'its value',
      remedy: 'the line of configuration that would allow it, or why nothing can',
    },
    text: ({ header, value, remedy }) => `refused: ${header} ${JSON.stringify(value)}; ${remedy}`,
    intervalMs: ADDRESS_INTERVAL_MS,
    by: 'value',
  }),
  request_failed: event<{ code: ErrorCode; reason: string; stack?: string | undefined }>({
    room: 'http',
    level: 'error',
    about: 'A request failed unexpectedly.',
    fields: { code: CODE, reason: REASON, stack: 'where' },
    text: ({ reason, stack }) => `a request failed: ${stack ?? reason}`,
  }),
  connections_exhausted: event<{ code: ErrorCode; connections_max: number }>({
    room: 'http',
    level: 'warn',
    about: 'A client was refused because all connections are taken.',
    fields: { code: CODE, connections_max: '`server.max_connections`, or fewer for want of file descriptors' },
    text: ({ connections_max }) => `a client was refused: all ${connections_max} connections are taken`,
  }),
  address_limited: event<{ code: ErrorCode; address: string; bound: string }>({
    room: 'http',
    level: 'warn',
    about: 'A connection was refused because its address has too many, or opens them too fast.',
    fields: {
      code: CODE,
      address: 'the address, or for IPv6 its network',
      bound: '`connections` (`server.max_connections_per_address`) or `rate` (`server.connection_rate_per_address`)',
    },
    text: ({ address, bound }) =>
      `a connection from ${address} was refused: it ${bound === 'rate' ? 'opens them too fast' : 'has too many'}`,
    intervalMs: 10_000,
    by: 'address',
  }),
  connection_cut: event<{ cause: string; state: string; address: string }>({
    room: 'http',
    level: 'warn',
    about: 'The server has ended a connection that was over a limit, or had to make room for another one.',
    fields: {
      cause: 'why: docs/api.md has them',
      state: 'what it was doing: `waiting`, `request`, `event_stream`, `websocket` or `closing`',
      address: 'where it came from; for IPv6 the network',
    },
    text: ({ cause, state, address }) => `a connection from ${address} was cut (${state}): ${cause}`,
    intervalMs: 10_000,
    by: 'cause',
  }),
  descriptors_few: event<{ descriptors_max: number; connections_max: number; possible: number }>({
    room: 'http',
    level: 'warn',
    about: 'The process may not open enough files for `server.max_connections`: it takes fewer connections.',
    fields: {
      descriptors_max: 'files and sockets that the process may have open (`ulimit -n`)',
      connections_max: '`server.max_connections`',
      possible: 'connections that it takes',
    },
    text: ({ descriptors_max, connections_max, possible }) =>
      `of ${connections_max} connections (server.max_connections) only ${possible} are possible: this process may have ${descriptors_max} files open; a higher limit (ulimit -n, LimitNOFILE of systemd) allows more`,
    intervalMs: 0,
  }),
  accept_failed: event<{ reason: string }>({
    room: 'http',
    level: 'error',
    about: 'The server could not take a new connection.',
    fields: { reason: REASON },
    text: ({ reason }) => `a new connection could not be taken: ${reason}`,
    intervalMs: 10_000,
  }),

  certificate_changed: event<{ names: readonly string[]; expires_at: string }>({
    room: 'tls',
    level: 'info',
    about: 'The files of the certificate have changed: new connections get the new one, open ones go on.',
    fields: { names: 'names and addresses that it is for', expires_at: 'when it ends' },
    text: ({ names, expires_at }) => `the certificate has changed: for ${names.join(', ')}, until ${expires_at}`,
    intervalMs: 0,
  }),
  certificate_unusable: event<{ code: string; reason: string }>({
    room: 'tls',
    level: 'error',
    about: 'The files of the certificate have changed and cannot be used; the earlier one goes on.',
    fields: { code: CODE, reason: REASON },
    text: ({ code, reason }) => `the certificate cannot be used, the earlier one goes on: ${reason} (${code})`,
    intervalMs: 10_000,
  }),
  certificate_expires: event<{ expires_at: string }>({
    room: 'tls',
    level: 'warn',
    about: 'The certificate ends within two weeks, or has ended; written once a day.',
    fields: { expires_at: 'when it ends' },
    text: ({ expires_at }) => `the certificate ends at ${expires_at}: clients will refuse it from then on`,
    intervalMs: 0,
  }),
  handshake_failed: event<{ cause: string; reason: string; address: string }>({
    room: 'http',
    level: 'info',
    about: 'A connection has ended before its TLS handshake had.',
    fields: {
      cause: 'as in `sightline_tls_handshakes_failed_total`; `untrusted`: the client does not trust the certificate',
      reason: REASON,
      address: 'where it came from',
    },
    text: ({ cause, reason, address }) => `the TLS handshake of ${address} failed: ${reason} (${cause})`,
    intervalMs: 60_000,
    by: 'cause',
  }),
  transport_plain: event<{ host: string }>({
    room: 'app',
    level: 'warn',
    about: 'Other machines can reach the server, and what goes over the line, keys too, is not encrypted.',
    fields: { host: 'the address that it listens on' },
    text: ({ host }) =>
      `what goes to and from ${host} is not encrypted: use --tls auto, or a certificate (docs/tls.md)`,
    intervalMs: 0,
  }),
  keys_changed: event<{ count: number }>({
    room: 'auth',
    level: 'info',
    about: 'The file of keys has changed, and was read.',
    fields: { count: 'how many there are now' },
    text: ({ count }) => `the keys have changed: there are ${count}`,
    intervalMs: 0,
  }),
  keys_unreadable: event<{ code: string; reason: string }>({
    room: 'auth',
    level: 'error',
    about: 'The file of keys has changed and cannot be read; the earlier keys still count.',
    fields: { code: CODE, reason: REASON },
    text: ({ code, reason }) => `the keys cannot be read, the earlier ones still count: ${reason} (${code})`,
    intervalMs: 10_000,
  }),
  login_refused: event<{ code: string; reason: string; address: string }>({
    room: 'auth',
    level: 'info',
    about: 'Somebody could not sign in on the page.',
    fields: { code: CODE, reason: REASON, address: 'where from' },
    text: ({ code, reason, address }) => `a login from ${address} was refused: ${reason} (${code})`,
    intervalMs: LOGIN_INTERVAL_MS,
    by: 'address',
  }),
  access_refused: event<{ code: string; reason: string; address: string }>({
    room: 'auth',
    level: 'warn',
    about: 'A client came without a key that counts, or asked for what its key does not allow.',
    fields: { code: CODE, reason: REASON, address: 'where it came from' },
    text: ({ code, reason, address }) => `${address} was refused: ${reason} (${code})`,
    intervalMs: 1_000,
  }),

  session_started: event<{ lane: string; client_id: string }>({
    room: 'sessions',
    level: 'debug',
    about: 'A client has begun a session.',
    fields: { lane: LANE, client_id: 'name of the client' },
    text: ({ lane, client_id }) => `${lane} session ${client_id} started`,
  }),
  session_resumed: event<{ lane: string; client_id: string }>({
    room: 'sessions',
    level: 'debug',
    about: 'A client has come back to its session.',
    fields: { lane: LANE, client_id: 'name of the client' },
    text: ({ lane, client_id }) => `${lane} session ${client_id} resumed`,
  }),
  session_ended: event<{ lane: string; client_id: string; code: ErrorCode; reason: string }>({
    room: 'sessions',
    level: 'debug',
    about: 'A session has ended for good.',
    fields: { lane: LANE, client_id: 'name of the client', code: CODE, reason: 'why' },
    text: ({ lane, client_id, reason }) => `${lane} session ${client_id} ended: ${reason}`,
  }),
  session_costly: event<{ client_id: string; code: ErrorCode; cost_ms: number; granted_fps: number }>({
    room: 'sessions',
    level: 'warn',
    about:
      'A frame of a client is refused: its pictures take workers far longer than others do, and it sends more of them than its grant allows.',
    fields: {
      client_id: 'name of the client',
      code: CODE,
      cost_ms: 'what decoding the picture would have cost, ms',
      granted_fps: 'frames a second that the client is granted',
    },
    text: ({ client_id, cost_ms, granted_fps }) =>
      `${client_id} sends pictures of ${cost_ms} ms each, more than the ${granted_fps} a second that it is granted: refused`,
    intervalMs: COSTLY_INTERVAL_MS,
    by: 'client_id',
  }),
  rate_limited: event<{ lane: string; client_id: string; penalty: string }>({
    room: 'sessions',
    level: 'warn',
    about: 'A client publishes faster than it may (`telemetry.publish_rate_max`).',
    fields: {
      lane: '`telemetry` or `foxglove`',
      client_id: 'name of the client',
      penalty: 'the consequence: `mute` (refused for `telemetry.mute_s`) or `disconnect`',
    },
    text: ({ client_id, penalty }) =>
      `${client_id} publishes too fast and is ${penalty === 'mute' ? 'muted' : 'disconnected'}`,
  }),
  client_banned: event<{ lane: string; name: string; ban_s: number }>({
    room: 'sessions',
    level: 'warn',
    about: 'A client is banned for a while after repeated violations of the rate limit.',
    fields: {
      lane: '`telemetry` or `foxglove`',
      name: '`session` with its name: the ban is on its token, not on the name; or `address` with its address',
      ban_s: 'for how long, s',
    },
    text: ({ name, ban_s }) => `${name} is banned for ${ban_s} s`,
    by: 'name',
  }),

  memory_bound_met: event<{ lane: string; client_id: string; kind: string; outcome: string }>({
    room: 'sessions',
    level: 'warn',
    about: 'A client makes the server keep more than it may (docs/limits.md), or holds most where all together do.',
    fields: {
      lane: '`video`, `telemetry`, `foxglove` or `program`',
      client_id: 'name of the client',
      kind: 'of memory: `history`, `session`, `incoming`, `frames` or `channels`',
      outcome: '`refused`, or `oldest_dropped`: something older of this client had to go',
    },
    text: ({ client_id, kind, outcome }) =>
      `${client_id} is at its bound of memory (${kind}): ${outcome === 'refused' ? 'more was refused' : 'its oldest was dropped'}`,
    intervalMs: 10_000,
    by: 'client_id',
  }),

  store_failed: event<{ file: string; reason: string }>({
    room: 'store',
    level: 'error',
    about:
      'The store cannot be written or read. The server goes on in memory and tries again every few seconds; what has not been written by its end is lost.',
    fields: { file: 'the database', reason: REASON },
    text: ({ file, reason }) => `the store ${file} cannot be used: ${reason}; what is new is kept in memory meanwhile`,
    intervalMs: 0,
  }),
  store_recovered: event<{ file: string; changes: number }>({
    room: 'store',
    level: 'info',
    about: 'The store can be written again.',
    fields: { file: 'the database', changes: 'changes that still wait to be written' },
    text: ({ file }) => `the store ${file} is written again`,
    intervalMs: 0,
  }),
  store_replaced: event<{ file: string; moved_to: string }>({
    room: 'store',
    level: 'error',
    about: 'The database of the store is damaged: it was moved aside, and a new one begun.',
    fields: { file: 'the database', moved_to: 'the damaged one' },
    text: ({ file, moved_to }) => `the store ${file} is damaged: it is now ${moved_to}, and a new one has begun`,
    intervalMs: 0,
  }),
  store_lost: event<{ cause: string; changes: number }>({
    room: 'store',
    level: 'warn',
    about: 'Changes of the store are lost.',
    fields: {
      cause: '`queue_full`: too many waited; `too_large`; `closed`: the server has ended before they were written',
      changes: 'how many',
    },
    text: ({ cause, changes }) => `${changes} changes of the store are lost (${cause})`,
    by: 'cause',
  }),

  alert_firing: event<{ rule: string; class: string; severity: string; summary: string }>({
    room: 'alerts',
    level: 'warn',
    about: 'An objective is not met, or its alert has another severity.',
    fields: {
      rule: '`latency`, `drops`, `compliance`, `cpu` or `memory`',
      class: 'of streams; or `server`',
      severity: '`warning` or `critical`',
      summary: 'what is wrong, in words',
    },
    text: ({ severity, summary }) => `${severity}: ${summary}`,
    intervalMs: 0,
  }),
  alert_resolved: event<{ rule: string; class: string; summary: string }>({
    room: 'alerts',
    level: 'info',
    about: 'An objective is met again.',
    fields: { rule: 'as in `alert_firing`', class: 'likewise', summary: 'what was wrong, in words' },
    text: ({ summary }) => `over: ${summary}`,
    intervalMs: 0,
  }),
  alert_undelivered: event<{ sink: string; reason: string }>({
    room: 'alerts',
    level: 'warn',
    about: 'A notification could not be delivered; it is tried again.',
    fields: { sink: '`webhook`, `mqtt` or `alertmanager`', reason: REASON },
    text: ({ sink, reason }) => `a notification does not get to the ${sink}, and is tried again: ${reason}`,
    intervalMs: 60_000,
    by: 'sink',
  }),
  alert_lost: event<{ sink: string; alert: string; cause: string; reason: string }>({
    room: 'alerts',
    level: 'error',
    about: 'A notification will not be delivered.',
    fields: {
      sink: '`webhook`, `mqtt` or `alertmanager`',
      alert: 'what it was about, in words',
      cause: '`refused`; `given_up`: its time was over; `queue_full`: newer ones took its place',
      reason: REASON,
    },
    text: ({ sink, alert, cause, reason }) => `the ${sink} does not get to know that ${alert} (${cause}: ${reason})`,
    by: 'sink',
  }),
  alerts_silenced: event<{ author: string; what: string; duration_s: number }>({
    room: 'alerts',
    level: 'info',
    about: 'Somebody has made a silence.',
    fields: { author: 'name of the key', what: 'which alerts, in words', duration_s: 'for how long, s' },
    text: ({ author, what, duration_s }) => `${author} has silenced ${what} for ${duration_s} s`,
  }),
  alerts_unsilenced: event<{ author: string; what: string }>({
    room: 'alerts',
    level: 'info',
    about: 'Somebody has ended a silence.',
    fields: { author: 'name of the key', what: 'which alerts, in words' },
    text: ({ author, what }) => `${author} has ended the silence of ${what}`,
  }),

  camera_making: event<{ cameras: number; from: string }>({
    room: 'sources',
    level: 'info',
    about: 'Sightline makes the clip of the demo camera, or those of the wall; the next start finds them in the cache.',
    fields: { cameras: 'how many clips', from: 'their source, with the licence' },
    text: ({ cameras, from }) =>
      `Making ${cameras === 1 ? 'the demo camera' : `${cameras} demo cameras for the wall`} from ${from}.`,
    intervalMs: 0,
  }),
  camera_converting: event<{ clip: string; codec: string }>({
    room: 'sources',
    level: 'info',
    about: 'Sightline converts the clip of `--camera` to a format that browsers play.',
    fields: { clip: 'the file', codec: 'its codec' },
    text: ({ clip, codec }) => `Converting ${clip} (${codec}) into H.264, which browsers play.`,
  }),
  camera_failed: event<{ code: ErrorCode; reason: string }>({
    room: 'app',
    level: 'warn',
    about: 'There is no demo camera.',
    fields: { code: CODE, reason: REASON },
    text: ({ reason }) => `there is no demo camera: ${reason}`,
  }),
  demo_wall_failed: event<{ cameras: number; code: ErrorCode; reason: string }>({
    room: 'cli',
    level: 'warn',
    about: 'Demo cameras are missing on the wall.',
    fields: { cameras: 'those that are there', code: CODE, reason: REASON },
    text: ({ cameras, reason }) => `the wall has ${cameras === 0 ? 'no' : `only ${cameras}`} demo cameras: ${reason}`,
  }),

  cameras_restored: event<{ cameras: number; removed: number }>({
    room: 'sources',
    level: 'info',
    about: 'Cameras are as they were left when the server ended: what was changed while it ran goes before its file.',
    fields: { cameras: 'added or changed', removed: 'of the file, removed' },
    text: ({ cameras, removed }) =>
      `cameras are as they were left: ${cameras} added or changed${removed > 0 ? `, ${removed} of the file removed` : ''}`,
    intervalMs: 0,
  }),
  camera_not_restored: event<{ camera: string; reason: string }>({
    room: 'sources',
    level: 'warn',
    about: 'A camera that was added or changed while the server ran cannot be taken up again, and is left out.',
    fields: { camera: 'its id', reason: REASON },
    text: ({ camera, reason }) => `the camera ${camera} is left out: ${reason}`,
    by: 'camera',
  }),

  replay_started: event<{ messages: number; topics: number; duration_s: number; damage?: string | undefined }>({
    room: 'cli',
    level: 'info',
    about: '`sightline replay` begins to play its file.',
    fields: {
      messages: 'messages of the file',
      topics: 'topics of the file',
      duration_s: 'time from the first to the last, s',
      damage: 'the unreadable part of the file',
    },
    text: ({ messages, topics, duration_s, damage }) =>
      `${damage === undefined ? '' : `${damage}; `}${messages} messages of ${topics} topics, ${duration_s.toFixed(1)} s`,
    intervalMs: 0,
  }),
  replay_gap: event<{ position_s: number; gap_s: number }>({
    room: 'delivery',
    level: 'info',
    about: 'A replay skips a long time without a message (`--skip-gaps`).',
    fields: { position_s: 'position in the recording, s', gap_s: 'length of the gap, s' },
    text: ({ position_s, gap_s }) =>
      `after ${position_s.toFixed(1)} s there is no message for ${spanInWords(gap_s)}: skipped`,
    intervalMs: 0,
  }),
  replay_left_out: event<{ code: ErrorCode; reason: string; topic?: string | undefined }>({
    room: 'delivery',
    level: 'warn',
    about: 'A message of the recording cannot be published. Each code and topic is logged once, and counted.',
    fields: { code: CODE, reason: REASON, topic: 'its topic' },
    text: ({ code, reason, topic }) =>
      `left out${topic === undefined ? '' : ` of ${JSON.stringify(topic)}`}: ${reason} (${code}); more of this kind are only counted`,
    intervalMs: 0,
  }),
  replay_ended: event<{ published: number; left_out: number; causes: readonly string[] }>({
    room: 'cli',
    level: 'info',
    about: 'A replay with `--once` has been played.',
    fields: {
      published: 'messages that were published',
      left_out: 'messages that were not',
      causes: 'the error codes of these, each with its count',
    },
    text: ({ published, left_out, causes }) =>
      `played ${published} messages${left_out > 0 ? `, left out ${left_out} (${causes.join(', ')})` : ''}`,
    intervalMs: 0,
  }),

  record_connected: event<{ url: string; topics: readonly string[] }>({
    room: 'cli',
    level: 'info',
    about: '`sightline record` has all its subscriptions.',
    fields: { url: 'the server', topics: 'filters of its topics' },
    text: ({ url, topics }) => `recording ${topics.join(' ')} from ${url}; Ctrl+C ends it`,
    intervalMs: 0,
  }),
  record_refused: event<{ code: ErrorCode; reason: string }>({
    room: 'cli',
    level: 'warn',
    about: 'The server refused something that `sightline record` asked for.',
    fields: { code: CODE, reason: "the server's message" },
    text: ({ code, reason }) => `the server says: ${reason} (${code})`,
    by: 'code',
  }),
  record_ended: event<{ messages: number; written_bytes: number; losses: readonly string[] }>({
    room: 'cli',
    level: 'info',
    about: '`sightline record` has closed its file.',
    fields: {
      messages: 'messages that were recorded',
      written_bytes: 'size of the files, bytes',
      losses: 'the losses and their causes, in words',
    },
    text: ({ messages, written_bytes, losses }) =>
      [`${messages} messages`, `${(written_bytes / 2 ** 20).toFixed(1)} MiB`, ...losses].join(', '),
    intervalMs: 0,
  }),
} as const;

export type LogEventName = keyof typeof LOG_EVENTS;
export type FieldsOf<E extends LogEventName> = (typeof LOG_EVENTS)[E] extends EventKind<infer F> ? F : never;

function spanInWords(spanS: number): string {
  const hours = spanS / 3_600;
  if (hours < 48) return `${hours.toFixed(1)} hours`;
  return hours < 24 * 730 ? `${Math.round(hours / 24)} days` : `${(hours / 24 / 365.25).toFixed(1)} years`;
}
