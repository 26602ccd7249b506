/** The tests of the load tester, as data. */

/** `ring`: each connection publishes a topic of its own and reads its neighbour's. `fan`: the first publishes, all others read. */
export type Topology = 'ring' | 'fan';

export interface LoadPhase {
  /** Messages a second of each publisher. */
  readonly rateHz: number;
  readonly seconds: number;
}

export interface LoadTest {
  readonly name: string;
  readonly kind: 'scenario' | 'connection_capacity' | 'high_throughput' | 'sustained_load' | 'adaptive_response';
  readonly summary: string;
  readonly topology: Topology;
  readonly connections: number;
  readonly phases: readonly LoadPhase[];
  /** All publishers send at the same instants; else their sends are spread over the period. */
  readonly together: boolean;
  /** Pass criterion beside "nothing lost, no client refused". */
  readonly p95MsMax: number;
}

/** On loopback; over a network its round trip comes on top, and the report says so. */
const P95_MS_MAX = 10;

const scenario = (name: string, connections: number, rateHz: number, seconds: number, together = false): LoadTest => ({
  name,
  kind: 'scenario',
  summary: `${connections} connections at ${rateHz} Hz`,
  topology: 'ring',
  connections,
  phases: [{ rateHz, seconds }],
  together,
  p95MsMax: P95_MS_MAX,
});

export const SCENARIOS: readonly LoadTest[] = [
  scenario('low_load', 5, 10, 60),
  scenario('normal_load', 10, 20, 60),
  scenario('high_load', 20, 20, 60),
  scenario('stress_test', 50, 10, 120),
  scenario('burst_test', 10, 100, 30, true),
];

export const KINDS: readonly LoadTest[] = [
  {
    name: 'connection_capacity',
    kind: 'connection_capacity',
    summary: '1,000 connections that all read one topic at 2 Hz',
    topology: 'fan',
    connections: 1_000,
    phases: [{ rateHz: 2, seconds: 20 }],
    together: true,
    p95MsMax: 50,
  },
  {
    name: 'high_throughput',
    kind: 'high_throughput',
    summary: 'one publisher at 1,000 Hz, 10 readers',
    topology: 'fan',
    connections: 11,
    phases: [{ rateHz: 1_000, seconds: 30 }],
    together: true,
    p95MsMax: P95_MS_MAX,
  },
  {
    name: 'sustained_load',
    kind: 'sustained_load',
    summary: '10 connections at 50 Hz for two minutes; the last quarter no slower than the first',
    topology: 'ring',
    connections: 10,
    phases: [
      { rateHz: 50, seconds: 30 },
      { rateHz: 50, seconds: 60 },
      { rateHz: 50, seconds: 30 },
    ],
    together: false,
    p95MsMax: P95_MS_MAX,
  },
  {
    name: 'adaptive_response',
    kind: 'adaptive_response',
    summary: '20 connections from 10 to 100 Hz at once and back; afterwards as quick as before',
    topology: 'ring',
    connections: 20,
    phases: [
      { rateHz: 10, seconds: 10 },
      { rateHz: 100, seconds: 20 },
      { rateHz: 10, seconds: 10 },
    ],
    together: false,
    p95MsMax: P95_MS_MAX,
  },
];

export const LOAD_TESTS: readonly LoadTest[] = [...SCENARIOS, ...KINDS];

/** Every name that selects tests: `all`, `scenarios`, or one test's. Undefined for any other. */
export function selectTests(name: string): readonly LoadTest[] | undefined {
  if (name === 'all') return LOAD_TESTS;
  if (name === 'scenarios') return SCENARIOS;
  const one = LOAD_TESTS.find((test) => test.name === name);
  return one && [one];
}

/** The same test in another length: its phases keep their shares. */
export function lasting(test: LoadTest, seconds: number): LoadTest {
  const factor = seconds / secondsOf(test);
  return { ...test, phases: test.phases.map((phase) => ({ ...phase, seconds: phase.seconds * factor })) };
}

export function secondsOf({ phases }: LoadTest): number {
  return phases.reduce((sum, { seconds }) => sum + seconds, 0);
}

/** Which topic (by its publisher's place) a connection reads; undefined: it only publishes. */
export function readsFrom({ topology, connections }: LoadTest, connection: number): number | undefined {
  if (topology === 'ring') return (connection + 1) % connections;
  return connection === 0 ? undefined : 0;
}

export function publisherCount({ topology, connections }: LoadTest): number {
  return topology === 'ring' ? connections : 1;
}
