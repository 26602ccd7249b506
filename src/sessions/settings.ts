import { Priority } from '../base/sample.ts';
import type { Config } from '../config/schema.ts';
import { ladderOf, nearestRung, rungOfMode } from '../flow/ladder.ts';
import type { SessionControlSettings } from '../flow/session-control.ts';
import { residentBytes } from '../observe/resident.ts';
import type { CamerasLaneOptions } from './cameras/lane.ts';
import type { ParameterValue } from './foxglove-wire.ts';
import type { FoxgloveLaneOptions } from './foxglove.ts';
import type { PenaltiesOptions } from '../fences/penalties.ts';
import type { TelemetryLaneOptions } from './telemetry/lane.ts';
import type { VideoLaneOptions } from './video.ts';

/** The configuration's part for this room, in the room's own terms. */

const MIB = 2 ** 20;
/** Views of cameras of a connection, and the size of its messages, which only open and close them. */
const VIEWS_MAX = 1_000;
const VIEW_MESSAGE_BYTES_MAX = 64 * 1024;
/** Fragments are on their way for no longer than the path needs and this, ms. */
const FLIGHT_MS_MAX = 500;

/** Throws CONFIG_VALUE_BAD for a ladder that is none. */
export function videoSettings(config: Config): VideoLaneOptions['settings'] {
  const { server, streaming, performance } = config;
  return {
    control: controlSettings(config),
    process: {
      busyShareMax: performance.max_cpu_usage / 100,
      rssBytesMax: performance.max_memory_usage * MIB,
    },
    frameQueue: streaming.queue_size,
    messageBytesMax: streaming.message_bytes_max,
    imageSideMax: streaming.image_side_max,
    imagePixelsMax: streaming.image_pixels_max,
    idleTimeoutMs: streaming.session_timeout_s * 1000,
    sendBufferBytesMax: streaming.send_buffer_bytes_max,
    pingIntervalMs: streaming.ping_interval_s * 1000,
    pongTimeoutMs: streaming.pong_timeout_s * 1000,
    resumeWindowMs: streaming.resume_window_s * 1000,
    sessionsMax: server.max_connections,
  };
}

export function telemetrySettings({ server, streaming, telemetry }: Config): TelemetryLaneOptions['settings'] {
  return {
    targetLatencyMs: telemetry.target_latency_ms,
    batchDelayMs: telemetry.max_batch_delay_ms,
    batchMessagesMax: telemetry.batch_messages_max,
    batchBytesMax: telemetry.batch_bytes_max,
    socketBytesMax: telemetry.socket_bytes_max,
    queueBytesMax: telemetry.queue_bytes_max,
    criticalMessagesMax: telemetry.critical_messages_max,
    slowConsumerMs: telemetry.slow_consumer_s * 1000,
    compression: telemetry.compression,
    // A bit takes 1000 / (Mbit/s) nanoseconds.
    nsPerByte: 8_000 / telemetry.line_mbit_s,
    compressionThresholdBytes: telemetry.compression_threshold_bytes,
    rate: publishRate(telemetry),
    messageBytesMax: telemetry.message_bytes_max,
    elementsMax: telemetry.message_elements_max,
    subscriptionsMax: telemetry.subscriptions_max,
    topicsMax: telemetry.subscribed_topics_max,
    historyMessages: telemetry.history_messages,
    idleTimeoutMs: streaming.session_timeout_s * 1000,
    resumeWindowMs: telemetry.resume_window_s * 1000,
    sessionsMax: server.max_connections,
    pingIntervalMs: streaming.ping_interval_s * 1000,
    pongTimeoutMs: streaming.pong_timeout_s * 1000,
  };
}

/** For both lanes on which clients publish. */
export function penaltySettings({ telemetry }: Config): Pick<PenaltiesOptions, 'banMs'> {
  return { banMs: telemetry.ban_s * 1000 };
}

export function foxgloveSettings({ server, streaming, telemetry }: Config): FoxgloveLaneOptions['settings'] {
  return {
    queueMax: telemetry.history_messages,
    socketBytesMax: telemetry.socket_bytes_max,
    rate: publishRate(telemetry),
    messageBytesMax: telemetry.message_bytes_max,
    elementsMax: telemetry.message_elements_max,
    subscriptionsMax: telemetry.subscriptions_max,
    sessionsMax: server.max_connections,
    pingIntervalMs: streaming.ping_interval_s * 1000,
    pongTimeoutMs: streaming.pong_timeout_s * 1000,
  };
}

export function camerasLaneSettings({ server, streaming }: Config): CamerasLaneOptions['settings'] {
  return {
    messageBytesMax: VIEW_MESSAGE_BYTES_MAX,
    viewsMax: VIEWS_MAX,
    sendBufferBytesMax: streaming.send_buffer_bytes_max,
    flightMsMax: FLIGHT_MS_MAX,
    idleTimeoutMs: streaming.session_timeout_s * 1000,
    pingIntervalMs: streaming.ping_interval_s * 1000,
    pongTimeoutMs: streaming.pong_timeout_s * 1000,
    sessionsMax: server.max_connections,
  };
}

/** Parameters that Foxglove shows; for a setting the name is that of the configuration. */
export function foxgloveParameters(
  { telemetry }: Config,
  server: {
    readonly version: string;
    readonly connections: number;
    readonly topics: { readonly size: number; readonly historyBytes: number };
  },
): Readonly<Record<string, ParameterValue>> {
  return {
    'server.version': server.version,
    'server.connections': server.connections,
    'server.uptime_s': Math.floor(process.uptime()),
    'process.rss_bytes': residentBytes(),
    'telemetry.topics': server.topics.size,
    'telemetry.history_bytes': server.topics.historyBytes,
    'telemetry.history_messages': telemetry.history_messages,
    'telemetry.target_latency_ms': telemetry.target_latency_ms,
    'telemetry.target_frequency_hz': telemetry.target_frequency_hz,
  };
}

function controlSettings({ streaming, video, performance }: Config): SessionControlSettings {
  const rungs = ladderOf(performance.ladder, video.fps, streaming.max_fps);
  return {
    rungs,
    startRung: nearestRung(rungs, rungOfMode(performance.mode, video.fps)),
    width: video.width,
    height: video.height,
    firstFps: streaming.default_fps,
    minFps: Math.min(streaming.min_fps, streaming.max_fps),
    maxFps: streaming.max_fps,
    sourceFps: video.fps,
    stabilityMs: performance.stability_s * 1000,
    riseIntervalMs: performance.adaptation_interval_s * 1000,
    isAdaptive: performance.adaptive_quality,
    fixedQuality: video.quality,
    windowMin: streaming.window,
    budgetMs: performance.target_latency_ms,
    priority: Priority.normal,
  };
}

function publishRate({ publish_rate_max, publish_bytes_max, mute_s }: Config['telemetry']) {
  return { messagesPerS: publish_rate_max, bytesPerS: publish_bytes_max, muteMs: mute_s * 1000 };
}
