import { mkdir, realpath, stat } from 'node:fs/promises';
import { extname, join, resolve } from 'node:path';
import { InvalidArgumentError } from 'commander';
import type { Command } from 'commander';
import { systemClock } from '../base/clock.ts';
import { type ErrorCode, SightlineError, toSightlineError } from '../base/errors.ts';
import type { FrameOutcome } from '../base/frame.ts';
import { parsePipelineList } from '../base/pipeline-list.ts';
import type { PipelineName, PipelineResult } from '../base/result.ts';
import { Priority } from '../base/sample.ts';
import type { Config } from '../config/schema.ts';
import type { RgbPicture } from '../media/jpeg.ts';
import { outcomeMessage } from '../protocol/outcome-message.ts';
import type { ErrorMessage, ResultMessage } from '../protocol/video.ts';
import type { VideoFile, VideoFrame } from '../sources/file.ts';
import type { VideoWriter } from '../sources/writer.ts';
import type { CliContext } from './context.ts';
import type { DetectInputs } from './detect-inputs.ts';
import { DetectSummary, row } from './detect-summary.ts';
import type { FrameWorker, WorkedInput } from './frame-worker.ts';
import { pictureSize } from './options.ts';
import { Progress } from './progress.ts';

export interface DetectFlags {
  readonly pipeline?: string;
  readonly model?: string;
  readonly size?: { readonly width: number; readonly height: number };
  readonly confidence?: number;
  readonly iou?: number;
  readonly json?: boolean;
  readonly out?: string;
  readonly every: number;
  readonly limit?: number;
}

const HELP = `
Without --json the command prints a summary. With it, each processed frame is a line of JSON with the fields of the protocol's
"result" message (docs/protocol.md): seq is the frame's place in the file from 1, capture_time its time in the file
in milliseconds. A frame that could not be processed is a line of type "error".

--pipeline hands finds hands with their landmarks; objects,hands does both on the same frames, and prints a line for each.

An --out file holds the processed frames with their boxes and hands: H.264 in .mp4, or a .jpg or .png of a picture. It replaces an
older one when it is complete. After Ctrl+C, and when the input breaks off, it holds the frames up to there. A video has
one size: frames of another size than the first are fitted into it, between black bars.

Several inputs are processed one after the other, each with --every and --limit of its own. From a folder the command takes the
files that are pictures or videos by their names, and lists the others. With several inputs each line of JSON also has "file", and
--out is a folder with a file for each input. An input that cannot be read is reported, the others are processed, and the exit
code is not 0.

Pictures are upright, by their EXIF orientation; width, height and boxes are those of the upright picture.

Examples:
  sightline detect clip.mp4
  sightline detect clip.mp4 --model yolox_nano.onnx --confidence 0.5 --json > frames.jsonl
  sightline detect clip.mp4 --out annotated.mp4
  sightline detect photo.jpg --out boxes.png
  sightline detect photos/ more.heic --out boxes/
  sightline detect rtsp://camera.local/stream --every 5 --json
`;

const CLIENT_ID = 'detect';
/** After this many failed frames in a row the next ones will fail as well. */
const FAILURES_IN_A_ROW_MAX = 10;
/** Most sizes that are listed, of a stream that changes its size. */
const SIZES_TOLD_MAX = 5;

/** `sightline detect`: a file, picture or stream in, detections out. */
export function registerDetect(program: Command, context: CliContext): void {
  program
    .command('detect')
    .description('find objects or hands in video files, pictures or a stream')
    .argument('<inputs...>', 'video files, pictures, folders of them, or URLs (http, https, rtsp) that FFmpeg can read')
    .option('--pipeline <names>', 'what to find: objects, hands, or both with a comma between them', 'objects')
    .option('--model <id|path>', 'model of "sightline models list", or a model file (default: detection.model)')
    .option('--size <WxH>', "the model's input in pixels, for one that leaves it open", pictureSize)
    .option('--confidence <n>', 'leave out detections below this score, 0 to 1', fraction)
    .option('--iou <n>', 'overlap above which only the best of the boxes stays, 0 to 1', fraction)
    .option('--json', 'print one line of JSON a frame')
    .option(
      '--out <path>',
      'write the frames with their boxes: .mp4, or .jpg or .png for a picture; a folder for several',
    )
    .option('--every <n>', 'process only every n-th frame', wholeFromOne, 1)
    .option('--limit <n>', 'stop after n processed frames of an input', wholeFromOne)
    .addHelpText('after', HELP)
    .action((inputs: string[], flags: DetectFlags) => detect(inputs, flags, context));
}

