import { z } from 'zod';
import { LOG_LEVELS } from '../log/events.ts';
import { POLYGON_POINTS, polygonText, readPolygon } from '../base/polygon.ts';
import { PIPELINES } from '../base/result.ts';
import { readCameraUrl } from './camera-urls.ts';
import { readAddress, readNetwork } from './networks.ts';
import { readBasePath } from './base-paths.ts';
import { readRedisUrl } from './redis-urls.ts';
import { readHostName, readOrigin, type Read } from './origins.ts';
import { PROFILES } from './profiles.ts';

/**
 * Every setting of Sightline: its type, range, default and meaning. This is the single source: `docs/configuration.md`,
 * `sightline config generate` and the messages of refused values are made from it.
 *
 * Rules: `section.key`, snake_case, units last. A section may hold further sections, or entries by name (`named`), which hold
 * sections and keys and no entries again. A key that a later version will read says so. `keys.ts` derives the lookups and
 * the texts for people from all this.
 */

/** Allowed names of an entry; some more are reserved, see `keys.ts`. */
export const ENTRY_NAME = /^[a-z0-9][a-z0-9._-]{0,63}$/;

const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;

const whole = (min: number, max: number) => z.int().min(min).max(max);
const decimal = (min: number, max: number) => z.number().min(min).max(max);
/** Fractions are allowed, so that a test need not wait for a whole second. */
const seconds = (max: number) => decimal(0.05, max);
const text = (charsMax = 1024) => z.string().min(1).max(charsMax);
/** Text in the normal form that `read` gives it; refused with the fault that `read` names. */
const textAs = (read: (text: string) => Read, charsMax?: number) =>
  text(charsMax)
    .check(({ value, issues }) => {
      const { fault } = read(value);
      if (fault !== undefined) issues.push({ code: 'custom', message: fault, input: value });
    })
    .overwrite((value) => {
      const result = read(value);
      return result.fault === undefined ? result.value : value;
    });
/** Entries by name, `max` of them at most. */
const named = <E extends z.ZodType>(entry: E, max: number) =>
  z
    .record(z.string().regex(ENTRY_NAME), entry)
    .refine((entries) => Object.keys(entries).length <= max, `it has more than ${max} entries`)
    .meta({ entriesMax: max });
const LATER = 'A later version reads it; in this one it has no effect.';
/** When a change at run time (`PUT /api/config`) takes effect; without a mark, with the next start. */
const AT_ONCE = { applies: 'at_once' } as const;
/** Values that are shown to nobody: of a list of `name=value` the names are. An address may be a secret as a whole, such as that of a chat's webhook. */
const SECRET = { secret: true } as const;
/** An address that is shown without user, password and whatever else in it may be one. */
const ADDRESS = { address: true } as const;
const NEW_SESSIONS = { applies: 'new_sessions' } as const;

const server = z.strictObject({
  host: text()
    .default('127.0.0.1')
    .describe('Address to listen on. Beyond loopback the server needs a key: `sightline keys add`.'),
  port: whole(0, 65_535).default(8080).describe('TCP port; 0 takes any free one.'),
  max_connections: whole(1, 100_000)
    .default(1000)
    .describe(
      'WebSockets and event streams at once; further ones are refused with CONNECTIONS_EXHAUSTED. Fewer where the process may not open as many files: the log says so at the start.',
    ),
  max_connections_per_address: whole(1, 100_000)
    .optional()
    .describe(
      'TCP connections of one address at once (of IPv6: of one /64 network); a further one takes the place of one that waits, or is refused with ADDRESS_LIMIT_REACHED.',
    )
    .meta({ defaultText: 'half of `server.max_connections`' }),
  connection_rate_per_address: whole(1, 100_000)
    .default(200)
    .describe(
      'New connections a second from one address; twice as many may come at once, further ones are refused with ADDRESS_LIMIT_REACHED.',
    ),
  unbounded_addresses: z
    .array(textAs(readNetwork))
    .max(256)
    .default(['127.0.0.0/8', '::1/128'])
    .describe(
      'Addresses and networks without these two bounds, and never banned, such as that of a proxy in front: `192.0.2.7`, `10.0.0.0/8`.',
    ),
  trusted_proxies: z
    .array(textAs(readNetwork))
    .max(256)
    .default([])
    .describe(
      'Addresses and networks of proxies in front: their `Forwarded` or `X-Forwarded-For` says where a request comes from, so that bounds, turns and bans meet the client and not the proxy. They are unbounded addresses, too.',
    ),
  allowed_origins: z
    .array(textAs(readOrigin))
    .max(256)
    .default([])
    .describe(
      "Origins of foreign pages that may use WebSockets and the REST API, such as `https://example.org`: scheme, host and port, in full; the server's own page always may.",
    ),
  allowed_hosts: z
    .array(textAs(readHostName))
    .max(256)
    .default([])
    .describe(
      'Further names of the server in `Host`, such as that of a proxy in front, without ports; its own address always counts.',
    ),
  base_path: textAs(readBasePath)
    .default('/')
    .describe(
      'Path under which a proxy in front has the server, where it passes the path on, such as `/sightline`: pages, API and WebSockets are under it, and nothing is beside it.',
    ),
  tls: z
    .strictObject({
      cert_file: text()
        .optional()
        .describe(
          'Certificate of the server in PEM form, behind it those that have signed it; with it the server speaks TLS (`https`, `wss`). A change of the file counts within a second.',
        )
        .meta({ defaultText: 'none' }),
      key_file: text()
        .optional()
        .describe('Its private key in PEM form, without a passphrase.')
        .meta({ defaultText: 'none' }),
      auto: z
        .boolean()
        .default(false)
        .describe(
          'Speak TLS by a certificate that the server makes itself, for the names and addresses of this machine, `server.host` and `server.allowed_hosts`; see docs/tls.md. Two files of your own go before it.',
        ),
      folder: text().describe('Where the certificates that the server makes itself are kept.').meta({
        defaultText: "`sightline/tls` in the user's data folder (`$XDG_DATA_HOME`, `~/.local/share`, `%LOCALAPPDATA%`)",
      }),
      http2: z
        .boolean()
        .default(true)
        .describe(
          'Clients may agree on HTTP/2, by which many requests share one connection; WebSockets go over HTTP/1.1 on the same port.',
        ),
      hsts_s: whole(0, 63_072_000)
        .default(0)
        .describe(
          'How long browsers are to use TLS alone for this name, on all its ports (`Strict-Transport-Security`), seconds; 0: they are not told.',
        ),
    })
    .describe('Encryption of everything that goes over the line.'),
  header_timeout_ms: whole(100, 600_000)
    .default(10_000)
    .describe("Time for a request's header to arrive, and before it for the handshake of TLS."),
  request_timeout_ms: whole(100, 600_000).default(30_000).describe('Time for a whole request to arrive.'),
  unread_timeout_ms: whole(100, 600_000)
    .default(30_000)
    .describe('How long a client may take nothing of an answer, or of an event stream, before it is cut.'),
  answer_bytes_max: whole(MIB, 64 * GIB)
    .default(64 * MIB)
    .describe(
      'Bytes of answers to REST requests that may wait for their clients, in all; beyond it the oldest answer is cut.',
    ),
  reserved_descriptors: whole(0, 10_000)
    .default(32)
    .describe(
      'File descriptors that connections leave to files, models and child processes; short requests still get through.',
    ),
  shutdown_timeout_ms: whole(0, 600_000)
    .default(5000)
    .describe(
      'How long sessions have to end after SIGTERM or SIGINT; then the server cuts them. A second later at most the process has ended, by the signal itself if something in it does not end.',
    ),
});

