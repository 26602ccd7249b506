import { colourOf } from '../plots.ts';

export interface Pose {
  /** m east and north. */
  readonly x: number;
  readonly y: number;
  /** rad from east towards north. */
  readonly heading: number;
}

/** Metres between two points of the path, and the number of points: about 800 m. */
const PATH_STEP_M = 0.2;
const PATH_POINTS_MAX = 4_000;
/** From the middle to the nearer edge, m. */
const VIEW_RADIUS_M = 7;
const GRID_M = 2;
const SCALE_M = 5;
/** A jump that no vehicle makes: the simulation began anew, and with it the path. */
const JUMP_M = 5;

const COLOURS = ['--well', '--faint', '--accent', '--text', '--panel'] as const;
type Colours = Record<(typeof COLOURS)[number], string>;

/** The map: the vehicle in the middle, north up, its path, a grid and a scale. */
export class RoverMap {
  readonly #canvas: HTMLCanvasElement;
  readonly #context: CanvasRenderingContext2D;
  readonly #path: Pose[] = [];
  #colours: Colours;
  #pose: Pose | undefined;

  constructor(canvas: HTMLCanvasElement) {
    this.#canvas = canvas;
    this.#context = canvas.getContext('2d', { alpha: false })!;
    this.#colours = this.#readColours();
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  move(pose: Pose): void {
    this.#pose = pose;
    const last = this.#path.at(-1);
    const way = last ? Math.hypot(pose.x - last.x, pose.y - last.y) : Infinity;
    if (last && way > JUMP_M) this.#path.length = 0;
    if (way < PATH_STEP_M) return;
    this.#path.push(pose);
    if (this.#path.length > PATH_POINTS_MAX) this.#path.shift();
  }

  recolour(): void {
    this.#colours = this.#readColours();
    this.draw();
  }

  draw(): void {
    const dpr = globalThis.devicePixelRatio || 1;
    const width = this.#canvas.clientWidth;
    const height = this.#canvas.clientHeight;
    if (width === 0 || height === 0) return;
    const [pixelsX, pixelsY] = [Math.round(width * dpr), Math.round(height * dpr)];
    if (this.#canvas.width !== pixelsX) this.#canvas.width = pixelsX;
    if (this.#canvas.height !== pixelsY) this.#canvas.height = pixelsY;
    const context = this.#context;
    context.setTransform(dpr, 0, 0, dpr, 0, 0);
    context.fillStyle = this.#colours['--well'];
    context.fillRect(0, 0, width, height);
    const pose = this.#pose ?? { x: 0, y: 0, heading: Math.PI / 2 };
    const scale = Math.min(width, height) / 2 / VIEW_RADIUS_M;
    const toX = (x: number) => width / 2 + (x - pose.x) * scale;
    const toY = (y: number) => height / 2 - (y - pose.y) * scale;
    this.#drawGrid(width, height, pose, scale);
    if (this.#pose) {
      this.#drawPath(toX, toY, pose);
      this.#drawRover(width / 2, height / 2, pose.heading, scale);
    }
    this.#drawScale(width, height, scale);
    this.#canvas.dataset['x'] = pose.x.toFixed(3);
    this.#canvas.dataset['y'] = pose.y.toFixed(3);
    this.#canvas.dataset['heading'] = pose.heading.toFixed(3);
  }

  #drawGrid(width: number, height: number, pose: Pose, scale: number): void {
    const context = this.#context;
    context.strokeStyle = this.#colours['--faint'];
    context.globalAlpha = 0.22;
    context.lineWidth = 1;
    context.beginPath();
    const step = GRID_M * scale;
    const startX = modulo(width / 2 - pose.x * scale, step);
    const startY = modulo(height / 2 + pose.y * scale, step);
    for (let x = startX; x < width; x += step) {
      context.moveTo(x, 0);
      context.lineTo(x, height);
    }
    for (let y = startY; y < height; y += step) {
      context.moveTo(0, y);
      context.lineTo(width, y);
    }
    context.stroke();
    context.globalAlpha = 1;
  }

  #drawPath(toX: (x: number) => number, toY: (y: number) => number, pose: Pose): void {
    const context = this.#context;
    context.strokeStyle = this.#colours['--accent'];
    context.globalAlpha = 0.55;
    context.lineWidth = 3;
    context.lineJoin = 'round';
    context.lineCap = 'round';
    context.beginPath();
    for (const point of this.#path) context.lineTo(toX(point.x), toY(point.y));
    context.lineTo(toX(pose.x), toY(pose.y));
    context.stroke();
    context.globalAlpha = 1;
  }

  /** From above, in its real size: 1.1 m by 0.86 m. */
  #drawRover(x: number, y: number, heading: number, scale: number): void {
    const context = this.#context;
    context.save();
    context.translate(x, y);
    context.rotate(-heading);
    context.scale(scale, scale);
    context.fillStyle = this.#colours['--text'];
    for (const wheelX of [-0.4, 0, 0.4]) {
      for (const side of [-1, 1]) {
        context.beginPath();
        context.roundRect(wheelX - 0.15, side * 0.36 - 0.09, 0.3, 0.18, 0.05);
        context.fill();
      }
    }
    context.fillStyle = this.#colours['--accent'];
    context.beginPath();
    context.roundRect(-0.5, -0.29, 1, 0.58, 0.1);
    context.fill();
    // Where it looks.
    context.fillStyle = this.#colours['--panel'];
    context.beginPath();
    context.moveTo(0.38, 0);
    context.lineTo(0.05, 0.19);
    context.lineTo(0.05, -0.19);
    context.fill();
    context.restore();
  }

  #drawScale(width: number, height: number, scale: number): void {
    const context = this.#context;
    const length = SCALE_M * scale;
    const [right, bottom] = [width - 16, height - 16];
    context.strokeStyle = this.#colours['--faint'];
    context.fillStyle = this.#colours['--faint'];
    context.lineWidth = 2;
    context.beginPath();
    context.moveTo(right - length, bottom - 5);
    context.lineTo(right - length, bottom);
    context.lineTo(right, bottom);
    context.lineTo(right, bottom - 5);
    context.stroke();
    context.font = '12px system-ui, sans-serif';
    context.textAlign = 'center';
    context.fillText(`${SCALE_M} m`, right - length / 2, bottom - 7);
    // North.
    context.fillText('N', right - 6, 30);
    context.beginPath();
    context.moveTo(right - 6, 34);
    context.lineTo(right - 6, 54);
    context.moveTo(right - 10, 40);
    context.lineTo(right - 6, 34);
    context.lineTo(right - 2, 40);
    context.stroke();
  }

  #readColours(): Colours {
    const parent = this.#canvas.parentElement!;
    return Object.fromEntries(COLOURS.map((name) => [name, colourOf(parent, name)])) as Colours;
  }
}

function modulo(value: number, by: number): number {
  return ((value % by) + by) % by;
}