async function detect(given: readonly string[], flags: DetectFlags, context: CliContext): Promise<void> {
  const pipelines = pipelineNames(flags);
  const config = context.config({
    'detection.model': flags.model,
    'detection.confidence_threshold': flags.confidence,
    'detection.iou_threshold': flags.iou,
  });
  // FFmpeg and ONNX Runtime take their time to load: only once the command line is known to be right.
  const { expandInputs } = await import('./detect-inputs.ts');
  const expanded = await expandInputs(given, context.cwd);
  const out = flags.out === undefined ? undefined : resolve(context.cwd, flags.out);
  if (expanded.areSeveral) return await detectSeveral(expanded, out, { pipelines, flags, context, config });

  const { openVideo } = await import('../sources/file.ts');
  const { openWorker } = await import('./frame-worker.ts');
  const input = expanded.inputs[0]!.path;
  if (out !== undefined) await checkOut(out, input);
  await using video = await openVideo(input, { sideMax: config.streaming.image_side_max, signal: context.signal });
  await using output = await openOutput(out, video, flags.every);
  await using worker = await openWorker(pipelines, config, flags, context);
  const run = new DetectRun({ video, output, worker, config, flags, context });
  await run.run();
}

/** Errors of one input, after which the others are processed. */
const ERRORS_OF_INPUT: ReadonlySet<ErrorCode> = new Set(['SOURCE_NOT_FOUND', 'SOURCE_UNREADABLE', 'INFERENCE_FAILED']);

/** Errors: that of the first input that failed, after the others are processed; any other error at once. */
async function detectSeveral(
  { inputs, empty, notices }: DetectInputs,
  out: string | undefined,
  {
    pipelines,
    flags,
    context,
    config,
  }: Pick<DetectParts, 'flags' | 'context' | 'config'> & { readonly pipelines: readonly string[] },
): Promise<void> {
  const { openVideo } = await import('../sources/file.ts');
  const { openWorker } = await import('./frame-worker.ts');
  const { checkOutFolder, OutputNames } = await import('./detect-inputs.ts');
  const { signal } = context;
  for (const notice of notices) context.err(notice);
  if (inputs.length === 0) throw empty[0]!;
  if (out !== undefined) await openOutFolder(out, () => checkOutFolder(out, inputs));
  const failures: SightlineError[] = [];
  const fail = (error: SightlineError, file?: string) => {
    failures.push(error);
    context.err(`sightline: ${error.message} (${error.code})`);
    const { code, message } = error;
    if (flags.json === true)
      context.out(JSON.stringify({ type: 'error', code, message, ...(file !== undefined && { file }) }));
  };
  for (const error of empty) fail(error);
  const names = new OutputNames();
  let open: { readonly worker: FrameWorker; readonly totals: DetectSummary } | undefined;
  try {
    for (const { name, path } of inputs) {
      signal.throwIfAborted();
      try {
        await using video = await openVideo(path, { sideMax: config.streaming.image_side_max, signal });
        const file = out === undefined ? undefined : join(out, names.take(path, video.info.still));
        await using output = await openOutput(file, video, flags.every);
        open ??= {
          worker: await openWorker(pipelines, config, flags, context),
          totals: new DetectSummary(systemClock),
        };
        const { worker, totals } = open;
        await new DetectRun({ video, output, worker, config, flags, context, several: { file: name, totals } }).run();
      } catch (thrown) {
        const error = toSightlineError(thrown);
        if (signal.aborted || !ERRORS_OF_INPUT.has(error.code)) throw thrown;
        fail(error, name);
      }
    }
  } finally {
    if (open && flags.json !== true) {
      const { worker, totals } = open;
      const run = { inputs: inputs.length + empty.length, failed: failures.length, worker, config, out };
      for (const line of totalLines(totals, run)) context.out(line);
    }
    await open?.worker[Symbol.asyncDispose]();
  }
  const [first] = failures;
  if (!first) return;
  const count = inputs.length + empty.length;
  throw new SightlineError(
    first.code,
    `${failures.length} of ${count} inputs could not be processed to the end; they are listed above`,
  );
}