const streaming = z.strictObject({
  max_fps: whole(5, 60)
    .default(30)
    .describe('Highest frame rate that a session may be granted, frames a second.')
    .meta(AT_ONCE),
  min_fps: whole(1, 60)
    .default(5)
    .describe('Lowest frame rate that a slow link reduces a session to, frames a second; a busy engine may go lower.')
    .meta(AT_ONCE),
  default_fps: whole(1, 60)
    .default(15)
    .describe('Frame rate of the first grant of a session, frames a second.')
    .meta(AT_ONCE),
  window: whole(2, 64)
    .default(2)
    .describe(
      'Least number of frames of a session that may be unanswered at once; a long path gets as many as are in transit.',
    )
    .meta(AT_ONCE),
  queue_size: whole(1, 1000)
    .default(25)
    .describe('Most frames of a session that wait for a worker; a further one drops the oldest (`queue_full`).')
    .meta(NEW_SESSIONS),
  receive_queue: whole(1, 1000)
    .default(3)
    .describe('Most frames of a session that are with the workers at once; the others wait in its queue.'),
  results_history: whole(1, 65_536)
    .default(256)
    .describe('Results of a session that the server keeps for readers that lag or resume (SSE).')
    .meta(NEW_SESSIONS),
  session_timeout_s: seconds(86_400)
    .default(300)
    .describe('How long a session may go without a frame or message before it ends.'),
  resume_window_s: seconds(86_400)
    .default(30)
    .describe('How long a session whose socket is lost waits for its client.'),
  ping_interval_s: seconds(3600).default(20).describe('Time between two WebSocket pings.'),
  pong_timeout_s: seconds(3600)
    .default(10)
    .describe('How long a socket may leave a ping unanswered before the server closes it.'),
  close_timeout_s: seconds(3600).default(10).describe("Time for the other side's close frame; then the socket is cut."),
  message_bytes_max: whole(KIB, 64 * MIB)
    .default(2 * MIB)
    .describe(
      'Largest message of a client, bytes; a larger one is refused, one over twice the size ends the connection (1009).',
    ),
  image_side_max: whole(16, 65_535).default(8192).describe('Longest side of a picture, pixels; read before decoding.'),
  image_pixels_max: whole(256, 1_073_741_824)
    .default(33_554_432)
    .describe(
      'Most pixels of a picture (width × height); read before decoding. Decoding any picture may take about five times as long as a baseline one of that size at most (`FRAME_COSTLY`).',
    ),
  send_buffer_bytes_max: whole(KIB, 256 * MIB)
    .default(MIB)
    .describe('Unsent bytes at which a socket counts as a slow reader: results are dropped until it has read.')
    .meta(NEW_SESSIONS),
  sse_heartbeat_s: seconds(3600).default(15).describe('Time between two comment lines of an event stream.'),
});

const telemetry = z.strictObject({
  target_latency_ms: whole(1, 60_000)
    .default(50)
    .describe(
      'Target latency from publication to reader. A client that reports half of it as its own lag gets larger batches.',
    ),
  target_frequency_hz: decimal(0.1, 10_000)
    .default(200)
    .describe(`Planned rate of a publisher, messages a second. ${LATER}`),
  max_batch_delay_ms: whole(0, 1000)
    .default(5)
    .describe(
      'Longest time to gather messages while a socket is busy or sending takes much of the time; else nothing waits.',
    ),
  batch_messages_max: whole(1, 10_000)
    .default(50)
    .describe('Number of messages that ends the gathering early. A reader that is further behind gets larger batches.'),
  batch_bytes_max: whole(KIB, 8 * MIB)
    .default(256 * KIB)
    .describe('Largest batch, bytes before compression; a larger message goes alone.'),
  compression: z
    .enum(['auto', 'none', 'lz4', 'zlib', 'zstd'])
    .default('auto')
    .describe(
      'Compression of binary batches. `auto`: for each topic the cheapest for its readers, tried now and then.',
    ),
  line_mbit_s: decimal(0.01, 1_000_000).default(100).describe("Speed that `auto` assumes for a reader's line, Mbit/s."),
  compression_threshold_bytes: whole(0, MIB).default(512).describe('Batches up to this size are not compressed.'),
  topics_max: whole(1, 1_000_000).default(10_000).describe('Topics at once; further ones are refused.'),
  topic_idle_s: seconds(31_536_000)
    .default(3600)
    .describe('How long a topic may have neither a reader nor a publication before the server forgets it.'),
  history_messages: whole(1, 1_000_000)
    .default(10_000)
    .describe('Messages of a topic that the server keeps for readers that lag or resume.'),
  history_bytes_max: whole(KIB, GIB)
    .default(16 * MIB)
    .describe('Memory that a topic may take with its history, bytes; the newest message stays in any case.'),
  history_client_bytes_max: whole(MIB, 64 * GIB)
    .default(128 * MIB)
    .describe(
      'Memory that the histories of what one client has published may take, bytes; beyond it its older messages go.',
    ),
  history_departed_bytes_max: whole(MIB, 64 * GIB)
    .default(24 * MIB)
    .describe(
      'Memory that histories may take whose publishers have gone, bytes; beyond it the larger ones are halved.',
    ),
  history_total_bytes_max: whole(MIB, 64 * GIB)
    .default(256 * MIB)
    .describe(
      'Memory that all histories together may take, bytes; beyond it whoever has published most of it loses older messages.',
    ),
  queue_bytes_max: whole(16 * KIB, GIB)
    .default(8 * MIB)
    .describe(
      'Bytes that may wait for one connection: at 70 % the server warns it, from 90 % on it drops messages by class.',
    ),
  socket_bytes_max: whole(KIB, 256 * MIB)
    .default(256 * KIB)
    .describe('Unsent bytes of a socket up to which the server writes more to it.'),
  critical_messages_max: whole(1, 100_000)
    .default(1000)
    .describe('Critical messages that may wait for one connection; a further one closes it (`CRITICAL_BACKLOG`).'),
  message_bytes_max: whole(KIB, 64 * MIB)
    .default(MIB)
    .describe('Largest message of a client, bytes.'),
  message_elements_max: whole(1000, 100_000_000)
    .default(65_536)
    .describe(
      'Most elements of a message’s data: values, keys and containers of any size; larger data goes as bytes, in columns, or in several messages. Data up to 64 KiB is not counted.',
    ),
  subscriptions_max: whole(1, 100_000).default(1000).describe('Most subscriptions, and aliases, of a connection.'),
  subscribed_topics_max: whole(1, 1_000_000)
    .default(2000)
    .describe(
      'Most topics that all subscriptions of a connection may match together, and that a client may have made.',
    ),
  publish_rate_max: whole(1, 100_000_000)
    .default(100_000)
    .describe('Messages a second that a connection may publish; a second of them may come at once.'),
  publish_bytes_max: whole(KIB, 64 * GIB)
    .default(128 * MIB)
    .describe('Bytes a second that a connection may publish.'),
  mute_s: seconds(3600)
    .default(5)
    .describe('How long the server refuses all publications of a client that is far over the rate limit.'),
  ban_s: seconds(86_400)
    .default(60)
    .describe('How long a client is banned after repeated violations of the rate limit.'),
  resume_window_s: seconds(86_400)
    .default(30)
    .describe('How long a session whose socket is lost waits for its client.'),
  slow_consumer_s: seconds(3600)
    .default(30)
    .describe('How long a socket may take nothing while messages wait before the server closes it (`SLOW_CONSUMER`).'),
});

