/** What the server says is wrong, above everything else; nothing where nothing is. */

/** The part of `GET /api/alerts` that is shown. */
export interface SeenAlert {
  readonly state: 'pending' | 'warning' | 'critical' | 'resolved';
  readonly summary: string;
  /** Unix ms. */
  readonly started_at: number;
  readonly silenced: boolean;
  readonly streams: { readonly count: number; readonly worst: readonly { readonly client_id: string }[] } | null;
}

export interface AlertLine {
  readonly kind: 'warning' | 'critical' | 'silenced';
  readonly label: string;
  readonly text: string;
  readonly since: string;
  /** Which streams; empty: the server as a whole. */
  readonly streams: string;
}

const POLL_MS = 5_000;
const NAMED_MAX = 3;

/** In the order of the server: the gravest first; those that are silenced come last. Those that are pending are nobody's business yet. */
export function linesOf(alerts: readonly SeenAlert[], nowMs: number): AlertLine[] {
  const firing = alerts.filter(({ state }) => state === 'warning' || state === 'critical');
  const inOrder = [...firing.filter(({ silenced }) => !silenced), ...firing.filter(({ silenced }) => silenced)];
  return inOrder.map(({ state, summary, started_at, silenced, streams }) => ({
    kind: silenced ? 'silenced' : (state as 'warning' | 'critical'),
    label: silenced ? 'Silenced' : state === 'critical' ? 'Critical' : 'Warning',
    text: summary[0]!.toUpperCase() + summary.slice(1),
    since: sinceOf(nowMs - started_at),
    streams: streams ? streamsOf(streams) : '',
  }));
}

function streamsOf({ count, worst }: NonNullable<SeenAlert['streams']>): string {
  if (count === 0) return '';
  const named = worst.slice(0, NAMED_MAX).map(({ client_id }) => client_id);
  const others = count - named.length;
  return named.join(', ') + (others > 0 ? ` and ${others} more` : '');
}

function sinceOf(ms: number): string {
  const minutes = Math.floor(ms / 60_000);
  if (minutes < 1) return 'for less than a minute';
  if (minutes < 120) return `for ${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `for ${hours} h` : `for ${Math.floor(hours / 24)} days`;
}

/** Asks now and then, for as long as the page is there, and as long as it may. */
export function watchAlerts(section: HTMLElement, list: HTMLElement): void {
  let shown = '';
  const look = async (): Promise<void> => {
    if (document.hidden) return;
    const answer = await fetch('api/alerts?history=0').catch(() => undefined);
    // The page says by itself that the server is away.
    if (!answer) return;
    // Who may not read them, and a server that has none, will say so again.
    if (!answer.ok) return clearInterval(timer);
    const { alerts, time } = (await answer.json()) as { alerts: readonly SeenAlert[]; time: number };
    const lines = linesOf(alerts, time);
    const next = JSON.stringify(lines);
    if (next === shown) return;
    shown = next;
    section.hidden = lines.length === 0;
    section.dataset['kind'] = lines.some(({ kind }) => kind === 'critical') ? 'critical' : 'warning';
    list.replaceChildren(...lines.map(itemOf));
  };
  const timer = setInterval(() => void look(), POLL_MS);
  void look();
}

function itemOf({ kind, label, text, since, streams }: AlertLine): HTMLLIElement {
  const item = document.createElement('li');
  item.dataset['kind'] = kind;
  item.append(make('b', label), make('span', text), make('time', since));
  if (streams !== '') item.append(make('small', streams));
  return item;
}

function make(tag: string, text: string): HTMLElement {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}
