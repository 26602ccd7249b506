/** Whether a server's books balance, by its own document of measurements. Pure. */

type Counts = Readonly<Record<string, unknown>>;

/** The parts of `GET /api/performance/metrics` that are looked at. */
export interface AccountsDocument {
  readonly sessions: readonly {
    readonly client_id: string;
    readonly accounts: Counts;
    readonly pipelines?: readonly { readonly pipeline: string; readonly accounts: Counts }[];
  }[];
  readonly telemetry: {
    readonly sessions: readonly { readonly client_id: string; readonly accounts: Counts }[];
    readonly topics: readonly { readonly stats: { readonly topic: string }; readonly accounts: Counts }[];
  };
  readonly foxglove: readonly (Counts & { readonly client_id: string })[];
}

/** Those that do not, in words; none where all do. */
export function unbalanced({ sessions, telemetry, foxglove }: AccountsDocument): string[] {
  return [
    ...sessions.flatMap(({ client_id: id, accounts, pipelines = [] }) => [
      ...checked(`session ${id}`, accounts, 'received', FRAMES),
      ...pipelines.flatMap(({ pipeline, accounts: own }) =>
        checked(`session ${id}, ${pipeline}`, own, 'received', FRAMES),
      ),
    ]),
    ...telemetry.sessions.flatMap((one) => checked(`client ${one.client_id}`, one.accounts, 'published', MESSAGES)),
    ...telemetry.topics.flatMap((one) => checked(`topic ${one.stats.topic}`, one.accounts, 'published', MESSAGES)),
    ...foxglove.flatMap((one) => checked(`viewer ${one.client_id}`, one, 'published', VIEWED)),
  ];
}

const FRAMES = ['results', 'errors', 'dropped', 'queued', 'in_flight', 'unsent'];
const MESSAGES = ['delivered', 'conflated', 'dropped', 'expired', 'queued'];
const VIEWED = ['delivered', 'lost', 'expired', 'queued'];

function checked(who: string, counts: Counts, whole: string, parts: readonly string[]): string[] {
  const sum = parts.reduce((total, part) => total + sumOf(counts[part]), 0);
  const wanted = sumOf(counts[whole]);
  return sum === wanted ? [] : [`${who}: ${whole} ${wanted}, accounted for ${sum}`];
}

/** A count, or counts by cause. */
function sumOf(value: unknown): number {
  if (typeof value === 'number') return value;
  return Object.values((value ?? {}) as Record<string, number>).reduce((sum, n) => sum + n, 0);
}