const video = z.strictObject({
  quality: whole(1, 100)
    .default(50)
    .describe('JPEG quality of a grant without `performance.adaptive_quality`.')
    .meta(AT_ONCE),
  width: whole(16, 8192).default(640).describe('Widest picture that a session is granted, pixels.').meta(AT_ONCE),
  height: whole(16, 8192).default(480).describe('Highest picture that a session is granted, pixels.').meta(AT_ONCE),
  fps: whole(1, 60).default(30).describe('Frame rate of the demo camera, frames a second.'),
});

const detection = z.strictObject({
  model: text()
    .default('ssd-oidv4')
    .describe('Model of sessions that name none: an id of `sightline models list`, or the path of a model file.'),
  confidence_threshold: decimal(0, 1)
    .optional()
    .describe("Detections below this score are left out. Not set: the model's own value, 0.5 where it has none.")
    .meta(NEW_SESSIONS),
  iou_threshold: decimal(0, 1)
    .optional()
    .describe(
      "Overlap (intersection over union) above which only the best of the boxes stays. Not set: the model's own value, 0.45 where it has none.",
    )
    .meta(NEW_SESSIONS),
});

const inference = z.strictObject({
  providers: z
    .array(z.enum(['cpu', 'cuda', 'tensorrt', 'webgpu', 'coreml', 'directml']))
    .min(1)
    .max(6)
    .default(['cpu'])
    .describe('Execution providers of ONNX Runtime in order of preference; `GET /health` shows the one in use.'),
  workers: whole(0, 64)
    .default(0)
    .describe(
      'Worker threads, each with a session of its own; 0: by `hint`, but three with a GPU provider, which take turns at the GPU and decode meanwhile.',
    ),
  threads_per_worker: whole(0, 64)
    .default(0)
    .describe(
      'Threads of ONNX Runtime for one frame; 0 leaves it to `hint`: 1 for `throughput`, up to 4 for `latency`. Measured on two cores: two workers of one thread each do twice the frames of one such worker, one worker of two threads only half as many again; a single frame is done a third sooner by two threads.',
    ),
  thread_binding: text()
    .optional()
    .describe(
      'Processors to which the threads of each worker are bound, in the form of ONNX Runtime\'s `session.intra_op_thread_affinities` ("1;2"). Not set: the operating system decides.',
    ),
  hint: z
    .enum(['latency', 'throughput'])
    .default('throughput')
    .describe(
      '`throughput`: a worker for each core, and threads that wait leave the core to others; `latency`: several threads for one frame, which spin while they wait for work.',
    ),
  prefetch: whole(0, 8)
    .default(1)
    .describe('Frames that wait in a worker behind the running one, so that it never idles between two.'),
  batch_max: whole(1, 32)
    .default(8)
    .describe(
      'Most frames in one run of a model. The engine measures how many pay when it loads the model (`warm_up`), and later: on a CPU usually one. A worker then holds as many ahead as well.',
    ),
  batch_delay_ms: decimal(0, 100)
    .default(2)
    .describe('Longest time that a run waits for one more frame, where that pays and no deadline suffers.'),
  warm_up: z.boolean().default(true).describe('Run each model a few times in every worker before its first frame.'),
  job_timeout_ms: whole(50, 600_000)
    .default(10_000)
    .describe(
      'A worker that needs longer for a frame counts as hung and is replaced. Its thread is terminated, but not inside a native library (ONNX Runtime, the JPEG decoder): there it goes on until it comes back. The dearest picture that is let in by default takes 0.6 s on a core as of 2022.',
    ),
  device_memory_mb: whole(64, 1_048_576)
    .default(8192)
    .describe(
      'Memory that a GPU provider may take, MiB. The report of a model says where its provider takes no such limit.',
    ),
  models_max: whole(1, 64).default(4).describe('Models that are loaded at once.'),
});

const hands = z.strictObject({
  model_complexity: whole(0, 1)
    .default(0)
    .describe(
      'Models for palms and landmarks: 0 lite, 1 full. Full ones place landmarks more exactly, and take about twice the time.',
    ),
  min_detection_confidence: decimal(0, 1)
    .default(0.5)
    .describe(
      'Least score of a palm for the landmark model to run on it. Lower finds hands sooner, with more runs in vain.',
    )
    .meta(NEW_SESSIONS),
  min_tracking_confidence: decimal(0, 1)
    .default(0.5)
    .describe(
      'Least presence of a hand to be reported and followed. Lower follows a blurred hand further, and searches for palms less often.',
    )
    .meta(NEW_SESSIONS),
  max_hands: whole(1, 16)
    .default(2)
    .describe('Most hands in one picture. Each costs a run of the landmark model.')
    .meta(NEW_SESSIONS),
  smoothing: z
    .boolean()
    .default(true)
    .describe('Filter landmarks, so that those of a resting hand do not tremble (One Euro filter).')
    .meta(NEW_SESSIONS),
});

