/** The basis of the verdict; the caller gathers it. */
export interface HealthFacts {
  /** The default model is not ready for the first time: workers come up, and compiling holds the event loop. */
  readonly starting: boolean;
  /** Models that sessions may ask for and that are being made ready, by id. */
  readonly modelsLoading: readonly string[];
  /** Models that sessions asked for recently and that could not be made ready. */
  readonly modelsFailed: readonly { readonly id: string; readonly reason: string }[];
  readonly workers: { readonly alive: number; readonly wanted: number };
  readonly stopping: boolean;
  /** Recent latency, capture to handed to the encoder, and the number of its frames. */
  readonly latency: { readonly p95Ms: number; readonly frames: number };
  readonly eventLoopDelayP99Ms: number;
  readonly rssBytes: number;
  /** Connections that may last, as many as are possible and as many as are wanted; files that the process may have open. */
  readonly connections: { readonly max: number; readonly wanted: number; readonly descriptorsMax: number | null };
  /** Callbacks that threw inside the hub: each is a fault of the program. */
  readonly callbackFaults: number;
  readonly recordings: readonly {
    readonly state: 'recording' | 'interrupted' | 'failed' | 'ended';
    readonly file: string;
    /** Why it cannot write, or could not. */
    readonly reason: string | null;
    readonly lost: number;
  }[];
  /** Objectives that are not met. */
  readonly alerts: readonly { readonly severity: 'warning' | 'critical'; readonly summary: string }[];
  /** Why the store cannot be written; null: it can, or is not meant to be. */
  readonly storeFault: string | null;
  /** What the bounds of memory come to together, what the settings allow the process, and what the machine or its cgroup has, bytes. */
  readonly memory: { readonly plannedBytes: number; readonly settingBytes: number; readonly machineBytes: number };
}

export interface HealthLimits {
  readonly latencyP95MaxMs: number;
  readonly eventLoopDelayP99MaxMs: number;
  readonly rssBytesMax: number;
}

export type HealthIssueCode =
  | 'MODEL_LOADING'
  | 'MODEL_FAILED'
  | 'WORKERS_MISSING'
  | 'SHUTTING_DOWN'
  | 'LATENCY_HIGH'
  | 'EVENT_LOOP_SLOW'
  | 'MEMORY_HIGH'
  | 'DESCRIPTORS_FEW'
  | 'CALLBACKS_FAILED'
  | 'RECORDING_FAILED'
  | 'RECORDING_ENDED'
  | 'STORE_FAILED'
  | 'ALERT_WARNING'
  | 'ALERT_CRITICAL'
  | 'MEMORY_PROMISED';

export interface HealthIssue {
  readonly code: HealthIssueCode;
  /** For people; names the figure and its limit. */
  readonly message: string;
}

export interface Health {
  /**
   * `starting`: the server does not process frames yet and nothing is wrong; `degraded`: see the issues. Issues of models that a session
   * asked for change nothing: they harm nobody else, and one client must not take the server out of service. Nor does a limit for open
   * files, since the server takes fewer connections, bounds that promise more memory than there is, a recording that is complete, a
   * store that cannot be written, or a warning.
   */
  readonly status: 'ok' | 'starting' | 'degraded';
  readonly issues: readonly HealthIssue[];
}

/** Fewer frames make no 95th percentile. */
const LATENCY_FRAMES_MIN = 20;

/** The health of the server, with the issues found. Pure. */
export function judgeHealth(facts: HealthFacts, limits: HealthLimits): Health {
  const issues: HealthIssue[] = [];
  const find = (code: HealthIssueCode, message: string) => issues.push({ code, message });
  const { workers, latency } = facts;

  for (const id of facts.modelsLoading) find('MODEL_LOADING', `model ${id} is being loaded`);
  for (const { id, reason } of facts.modelsFailed) find('MODEL_FAILED', `model ${id} could not be loaded: ${reason}`);
  if (facts.stopping) find('SHUTTING_DOWN', 'the server shuts down');
  else if (!facts.starting && workers.alive < workers.wanted) {
    find('WORKERS_MISSING', `${workers.alive} of ${workers.wanted} inference workers are alive`);
  }
  if (latency.frames >= LATENCY_FRAMES_MIN && latency.p95Ms > limits.latencyP95MaxMs) {
    find('LATENCY_HIGH', `95 % of the frames took up to ${ms(latency.p95Ms)}, over ${ms(limits.latencyP95MaxMs)}`);
  }
  if (!facts.starting && facts.eventLoopDelayP99Ms > limits.eventLoopDelayP99MaxMs) {
    const { eventLoopDelayP99Ms: delayMs } = facts;
    find(
      'EVENT_LOOP_SLOW',
      `the event loop's delay (P99) is ${ms(delayMs)}, over ${ms(limits.eventLoopDelayP99MaxMs)}`,
    );
  }
  if (facts.rssBytes > limits.rssBytesMax) {
    find('MEMORY_HIGH', `resident memory is ${mib(facts.rssBytes)}, over ${mib(limits.rssBytesMax)}`);
  }
  const { max, wanted, descriptorsMax } = facts.connections;
  if (max < wanted) {
    find(
      'DESCRIPTORS_FEW',
      `${max} of ${wanted} connections (server.max_connections) are possible: the process may have ${descriptorsMax} files open`,
    );
  }
  if (facts.callbackFaults > 0) find('CALLBACKS_FAILED', `${facts.callbackFaults} callbacks of readers have failed`);
  for (const { state, file, reason, lost } of facts.recordings) {
    if (state === 'ended') find('RECORDING_ENDED', `the recording ${file} has ended; ${lost} messages are lost`);
    if (state !== 'interrupted' && state !== 'failed') continue;
    const outlook = state === 'interrupted' ? 'it is tried again' : 'it has ended';
    find(
      'RECORDING_FAILED',
      `the recording ${file} cannot be written: ${reason}; ${lost} messages are lost, ${outlook}`,
    );
  }
  for (const { severity, summary } of facts.alerts) {
    find(severity === 'critical' ? 'ALERT_CRITICAL' : 'ALERT_WARNING', summary);
  }
  if (facts.storeFault !== null) find('STORE_FAILED', `alerts are kept in memory alone: ${facts.storeFault}`);
  const { plannedBytes, settingBytes, machineBytes } = facts.memory;
  if (plannedBytes > Math.min(settingBytes, machineBytes)) {
    find(
      'MEMORY_PROMISED',
      `the bounds of memory come to ${mib(plannedBytes)} together, over ${plannedBytes > machineBytes ? `the ${mib(machineBytes)} of the machine` : `${mib(settingBytes)} (performance.max_memory_usage)`}`,
    );
  }

  return { status: statusOf(issues, facts.starting), issues };
}

/** Those of one session, and of how the server was set up: it does what it can. So it does without a store. */
const HARMLESS: ReadonlySet<string> = new Set([
  'MODEL_LOADING',
  'MODEL_FAILED',
  'DESCRIPTORS_FEW',
  'MEMORY_PROMISED',
  'RECORDING_ENDED',
  'STORE_FAILED',
  'ALERT_WARNING',
] satisfies HealthIssueCode[]);

/** What the server is, with these issues. Pure. */
export function statusOf(issues: readonly { readonly code: string }[], isStarting: boolean): Health['status'] {
  if (issues.some(({ code }) => !HARMLESS.has(code))) return 'degraded';
  return isStarting ? 'starting' : 'ok';
}

function ms(value: number): string {
  return `${value.toFixed(1)} ms`;
}

function mib(bytes: number): string {
  return `${Math.round(bytes / 2 ** 20)} MiB`;
}