/** Makes the folder if it is not there. Errors: those of `check`, USAGE, OUTPUT_FAILED. */
async function openOutFolder(out: string, check: () => Promise<void>): Promise<void> {
  const { isPicturePath, isVideoPath } = await import('../sources/writer.ts');
  const isThere = (await stat(out).catch(() => undefined)) !== undefined;
  if (!isThere && (isPicturePath(out) || isVideoPath(out))) {
    throw new SightlineError('USAGE', `--out ${out} is the name of one file; for several inputs it must be a folder`);
  }
  await check();
  await mkdir(out, { recursive: true }).catch((cause: Error) => {
    throw new SightlineError('OUTPUT_FAILED', `cannot make the folder ${out}: ${cause.message}`, { cause });
  });
}

interface DetectParts {
  readonly video: VideoFile;
  readonly output: Output | undefined;
  readonly worker: FrameWorker;
  readonly config: Config;
  readonly flags: DetectFlags;
  readonly context: CliContext;
  /** The input is one of several: its name, and the summary of all of them. */
  readonly several?: { readonly file: string; readonly totals: DetectSummary };
}

/** A frame under way: handed to a worker, its turn not come yet. */
interface Pending {
  readonly frame: Omit<VideoFrame, 'data'>;
  readonly beganMs: number;
  /** A copy: the reader uses its own again for the next frame, while this one may wait for a worker. */
  readonly picture: RgbPicture;
  /** For each pipeline. */
  readonly outcomes: readonly Promise<FrameOutcome>[];
}

/**
 * Frames are handed to all workers at once and come out in their order: a queue of as many as the workers hold; when it is full the
 * reader waits for the oldest.
 */
class DetectRun {
  readonly #parts: DetectParts;
  readonly #summary = new DetectSummary(systemClock);
  readonly #progress: Progress | undefined;
  readonly #pending: Pending[] = [];
  readonly #pendingMax: number;
  /** Copies of pictures that are not in use. Never more than `#pendingMax` exist. */
  readonly #spare: Uint8Array[] = [];
  /** Sizes of the pictures, in the order in which they came. */
  readonly #sizes = new Set<string>();
  #lastError: SightlineError | undefined;
  #taken = 0;
  #done = 0;
  #failed = 0;
  #failedInARow = 0;