const models = z.strictObject({
  cache_dir: text()
    .describe('Folder of pulled and converted models; a relative path counts from the working directory.')
    .meta({ defaultText: "`sightline` in the user's cache folder (`$XDG_CACHE_HOME`, `~/.cache`, `%LOCALAPPDATA%`)" }),
  cache_bytes_max: whole(16 * MIB, 1024 * GIB)
    .default(4 * GIB)
    .describe(
      'Size of that folder, bytes. Files that can be made again are deleted first, longest unused first; pulled and imported models stay, and a model that does not fit any more is refused.',
    ),
  manifests: z
    .array(text())
    .max(256)
    .default([])
    .describe('Manifest files (JSON or YAML) of further models; a relative path counts from the working directory.'),
});

const performance = z.strictObject({
  mode: z
    .enum(['ultra_performance', 'high_performance', 'balanced', 'high_quality'])
    .default('balanced')
    .describe('Performance mode: a session begins on the rung of the ladder whose cost is nearest to that of the mode.')
    .meta(NEW_SESSIONS),
  ladder: z
    .array(text())
    .min(1)
    .max(16)
    .default(['levels'])
    .describe(
      'Rungs between which quality moves: `levels` (five quality levels), `modes` (four performance modes), or rungs of your own from the lowest up, each `name quality scale fps`, such as `low 40 0.65 15`.',
    )
    .meta(AT_ONCE),
  stability_s: seconds(3600)
    .default(5)
    .describe(
      'How long a higher rung must be affordable before a session moves up to it, half as long where three times its cost is available; also the least time between two steps up. Steps down are immediate.',
    )
    .meta(AT_ONCE),
  adaptation_interval_s: seconds(60)
    .default(0.1)
    .describe("Time between two rises of a session's grant; it falls at once.")
    .meta(AT_ONCE),
  strategy: z
    .enum(['latency', 'memory', 'balanced', 'aggressive'])
    .default('balanced')
    .describe('Named set of defaults, see below; every key that you set yourself beats it.')
    .meta(AT_ONCE),
  profile: text()
    .optional()
    .describe('The profile in force, see `profiles`; beats the strategy, and every key that you set yourself beats it.')
    .meta({ ...AT_ONCE, allowedText: 'the name of a profile' }),
  adaptive_quality: z
    .boolean()
    .default(true)
    .describe('Adapt rate, size and quality to the network and to the load of the engine.')
    .meta(AT_ONCE),
  target_latency_ms: whole(1, 60_000)
    .default(75)
    .describe(
      'Latency budget of a frame, capture to result: one that can no longer be in time is not processed (`expired`). A session may set its own (`budget_ms`).',
    )
    .meta(AT_ONCE),
  max_cpu_usage: decimal(1, 100)
    .default(80)
    .describe(
      "Load of the main thread (sockets, scheduling, encoding; inference has threads of its own) up to which the server asks sessions for frames, percent. It always asks for at least a quarter of the engine's capacity.",
    )
    .meta(AT_ONCE),
  max_memory_usage: whole(64, 1_048_576)
    .default(8192)
    .describe(
      'Resident memory of the server over which `/health` says `degraded`, MiB. From nine tenths of it on the server asks sessions for fewer frames, down to a quarter.',
    )
    .meta(AT_ONCE),
  gpu_optimization_enabled: z.boolean().default(true).describe(`Prefer a GPU provider where one works. ${LATER}`),
  caching_enabled: z.boolean().default(true).describe(`Keep media fragments in cache tiers. ${LATER}`),
});

const limits = z.strictObject({
  session_bytes_max: whole(64 * KIB, GIB)
    .default(4 * MIB)
    .describe(
      'Memory for what one client has told of itself, bytes: subscriptions, positions, aliases, layouts, and critical messages that wait for it; more is refused (`MEMORY_LIMIT_REACHED`).',
    ),
  session_total_bytes_max: whole(MIB, 64 * GIB)
    .default(256 * MIB)
    .describe('The same for all clients together, bytes.'),
  incoming_total_bytes_max: whole(MIB, 64 * GIB)
    .default(128 * MIB)
    .describe(
      'Memory for messages of all clients that have begun to come, bytes; beyond it the connection ends whose message began first.',
    ),
  frames_bytes_max: whole(64 * KIB, GIB)
    .default(16 * MIB)
    .describe(
      'Memory for frames of one session that wait for a worker, and for the results that it keeps, bytes; beyond it the oldest go (frames: `queue_full`).',
    ),
  frames_total_bytes_max: whole(MIB, 64 * GIB)
    .default(256 * MIB)
    .describe('The same for all sessions together, bytes; the session with the most loses its oldest.'),
  channels_total_bytes_max: whole(MIB, 64 * GIB)
    .default(16 * MIB)
    .describe(
      'Memory for what Foxglove viewers are told of topics, bytes, a quarter of it for topics of one client; further topics are advertised without a layout.',
    ),
});

const auth = z.strictObject({
  keys_file: text()
    .describe('File of the keys that `sightline keys` makes; a relative path counts from the working directory.')
    .meta({
      defaultText:
        "`sightline/keys.json` in the user's data folder (`$XDG_DATA_HOME`, `~/.local/share`, `%LOCALAPPDATA%`)",
    }),
  jwt: z
    .strictObject({
      jwks_url: text()
        .optional()
        .describe('Address of the keys of an identity provider (JWKS): tokens that they have signed come in, too.')
        .meta({ defaultText: 'none' }),
      issuer: text().optional().describe('Required claim `iss`.').meta({ defaultText: 'none' }),
      audience: text().optional().describe('Required claim `aud`.').meta({ defaultText: 'none' }),
      algorithms: z
        .array(z.enum(['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA']))
        .min(1)
        .max(10)
        .default(['RS256', 'ES256', 'EdDSA'])
        .describe('How tokens may be signed; none but these, whatever the token says.'),
      permissions_claim: text()
        .default('permissions')
        .describe(
          'Claim with the permissions: a list, or one text with spaces between them; others in it are left out.',
        ),
    })
    .describe('Tokens of an identity provider; all three of the first keys, or none.'),
  callback_url: text()
    .optional()
    .describe(
      'Address of a program of yours that decides about every other credential: it gets `{ "credential", "address" }` by POST, and answers `{ "name", "permissions", "expires_in_s" }`, or 401.',
    )
    .meta({ defaultText: 'none' }),
  loopback: z
    .enum(['keys', 'open'])
    .default('keys')
    .describe(
      'What programs on this machine need: `keys`, a key as soon as there is one; `open`, nothing, ever. Behind a proxy on this machine everybody comes from here.',
    ),
});

