import type { Clock } from '../../base/clock.ts';
import { isErrorCode } from '../../base/error-catalogue.ts';
import { SightlineError } from '../../base/errors.ts';
import type { ResultMessage } from '../../protocol/video.ts';
import { PrivateServer } from '../processes.ts';
import type { PictureBook } from './clip.ts';
import { keptBoxes } from './detections.ts';
import { median, medianOf, type Measured, type PictureLimit, type Settings } from './judge.ts';
import type { Entrant, Load, PictureReport, Plan, SearchTools } from './search.ts';
import { Sender } from './sender.ts';
import { runSpan } from './span.ts';

/** Measures candidates: each in a private server with its settings, and clients that send the clip. */

/** Milliseconds under load before a span, of the span itself, and for the answers to the last frames. */
export interface Span {
  readonly settleMs: number;
  readonly spanMs: number;
  readonly drainMs: number;
}

export interface Spans {
  /** A candidate that is measured once. */
  readonly single: Span;
  /** A turn, as the settings say, or as hard as it goes. */
  readonly turn: Readonly<Record<Load, Span>>;
}

const DRAIN_MS = 2_000;
/** Frames that wait behind a saturated engine are ignored: only its results a second count. */
const SATURATED_DRAIN_MS = 0;

export const SPANS: Spans = {
  single: { settleMs: 700, spanMs: 1_800, drainMs: DRAIN_MS },
  turn: {
    as_set: { settleMs: 1_000, spanMs: 1_800, drainMs: DRAIN_MS },
    saturated: { settleMs: 300, spanMs: 1_100, drainMs: SATURATED_DRAIN_MS },
  },
};
export const SPANS_QUICK: Spans = {
  single: { settleMs: 500, spanMs: 700, drainMs: DRAIN_MS },
  turn: {
    as_set: { settleMs: 500, spanMs: 1_000, drainMs: DRAIN_MS },
    saturated: { settleMs: 300, spanMs: 700, drainMs: SATURATED_DRAIN_MS },
  },
};

/** A server starts, loads the model, warms it up, and ends. */
const SERVER_MS = 1_700;
const SURVEY_MS = 6_000;

export interface BenchOptions {
  /** The command's words in front of `serve` that a candidate's settings make. */
  readonly words: (settings: Settings) => readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly book: PictureBook;
  readonly sessions: number;
  readonly targetMs: number;
  readonly spans: Spans;
  /** How long the search may go on before nothing new is begun, milliseconds. */
  readonly timeMaxMs: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Reports the step that begins now. */
  readonly onStep: (what: string) => void;
  readonly onEnd: (what: string, measured: Measured, load: Load) => void;
}

/** For measuring only: lost sessions take no room, and the log has only errors. */
const PRIVATE: Settings = { 'log.level': 'warn', 'log.format': 'text', 'streaming.resume_window_s': 0.05 };
/** As many frames as the windows allow, without adaptation or frames left out. */
const SATURATED: Settings = {
  'streaming.default_fps': 60,
  'streaming.max_fps': 60,
  'performance.adaptive_quality': 'false',
  'performance.target_latency_ms': 10_000,
};
const SURVEY_QUALITY = 90;
const SURVEY_SENDING_MS = 5_000;
const SURVEY_ANSWERS_MS = 10_000;

/** How long all of it takes at most, about, in milliseconds. */
export function plannedMs({ single, engines, engineRounds, finalists, rounds }: Plan, spans: Spans): number {
  return (
    SURVEY_MS +
    single * (SERVER_MS + lengthOf(spans.single)) +
    engines * (SERVER_MS + engineRounds * lengthOf(spans.turn.saturated)) +
    finalists * (SERVER_MS + rounds * lengthOf(spans.turn.as_set))
  );
}

function lengthOf({ settleMs, spanMs }: Span): number {
  return settleMs + spanMs;
}

export class Bench implements SearchTools {
  readonly #options: BenchOptions;
  readonly #beganMs: number;

  constructor(options: BenchOptions) {
    this.#options = options;
    this.#beganMs = options.clock.now();
  }

  isTimeUp(): boolean {
    const { clock, timeMaxMs } = this.#options;
    return clock.now() - this.#beganMs > timeMaxMs;
  }

  async measure({ name, settings }: Entrant): Promise<Measured> {
    const { spans, onStep, onEnd } = this.#options;
    onStep(name);
    await using server = await this.#start(settings);
    const measured = await this.#span(server, spans.single);
    onEnd(name, measured, 'as_set');
    return measured;
  }