  constructor(parts: DetectParts) {
    this.#parts = parts;
    this.#pendingMax = parts.worker.framesMax;
    const { flags, context, video } = parts;
    // With --json on the same terminal the lines are progress enough.
    if (context.isTerminal && !(flags.json === true && process.stdout.isTTY)) {
      this.#progress = new Progress({
        clock: systemClock,
        write: (text) => void process.stderr.write(text),
        columns: process.stderr.columns ?? 80,
        total: expectedFrames(video.info.frames, flags),
      });
    }
  }

  async run(): Promise<void> {
    let broken: unknown;
    try {
      using input = await this.#parts.worker.open();
      await this.#readAll(input);
    } catch (thrown) {
      // Frames read before Ctrl+C, or before the file broke off, count; a fault of the output or the engine ends all.
      if (!this.#endsWell(thrown)) throw thrown;
      broken = thrown;
    } finally {
      this.#progress?.clear();
    }
    await this.#parts.output?.finish();
    this.#tell();
    if (broken !== undefined) throw broken;
    // A run without a processed frame must not end as if all were well.
    if (this.#lastError && this.#failed === this.#done) throw this.#lastError;
  }

  async #readAll(input: WorkedInput): Promise<void> {
    const { every, limit = Infinity } = this.#parts.flags;
    try {
      for await (const frame of this.#parts.video) {
        if (frame.index % every !== 0) continue;
        if (this.#pending.length >= this.#pendingMax) await this.#emitOldest(input);
        this.#hand(frame, input);
        if (this.#taken >= limit) break;
      }
    } catch (thrown) {
      if (this.#endsWell(thrown)) await this.#emitAll(input);
      throw thrown;
    }
    await this.#emitAll(input);
  }

  #endsWell(thrown: unknown): boolean {
    if (this.#taken === 0) return false;
    return this.#parts.context.signal.aborted || toSightlineError(thrown).code === 'SOURCE_UNREADABLE';
  }

  #hand(frame: VideoFrame, input: WorkedInput): void {
    const { width, height, index, ptsS, decodeMs } = frame;
    const beganMs = systemClock.now() - decodeMs;
    const picture = { data: this.#copy(frame.data), width, height };
    const outcomes = input.push(index + 1, ptsS * 1000, picture);
    this.#pending.push({ frame: { width, height, index, ptsS, decodeMs }, beganMs, picture, outcomes });
    this.#taken += 1;
    if (this.#sizes.size < SIZES_TOLD_MAX) this.#sizes.add(`${width}×${height}`);
  }

  #copy(data: Uint8Array): Uint8Array {
    // After a change of size the old ones are of no use.
    let copy = this.#spare.pop();
    while (copy && copy.length !== data.length) copy = this.#spare.pop();
    copy ??= new Uint8Array(data.length);
    copy.set(data);
    return copy;
  }

  async #emitAll(input: WorkedInput): Promise<void> {
    while (this.#pending.length > 0) await this.#emitOldest(input);
  }

  async #emitOldest({ pipelines }: WorkedInput): Promise<void> {
    const pending = this.#pending.shift()!;
    const { output, context, flags, several } = this.#parts;
    const { frame, picture } = pending;
    const results: PipelineResult[] = [];
    for (const [i, pipeline] of pipelines.entries()) {
      const outcome = await pending.outcomes[i]!;
      const message = messageOf(pending, outcome, pipeline, pipelines.length > 1);
      if (message.type === 'result') {
        this.#summary.add(message, results.length === 0);
        several?.totals.add(message, results.length === 0);
        if (outcome.kind === 'result') results.push(outcome.result);
      } else {
        this.#lastError = new SightlineError(message.code, message.message);
      }
      if (flags.json === true) context.out(JSON.stringify(several ? { ...message, file: several.file } : message));
    }
    this.#noteFailures(results.length < pipelines.length);
    if (output) await output.write(picture, results, frame.ptsS);
    this.#spare.push(picture.data);
    this.#done += 1;
    this.#progress?.update(this.#done);
  }

  /** Throws the error of the last frame when the next ones will fail as well. */
  #noteFailures(hasFailed: boolean): void {
    this.#failedInARow = hasFailed ? this.#failedInARow + 1 : 0;
    if (!hasFailed) return;
    this.#failed += 1;
    if (this.#failedInARow >= FAILURES_IN_A_ROW_MAX || this.#failed === this.#parts.flags.limit) throw this.#lastError!;
  }

  /** The summary, with notes for a person. */
  #tell(): void {
    const { context, flags, worker, output, video, config, several } = this.#parts;
    const of = several ? `${several.file}: ` : '';
    if (context.signal.aborted) context.err(`${of}stopped after ${this.#done} frames`);
    if (this.#failed > 0) context.err(`${of}frames that could not be processed: ${this.#failed}`);
    if (video.damaged > 0) context.err(`${of}damaged packets of the input, left out: ${video.damaged}`);
    const fitted = output?.fitted() ?? 0;
    if (fitted > 0)
      context.err(
        `${of}the size changes within the input; frames fitted into the first one's in the output: ${fitted}`,
      );
    if (flags.json === true) return;
    const input = `${[...this.#sizes].join(', then ')} ${video.info.codec}`;
    const lines = several
      ? [`${several.file}  ${input}  ${this.#summary.line()}`]
      : [
          row('input', input),
          ...modelRows(worker, config),
          ...this.#summary.lines(),
          ...(output ? [row('written', output.path)] : []),
        ];
    for (const line of lines) context.text(line);
  }
}

function modelRows({ models }: FrameWorker, { detection }: Config): string[] {
  return models.map(({ manifest, provider }) => {
    const { id, task, defaults } = manifest;
    const confidence = detection.confidence_threshold ?? defaults.confidence;
    return row('model', `${id} on ${provider}${task === 'detect' ? `, confidence ${confidence}` : ''}`);
  });
}

/** Summary of several inputs together, after a line for each. */
function totalLines(
  totals: DetectSummary,
  run: {
    readonly inputs: number;
    readonly failed: number;
    readonly worker: FrameWorker;
    readonly config: Config;
    readonly out: string | undefined;
  },
): string[] {
  return [
    '',
    row('inputs', `${run.inputs}${run.failed > 0 ? `, ${run.failed} not processed to the end` : ''}`),
    ...modelRows(run.worker, run.config),
    ...totals.lines(),
    ...(run.out === undefined ? [] : [row('written', run.out)]),
  ];
}

function messageOf(
  { frame, beganMs }: Pending,
  outcome: FrameOutcome,
  pipeline: PipelineName,
  areSeveral: boolean,
): ResultMessage<PipelineName> | ErrorMessage {
  const { decodeMs, index } = frame;
  const seq = index + 1;
  if (outcome.kind !== 'result') {
    const { code, message } = errorOf(outcome);
    return { type: 'error', code, message, seq, ...(areSeveral && { pipeline }) };
  }
  const message = outcomeMessage(
    {
      position: index,
      seq,
      captureTimeMs: beganMs,
      publishedTimeMs: beganMs,
      priority: Priority.normal,
      deadlineMs: Infinity,
      data: {
        ...outcome,
        receivedTimeMs: beganMs,
        // The file is decoded before the queue here, not after it as a camera's JPEG is.
        startedTimeMs: outcome.startedTimeMs - decodeMs,
        stagesMs: { ...outcome.stagesMs, decode: decodeMs + outcome.stagesMs.decode },
      },
    },
    CLIENT_ID,
    systemClock.now(),
  );
  return { ...(message as ResultMessage<PipelineName>), capture_time: Math.round(frame.ptsS * 1e6) / 1e3 };
}

function errorOf(outcome: Exclude<FrameOutcome, { kind: 'result' }>): SightlineError {
  if (outcome.kind === 'error') return new SightlineError(outcome.code, outcome.message);
  return new SightlineError('INFERENCE_FAILED', `the frame was left out: ${outcome.cause}`);
}

interface Output extends AsyncDisposable {
  readonly path: string;
  /** Frames of another size than the output's, which were fitted into it. */
  fitted(): number;
  write(picture: RgbPicture, results: readonly PipelineResult[], ptsS: number): Promise<void>;
  finish(): Promise<void>;
}

async function openOutput(path: string | undefined, video: VideoFile, every: number): Promise<Output | undefined> {
  if (path === undefined) return undefined;
  const { createVideo, isPicturePath, writePicture } = await import('../sources/writer.ts');
  const { drawResult } = await import('../media/overlay.ts');
  const { width, height, rateFps, still } = video.info;
  if (!isPicturePath(path)) {
    const writer: VideoWriter = await createVideo(path, { width, height, rateFps: rateFps / every });
    return {
      path,
      fitted: () => writer.fitted,
      write: async (picture, results, ptsS) => {
        for (const result of results) drawResult(picture, result);
        await writer.write(picture.data, ptsS, picture);
      },
      finish: () => writer.finish(),
      [Symbol.asyncDispose]: () => writer.close(),
    };
  }
  if (!still) throw new SightlineError('USAGE', `--out ${path}: the input is a video, whose output is an .mp4`);
  return {
    path,
    fitted: () => 0,
    write: async (picture, results) => {
      for (const result of results) drawResult(picture, result);
      await writePicture(path, picture);
    },
    finish: async () => undefined,
    [Symbol.asyncDispose]: async () => undefined,
  };
}

/** Errors: USAGE. */
async function checkOut(out: string, input: string): Promise<void> {
  const { isPicturePath, isVideoPath } = await import('../sources/writer.ts');
  const isFolder = (await stat(out).catch(() => undefined))?.isDirectory() === true;
  if (!isFolder && !isPicturePath(out) && !isVideoPath(out)) {
    const ending = extname(out);
    const what = ending === '' ? 'has no ending' : `ends in ${ending}`;
    throw new SightlineError('USAGE', `--out ${out} ${what}; it must end in .mp4, or in .jpg or .png for a picture`);
  }
  if ((await realPathOf(out)) === (await realPathOf(input))) {
    throw new SightlineError('USAGE', `--out ${out} is the input itself, which would be overwritten`);
  }
}

async function realPathOf(path: string): Promise<string> {
  return await realpath(path).catch(() => path);
}

/** How many frames a run will process, as far as that is known. */
export function expectedFrames(
  frames: number | undefined,
  { every, limit }: { readonly every: number; readonly limit?: number },
): number | undefined {
  if (frames === undefined) return limit;
  return Math.min(limit ?? Infinity, Math.ceil(frames / every));
}

/** The pipelines to run. Errors: USAGE. */
function pipelineNames({ pipeline = 'objects', ...flags }: DetectFlags): string[] {
  const names = parsePipelineList(pipeline, (fault) => new SightlineError('USAGE', `--pipeline ${fault}`));
  const ofObjects = (['model', 'size', 'confidence', 'iou'] as const).find((flag) => flags[flag] !== undefined);
  if (ofObjects !== undefined && !names.includes('objects')) {
    throw new SightlineError('USAGE', `--${ofObjects} is for objects, and --pipeline ${pipeline} does not find them`);
  }
  return names;
}

function fraction(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !(value >= 0 && value <= 1))
    throw new InvalidArgumentError('It must be a number from 0 to 1.');
  return value;
}

function wholeFromOne(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError('It must be a whole number from 1.');
  return Number(text);
}