const observe = z.strictObject({
  traces: z
    .strictObject({
      endpoint: text()
        .optional()
        .describe(
          'Where a collector takes traces over OTLP/HTTP, such as `http://127.0.0.1:4318/v1/traces`; not set: frames are not traced.',
        )
        .meta({
          defaultText: '`OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, or `OTEL_EXPORTER_OTLP_ENDPOINT` with `/v1/traces`',
        }),
      headers: z
        .array(text())
        .max(32)
        .default([])
        .describe('Headers that go along, each `name=value`, such as `Authorization=Bearer KEY`; they are never shown.')
        .meta({ ...SECRET, defaultText: '`OTEL_EXPORTER_OTLP_TRACES_HEADERS`, or `OTEL_EXPORTER_OTLP_HEADERS`' }),
      sample_rate: decimal(0, 1)
        .default(0.01)
        .describe(
          'Share of the frames that are traced. A frame that belongs to a trace of its client is traced if that is; one that took longer than the latency budget of its session always is.',
        ),
      service_name: text()
        .default('sightline')
        .describe('Name of this server among the services that send traces (`service.name`).')
        .meta({ defaultText: '`OTEL_SERVICE_NAME`, or `sightline`' }),
      timeout_ms: whole(100, 60_000).default(10_000).describe('How long the collector may take for a request.'),
    })
    .describe('Traces of frames, for a collector of OpenTelemetry (docs/traces.md).'),
});

const outbound = z.strictObject({
  allowed_networks: z
    .array(textAs(readNetwork))
    .max(256)
    .default([])
    .describe(
      'Link-local addresses, and those of the metadata services of clouds, that may be called all the same, such as `169.254.7.1`.',
    ),
});

const store = z.strictObject({
  mode: z
    .enum(['file', 'memory'])
    .default('file')
    .describe('`memory`: nothing is kept; after a restart the server knows nothing of its earlier alerts.'),
  file: text()
    .describe(
      'SQLite database of what outlives the server; a relative path counts from the working directory. It comes with the first record, and belongs to one server at a time.',
    )
    .meta({
      defaultText:
        "`sightline/sightline.db` in the user's data folder (`$XDG_DATA_HOME`, `~/.local/share`, `%LOCALAPPDATA%`)",
    }),
  bytes_max: whole(MIB, 64 * GIB)
    .default(64 * MIB)
    .describe('Largest size of that file, bytes; beyond it the older half of the history goes.'),
});

const objective = (name: string) =>
  z.strictObject({
    latency_ms: whole(1, 60_000)
      .default(100)
      .describe(
        `Time from capture to result within which a frame of class ${name} counts as in time; of a camera's frame, from its arrival.`,
      )
      .meta(AT_ONCE),
    compliance_percent: decimal(50, 99.999)
      .default(99)
      .describe(`Share of the frames of class ${name} that are to have a result in time.`)
      .meta(AT_ONCE),
  });

const alerts = z.strictObject({
  enabled: z
    .boolean()
    .default(true)
    .describe('Hold the server against its objectives, and tell of violations.')
    .meta(AT_ONCE),
  latency_percentile: decimal(50, 99.9)
    .default(95)
    .describe('The percentile of latency that the next two keys are about.')
    .meta(AT_ONCE),
  latency_warning_ms: whole(1, 60_000)
    .default(100)
    .describe(
      'Latency of a class in the last minute, capture (of cameras: arrival) to result, from which on it is a warning.',
    )
    .meta(AT_ONCE),
  latency_critical_ms: whole(1, 60_000).default(200).describe('The same for a critical alert.').meta(AT_ONCE),
  drops_warning_percent: decimal(0.01, 100)
    .default(5)
    .describe('Share of the frames of a class that the server left without a result in the last minute.')
    .meta(AT_ONCE),
  drops_critical_percent: decimal(0.01, 100).default(10).describe('The same for a critical alert.').meta(AT_ONCE),
  cpu_warning_percent: decimal(1, 100)
    .default(80)
    .describe('Share of all processors that the process may use, in the last minute.')
    .meta(AT_ONCE),
  cpu_critical_percent: decimal(1, 100).default(90).describe('The same for a critical alert.').meta(AT_ONCE),
  memory_warning_percent: decimal(1, 100)
    .default(75)
    .describe(
      'Resident memory, of what the process may have: `performance.max_memory_usage`, or the memory of the machine or its cgroup where that is less. By default and on a large machine 6 GiB.',
    )
    .meta(AT_ONCE),
  memory_critical_percent: decimal(1, 100)
    .default(87.5)
    .describe('The same for a critical alert; by default and on a large machine 7 GiB.')
    .meta(AT_ONCE),
  objectives: z
    .strictObject({
      critical: objective('critical').describe('Of class critical.'),
      high: objective('high').describe('Of class high.'),
      normal: objective('normal').describe('Of class normal.'),
      low: objective('low').describe('Of class low.'),
    })
    .describe('What is promised to each class of streams; alerts tell when that is about to be broken (burn rates).'),
  for_s: decimal(0, 86_400)
    .default(30)
    .describe('How long a threshold must be exceeded before it is an alert.')
    .meta(AT_ONCE),
  clear_s: decimal(0, 86_400)
    .default(60)
    .describe('How long an alert must be well below its threshold before it is resolved.')
    .meta(AT_ONCE),
  clear_percent: decimal(1, 100)
    .default(90)
    .describe('What is well below a threshold, of it: between the two nothing changes.')
    .meta(AT_ONCE),
  history_days: decimal(0.01, 3650).default(90).describe('How long the store keeps the history of alerts.'),
  queue_max: whole(1, 10_000)
    .default(100)
    .describe('Notifications that may wait for each place that gets them; a further one drops the oldest.'),
  give_up_s: decimal(1, 604_800)
    .default(21_600)
    .describe('How long a notification is tried again before it is given up.'),
  timeout_ms: whole(100, 120_000).default(10_000).describe('Time for one attempt to deliver a notification.'),
  instance: text()
    .optional()
    .describe('Name of this server in notifications.')
    .meta({ defaultText: "the machine's name" }),
  webhook_url: text()
    .optional()
    .describe('Address that gets each notification as JSON by POST.')
    .meta({ ...SECRET, defaultText: 'none' }),
  webhook_secret_file: text()
    .optional()
    .describe('File with the secret that signs them, of 16 characters or more.')
    .meta({ defaultText: 'none: they are not signed' }),
  mqtt_url: text()
    .optional()
    .describe('MQTT broker that gets each notification, such as `mqtt://broker:1883` or `mqtts://broker`.')
    .meta({ ...SECRET, defaultText: 'none' }),
  mqtt_topic_prefix: text()
    .default('sightline')
    .describe('They go to `<prefix>/alerts/<rule>/<class>`, with QoS 1, not retained.'),
  mqtt_username: text().optional().describe('Name at the broker.').meta({ defaultText: 'none' }),
  mqtt_password_file: text().optional().describe('File with the password at the broker.').meta({ defaultText: 'none' }),
  alertmanager_url: text()
    .optional()
    .describe('Address of an Alertmanager, such as `http://127.0.0.1:9093`.')
    .meta({ ...SECRET, defaultText: 'none' }),
  alertmanager_resend_s: decimal(1, 3600)
    .default(60)
    .describe(
      'How often it is told of an alert that goes on; without that it takes it for over after four times as long.',
    ),
});