  async takeTurns(
    entrants: readonly Entrant[],
    rounds: number,
    load: Load,
  ): Promise<(readonly Measured[] | SightlineError)[]> {
    const { spans, onStep, onEnd } = this.#options;
    const players = entrants.map((entrant) => new Player(entrant));
    const attempt = async (player: Player, what: string, act: () => Promise<void>): Promise<void> => {
      if (player.failure) return;
      onStep(`${nameOf(player.entrant, load)}: ${what}`);
      try {
        await act();
      } catch (thrown) {
        if (!(thrown instanceof SightlineError)) throw thrown;
        player.failure = thrown;
      }
    };
    try {
      for (const player of players) {
        const { settings } = player.entrant;
        await attempt(player, 'starts', async () => {
          player.server = await this.#start(load === 'saturated' ? { ...settings, ...SATURATED } : settings);
        });
      }
      for (let round = 1; round <= rounds; round += 1) {
        for (const player of players) {
          await attempt(player, `round ${round} of ${rounds}`, async () => {
            player.rounds.push(await this.#span(player.server!, spans.turn[load]));
          });
        }
      }
    } finally {
      await Promise.all(players.map(({ server }) => server?.[Symbol.asyncDispose]()));
    }
    for (const { entrant, rounds: own, failure } of players) {
      if (!failure) onEnd(nameOf(entrant, load), medianOf(own), load);
    }
    return players.map(({ rounds: own, failure }) => failure ?? own);
  }

  /** The clip's frames through one server, once as large as they are and once within each limit; as many as there is time for. */
  async survey(pictures: readonly PictureLimit[]): Promise<readonly PictureReport[]> {
    const { book, onStep } = this.#options;
    onStep('the share of detections that smaller pictures keep');
    const own: PictureLimit = { ...book.size, quality: SURVEY_QUALITY };
    await using server = await this.#start(SATURATED);
    const frames = await this.#resultsOf(server, [own, ...pictures]);
    const boxes = frames.reduce((sum, [reference]) => sum + reference!.detections.length, 0);
    return pictures.map((picture, i): PictureReport => {
      const pairs = frames.map((results) => [results[0]!, results[i + 1]!] as const);
      const kept = pairs.reduce((sum, [reference, one]) => sum + keptBoxes(reference.detections, one.detections), 0);
      return {
        ...picture,
        kept: boxes === 0 ? undefined : kept / boxes,
        boxes,
        work_ms: median(pairs.map(([, one]) => workMs(one))),
      };
    });
  }

  /** For each frame its result within each limit; only frames that have all of them. */
  async #resultsOf(server: PrivateServer, limits: readonly PictureLimit[]): Promise<ResultMessage[][]> {
    const { book, clock, signal } = this.#options;
    for (const limit of limits) book.prepare(limit);
    const results = new Map<number, ResultMessage>();
    const sender = await Sender.open({
      url: server.url,
      clock,
      signal,
      // A frame that is lost stays without a result.
      onResult: ({ result }) => results.set(result.seq, result),
    });
    const asked: number[][] = [];
    try {
      const untilMs = clock.now() + SURVEY_SENDING_MS;
      for (let frame = 0; frame < book.frames && clock.now() < untilMs; frame += 1) {
        const seqs: number[] = [];
        for (const limit of limits) {
          if (!(await sender.ready(untilMs))) break;
          const seq = sender.send(book.jpeg(frame, limit));
          if (seq !== undefined) seqs.push(seq);
        }
        asked.push(seqs);
      }
      await sender.answered(clock.now() + SURVEY_ANSWERS_MS);
    } finally {
      await sender.close();
    }
    return asked
      .map((seqs) => seqs.flatMap((seq) => results.get(seq) ?? []))
      .filter((found) => found.length === limits.length);
  }

  async #start(settings: Settings): Promise<PrivateServer> {
    const { words, env, signal } = this.#options;
    try {
      return await PrivateServer.start(words({ ...PRIVATE, ...settings }), env, signal);
    } catch (thrown) {
      throw ownFailure(thrown);
    }
  }

  async #span(server: PrivateServer, span: Span): Promise<Measured> {
    const { book, sessions, targetMs, clock, signal } = this.#options;
    return await runSpan({ url: server.url, book, sessions, targetMs, clock, signal, ...span });
  }
}

/** One that takes turns, and its server meanwhile. */
class Player {
  readonly entrant: Entrant;
  readonly rounds: Measured[] = [];
  server: PrivateServer | undefined;
  failure: SightlineError | undefined;

  constructor(entrant: Entrant) {
    this.entrant = entrant;
  }
}

function nameOf({ name }: Entrant, load: Load): string {
  return load === 'saturated' ? `${name}, as hard as it goes` : name;
}

function workMs({ stages_ms: { decode, preprocess, inference, postprocess } }: ResultMessage): number {
  return decode + preprocess + inference + postprocess;
}

/** The server's own last words carry its own code: `sightline: … (MODEL_UNKNOWN)`. */
function ownFailure(thrown: unknown): unknown {
  if (!(thrown instanceof SightlineError) || thrown.code !== 'INTERNAL') return thrown;
  const [, message, code] =
    /^sightline: (.*) \(([A-Z_]+)\)$/m.exec(thrown.message.replace(/^.*?: (?=sightline: )/, '')) ?? [];
  if (message === undefined || !isErrorCode(code)) return thrown;
  return new SightlineError(code, message, { cause: thrown });
}
