/**
 * A head's candidates before suppression, in columns so that no object is made per box. Filled anew for every frame; a head
 * puts in at most one candidate for each of its anchors, so `capacity` is the number of anchors.
 */
export class Candidates {
  readonly capacity: number;
  count = 0;
  /** 0..1. */
  readonly scores: Float32Array;
  readonly classIds: Int32Array;
  /** Left, top, right, bottom: fractions of the model's input, not clipped. */
  readonly corners: Float32Array;
  /** Rows of the output tensor that they come from, for a head whose rows hold more than boxes. */
  readonly rows: Int32Array;
  /** Room for `suppress` to sort in: owned by it. */
  readonly order: Uint32Array;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.scores = new Float32Array(capacity);
    this.classIds = new Int32Array(capacity);
    this.corners = new Float32Array(capacity * 4);
    this.rows = new Int32Array(capacity);
    this.order = new Uint32Array(capacity);
  }

  clear(): void {
    this.count = 0;
  }

  /** Adds a box in centre form. One that is not finite or has no area is left out: it could not be drawn. */
  add(score: number, classId: number, x: number, y: number, width: number, height: number, row = -1): void {
    if (!(width > 0 && height > 0) || !Number.isFinite(x + y + width + height)) return;
    const at = this.count++;
    this.scores[at] = score;
    this.classIds[at] = classId;
    this.rows[at] = row;
    const corners = this.corners;
    corners[at * 4] = x - width / 2;
    corners[at * 4 + 1] = y - height / 2;
    corners[at * 4 + 2] = x + width / 2;
    corners[at * 4 + 3] = y + height / 2;
  }
}