const fleet = z.strictObject({
  processes: whole(1, 64)
    .default(10)
    .describe(
      'Child processes that read cameras, at most: each serves several. A camera whose process has crashed or hung twice within ten minutes gets one of its own, beside these, while there are fewer such than these.',
    ),
  max_concurrent_streams: whole(1, 1000)
    .default(100)
    .describe(
      'Cameras that are read at once. Those beyond it, in the order of their ids, are not read (`CAMERA_LIMIT_REACHED`).',
    )
    .meta(AT_ONCE),
  open_timeout_ms: whole(500, 120_000)
    .default(10_000)
    .describe('How long a camera may take from the connection to its first frame.')
    .meta(AT_ONCE),
  stall_timeout_ms: whole(500, 600_000)
    .default(5000)
    .describe('Without a frame for so long a camera has stalled: its connection ends, and a new one is tried.')
    .meta(AT_ONCE),
  pixels_max: whole(256, 67_108_864)
    .default(8_912_896)
    .describe('Most pixels of the pictures of a camera (width × height); a camera with larger ones is refused.')
    .meta(AT_ONCE),
  rate_fps_max: whole(1, 240)
    .default(120)
    .describe('Most frames a second of a camera; one that sends more is refused.')
    .meta(AT_ONCE),
  raw_bytes_max: whole(256 * KIB, 256 * MIB)
    .default(8 * MIB)
    .describe(
      'Memory for the newest frames of the raw channel of one camera, while somebody watches it, bytes; beyond it the oldest go.',
    ),
  transcodes_max: whole(0, 1000)
    .default(2)
    .describe(
      'Cameras whose picture is encoded anew as H.264 at once, for viewers that cannot play their own codec; each takes up to half a core. A viewer of a further one is told `TRANSCODE_LIMIT_REACHED`.',
    )
    .meta(AT_ONCE),
  annotated_max: whole(0, 1000)
    .default(4)
    .describe(
      'Cameras whose annotated channel is made at once, for viewers who want what was found drawn on the picture; each takes up to half a core. A viewer of a further one is told `ANNOTATE_LIMIT_REACHED`.',
    )
    .meta(AT_ONCE),
  annotated_fps: decimal(0.1, 60)
    .default(10)
    .describe('Pictures a second of an annotated channel, at most.')
    .meta(AT_ONCE),
  annotated_side: whole(64, 4096)
    .default(1280)
    .describe('Longest side of the pictures of an annotated channel, pixels; smaller ones are not enlarged.')
    .meta(AT_ONCE),
  record_unmasked: z
    .boolean()
    .default(false)
    .describe(
      'Recordings have the frames of cameras with masks, too, as the camera sends them: without the masks. Else they have none of these frames, and the log says so (`camera_not_recorded`).',
    )
    .meta(AT_ONCE),
  hardware_decoding: z
    .enum(['off', 'auto', 'cuda', 'vaapi', 'qsv', 'vulkan', 'videotoolbox', 'd3d11va', 'd3d12va'])
    .default('off')
    .describe(
      'What decodes H.264 and H.265 of cameras: `off`, the software; `auto`, the first device of this machine that works; or a kind of device, by FFmpeg’s names. Where it does not work the software decodes, and says why: [cameras.md](cameras.md#decoding-by-a-device).',
    )
    .meta(AT_ONCE),
  hardware_decoders_max: whole(1, 1000)
    .default(8)
    .describe('Cameras that a device decodes at once; the software decodes the others.')
    .meta(AT_ONCE),
  allowed_networks: z
    .array(textAs(readNetwork))
    .max(256)
    .default([])
    .describe(
      'Private networks into which a camera may lead on, by a redirect or a playlist, such as `10.0.0.0/8`. The address of the camera itself may be private in any case.',
    )
    .meta(AT_ONCE),
});

export const MASKS_MAX = 32;
const MASK_CHARS_MAX = 4096;

function readMask(given: string): Read {
  const { polygon, fault } = readPolygon(given);
  return fault === undefined ? { value: polygonText(polygon) } : { fault };
}

const webrtc = z.strictObject({
  enabled: z
    .boolean()
    .default(true)
    .describe('Viewers may watch cameras by WebRTC (WHEP), and publishers may be cameras by it (WHIP).'),
  host_candidates: z
    .array(textAs(readAddress))
    .max(8)
    .default([])
    .describe(
      'IP addresses at which viewers and publishers are told to find the server by UDP, such as the public one of a machine behind a translator of addresses. None: the one of `server.host`, so that nothing beyond loopback is told or opened unless the server listens there; where that is `0.0.0.0` or `::`, all of the machine but loopback.',
    ),
  udp_port_first: whole(0, 65_535)
    .default(0)
    .describe('First UDP port of sessions, each of which takes one for each address; 0: any free one.'),
  udp_port_last: whole(0, 65_535).default(0).describe('Last one of them.'),
  connect_timeout_ms: whole(500, 120_000)
    .default(10_000)
    .describe('How long a session may take from the answer to its connection; then it ends.'),
  sessions_max: whole(1, 1000)
    .default(32)
    .describe('Sessions of viewers by WebRTC at once; further ones are refused with `WEBRTC_LIMIT_REACHED`.'),
  publishers_max: whole(1, 100)
    .default(8)
    .describe('Sessions of publishers by WebRTC at once; further ones are refused with `WEBRTC_LIMIT_REACHED`.'),
  sessions_per_address_max: whole(1, 1000)
    .default(16)
    .describe(
      'Sessions of viewers of one address, and as many of publishers (of IPv6: of one /64 network), but for `server.unbounded_addresses`; further ones are refused with `ADDRESS_LIMIT_REACHED`.',
    ),
});

const hourBound = decimal(0.01, 24 * 366);

const archive = z.strictObject({
  folder: text()
    .describe(
      'Where recordings of cameras lie, in a folder for each; a relative path counts from the working directory.',
    )
    .meta({
      defaultText:
        "`sightline/recordings` in the user's data folder (`$XDG_DATA_HOME`, `~/.local/share`, `%LOCALAPPDATA%`)",
    }),
  file_s: whole(5, 3_600).default(60).describe('How much time is in one file, about.').meta(AT_ONCE),
  keep_h: hourBound
    .default(168)
    .describe('Recordings of a camera are kept so long, unless the camera says otherwise (`record_keep_h`), hours.')
    .meta(AT_ONCE),
  camera_bytes_max: whole(MIB, 1024 * GIB)
    .default(10 * GIB)
    .describe(
      'Recordings of one camera, bytes, unless the camera says otherwise (`record_bytes_max`); beyond it the oldest files go.',
    )
    .meta(AT_ONCE),
  free_bytes_min: whole(0, 1024 * GIB)
    .default(GIB)
    .describe('No file is begun while the disk has less room than this, bytes.')
    .meta(AT_ONCE),
  memory_bytes_max: whole(MIB, GIB)
    .default(16 * MIB)
    .describe(
      'Memory for what of one camera waits for a slow disk, and as much again for what was before an event, bytes; beyond it segments are lost, or the oldest go.',
    )
    .meta(AT_ONCE),
  before_s: decimal(0, 60)
    .default(10)
    .describe('What is recorded before an event, s; it is kept in memory until one happens.')
    .meta(AT_ONCE),
  after_s: decimal(1, 3_600).default(20).describe('What is recorded behind an event, s.').meta(AT_ONCE),
  exports_max: whole(0, 100)
    .default(2)
    .describe(
      'Clips with what was found drawn on them that are made at once, each in a process of its own that takes up to a core; a further one is refused (`EXPORT_LIMIT_REACHED`). 0: none.',
    )
    .meta(AT_ONCE),
});

const cache = z.strictObject({
  memory_bytes_max: whole(MIB, 64 * GIB)
    .default(512 * MIB)
    .describe('Fragments of recordings in memory, bytes; beyond it those go that were used least lately.')
    .meta(AT_ONCE),
  memory_s: decimal(0.1, 3_600).default(5).describe('One that nobody has asked for so long goes, s.').meta(AT_ONCE),
  prefetch: z
    .boolean()
    .default(true)
    .describe('What a viewer of recordings will probably ask for next is read before.')
    .meta(AT_ONCE),
  redis_url: textAs(readRedisUrl)
    .optional()
    .describe(
      'Redis as a second tier, such as `redis://:password@cache.example:6379`; `rediss:` is with TLS. None: there is no such tier.',
    )
    .meta({ ...SECRET, allowedText: 'address of the kind redis: or rediss:', defaultText: 'none' }),
  redis_prefix: text(64).default('sightline:').describe('In front of all keys there.'),
  redis_bytes_max: whole(MIB, 1024 * GIB)
    .default(2 * GIB)
    .describe('What this server keeps there at most, bytes; beyond it the oldest go.'),
  redis_s: decimal(1, 86_400).default(300).describe('How long Redis keeps a fragment, s.'),
  redis_connections: whole(1, 200)
    .default(1)
    .describe(
      'Connections to it. One carries all questions at once; what more of them gain is told in [cache.md](cache.md).',
    ),
  redis_timeout_ms: whole(5, 10_000).default(100).describe('An answer that takes longer is not waited for.'),
  disk_folder: text()
    .optional()
    .describe(
      'Folder for fragments on the disk as a third tier; a relative path counts from the working directory. None: there is no such tier.',
    )
    .meta({ defaultText: 'none' }),
  disk_bytes_max: whole(MIB, 1024 * GIB)
    .default(4 * GIB)
    .describe('Fragments on the disk, bytes; beyond it the oldest go.')
    .meta(AT_ONCE),
  disk_s: decimal(1, 7 * 86_400)
    .default(3_600)
    .describe('How long the disk keeps a fragment, s.')
    .meta(AT_ONCE),
});

const CAMERA_URL = { ...ADDRESS, allowedText: 'address, or path of a file or a device' } as const;

export const cameraEntry = z.strictObject({
  url: textAs(readCameraUrl)
    .describe(
      'Where its frames come from: `rtsp:`, `rtsps:`, `rtmp:`, `rtmps:`, `http:` or `https:` (MJPEG, HLS), a file, or a device such as `/dev/video0`; `whip:` alone: of whoever publishes to it by WebRTC. User and password in it are shown to nobody.',
    )
    .meta(CAMERA_URL),
  enabled: z.boolean().default(true).describe('False: it stays in the list, and is not read.'),
  transport: z
    .enum(['tcp', 'udp'])
    .default('tcp')
    .describe('How RTSP carries frames: `udp` saves a little delay, and loses frames where the network does.'),
  class: z
    .enum(['critical', 'high', 'normal', 'low'])
    .default('normal')
    .describe('Which cameras keep their rate of results when the engine cannot do all.'),
  pipelines: z
    .array(z.enum(PIPELINES))
    .max(8)
    .refine((names) => new Set(names).size === names.length, 'the same pipeline twice')
    .default(['objects'])
    .describe('What is looked for in its frames; none: it can only be watched.'),
  model: text()
    .optional()
    .describe('Model of its `objects` pipeline, an id of `sightline models list`.')
    .meta({ defaultText: '`detection.model`' }),
  max_fps: decimal(0.1, 120)
    .optional()
    .describe('Pictures of it a second that its pipelines look at, at most. Viewers get all of its frames.')
    .meta({ defaultText: 'as many as the engine has time for' }),
  masks: z
    .array(
      textAs(readMask, MASK_CHARS_MAX).meta({
        allowedText: `polygon of ${POLYGON_POINTS.min} to ${POLYGON_POINTS.max} points, such as 0.1,0.1 0.4,0.1 0.4,0.5`,
      }),
    )
    .max(MASKS_MAX)
    .default([])
    .describe(
      'Parts of its picture that are black in all that is made of it: polygons, whose points are fractions of the width and height of the upright picture. Its own frames, which cannot have them, are for `unmasked:cameras/{id}` alone: [cameras.md](cameras.md#masks).',
    ),
  record: z
    .enum(['off', 'continuous', 'events'])
    .default('off')
    .describe(
      'Whether its own frames are recorded on the disk: all of them, or those around results (`record_labels`): [archive.md](archive.md).',
    ),
  record_labels: z
    .array(text())
    .max(64)
    .default([])
    .describe('`events`: what has to be found, such as `car`; none: anything at all.'),
  record_keep_h: hourBound
    .optional()
    .describe('Its recordings are kept so long, hours.')
    .meta({ defaultText: '`archive.keep_h`' }),
  record_bytes_max: whole(MIB, 1024 * GIB)
    .optional()
    .describe('Its recordings, bytes; beyond it the oldest files go.')
    .meta({ defaultText: '`archive.camera_bytes_max`' }),
  loop: z.boolean().default(true).describe('A file begins anew at its end.'),
  pace: z
    .enum(['live', 'fast'])
    .default('live')
    .describe('Of a file: `live`, as fast as it was recorded; `fast`, as fast as its frames can be processed.'),
});

export const CAMERAS_MAX = 1000;

const hls = z.strictObject({
  part_ms: whole(20, 2000)
    .default(160)
    .describe('How long a part lasts, in whole frames as close to it as can be: players stay three parts behind live.')
    .meta(AT_ONCE),
  window_s: decimal(6, 3600)
    .default(20)
    .describe('How much a playlist lists. As much again is kept for players that are about to ask for it.')
    .meta(AT_ONCE),
  idle_s: decimal(1, 3600)
    .default(10)
    .describe('A channel ends when nobody has asked for so long, and is made anew when somebody asks.')
    .meta(AT_ONCE),
  bytes_max: whole(MIB, GIB)
    .default(16 * MIB)
    .describe('Memory for the segments of one channel, bytes; beyond it the oldest go.')
    .meta(AT_ONCE),
  total_bytes_max: whole(MIB, 64 * GIB)
    .default(256 * MIB)
    .describe('The same for all channels together; beyond it the oldest of the channel go that has most.')
    .meta(AT_ONCE),
  waiting_max: whole(1, 100_000)
    .default(2000)
    .describe(
      'Requests that may wait for what is to come, of all players; a further one is refused (`WAIT_LIMIT_REACHED`).',
    )
    .meta(AT_ONCE),
});

const log = z.strictObject({
  level: z
    .enum(LOG_LEVELS)
    .default('info')
    .describe('The log has entries of this level and above, see docs/logging.md.')
    .meta(AT_ONCE),
  format: z
    .enum(['auto', 'text', 'json'])
    .default('auto')
    .describe('`text`: short sentences; `json`: one object a line; `auto`: text in a terminal, else JSON.'),
});

const sections = {
  server: server.describe('The HTTP and WebSocket server.'),
  streaming: streaming.describe('Video sessions: what a client is granted, and the limits on it.'),
  telemetry: telemetry.describe(
    'The telemetry lane: topics, their histories, and the limits on readers and publishers.',
  ),
  video: video.describe('Pictures that the server asks clients for.'),
  detection: detection.describe('The `objects` pipeline.'),
  inference: inference.describe('The engine: ONNX Runtime in worker threads.'),
  hands: hands.describe('The `hands` pipeline.'),
  models: models.describe('Where models come from and are kept.'),
  performance: performance.describe('Goals and named settings.'),
  limits: limits.describe('What clients may make the server keep, beside histories.'),
  auth: auth.describe('Who may come in.'),
  observe: observe.describe('What the server tells of itself, beside its figures and its log.'),
  outbound: outbound.describe(
    'Addresses that the server calls by itself, such as `auth.callback_url`: none of them may be link-local, and none may lead elsewhere.',
  ),
  store: store.describe(
    'What outlives the server: alerts, what is to be told of them, and cameras that were changed while it ran.',
  ),
  fleet: fleet.describe('All cameras that the server reads itself, together: [cameras.md](cameras.md).'),
  webrtc: webrtc.describe('Viewers of cameras by WebRTC, and publishers that are cameras: [webrtc.md](webrtc.md).'),
  hls: hls.describe('Cameras in players of HLS: [hls.md](hls.md).'),
  archive: archive.describe('Recordings of cameras on the disk: [archive.md](archive.md).'),
  cache: cache.describe('Fragments of cameras that are kept for further viewers: [cache.md](cache.md).'),
  alerts: alerts.describe('Objectives, and who is told when they are not met: [alerts.md](alerts.md).'),
  log: log.describe('The log of long-running commands on standard error.'),
};

type Sections = typeof sections;
export type Profile = {
  [S in keyof Sections]?: { [K in keyof z.output<Sections[S]>]?: z.output<Sections[S]>[K] | undefined } | undefined;
};

/** The same sections without defaults: a key that a profile leaves out stays as it is. It may choose a strategy, but no profile. */
const profile = z
  .strictObject(
    mapValues({ ...sections, performance: performance.omit({ profile: true }) }, ({ shape }) =>
      z.strictObject(mapValues<z.ZodType, z.ZodType>(shape, withoutDefault)).optional(),
    ),
  )
  .meta({ id: 'Profile', description: 'settings by section and key; a key that is left out stays as it is' });

function withoutDefault(schema: z.ZodType): z.ZodType {
  const isWrapped = schema instanceof z.ZodDefault || schema instanceof z.ZodOptional;
  return (isWrapped ? (schema.unwrap() as z.ZodType) : schema).optional();
}

function mapValues<T, U>(values: Readonly<Record<string, T>>, change: (value: T) => U): Record<string, U> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, change(value)]));
}

/** Section → its schema, in the order of the documentation, each with one sentence on what it is about. */
export const configSchema = z.strictObject({
  ...sections,
  cameras: named(cameraEntry, CAMERAS_MAX)
    .default({})
    .describe(
      'Cameras that the server reads itself, each by its id: [cameras.md](cameras.md). They are added, changed and removed while the server runs, too; what was done so is kept across restarts, and then goes before this file and the environment.',
    ),
  profiles: named(profile as unknown as z.ZodType<Profile>, 64)
    .default(PROFILES)
    .describe(
      'Named sets of settings; `performance.profile`, or the flag `--profile`, names the one in force. It beats the strategy, and every key that you set yourself beats it. A profile may have all sections and keys of this page but `performance.profile`, `cameras` and `profiles`.',
    ),
});

/** When a value that was changed at run time takes effect. */
export type Applies = 'at_once' | 'new_sessions' | 'restart';

export type DeepReadonly<T> = T extends readonly (infer U)[]
  ? readonly DeepReadonly<U>[]
  : T extends object
    ? { readonly [K in keyof T]: DeepReadonly<T[K]> }
    : T;

/** The effective configuration, frozen. Modules take the slice that they need, such as `Config['streaming']`. */
export type Config = DeepReadonly<z.output<typeof configSchema>>;
