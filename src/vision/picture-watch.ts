import { SightlineError } from '../base/errors.ts';
import {
  agreement,
  BLOCK_HEIGHT,
  BLOCK_WIDTH,
  BLOCKS,
  blockStart,
  findShift,
  newStructure,
  sharpBlocks,
  sharpBlocksAlone,
  structuredBlocks,
  structureOf,
  WATCH_PIXELS,
  WATCH_SIZE,
} from './picture-structure.ts';
import type { Shift, Structure } from './picture-structure.ts';

export { WATCH_SIZE } from './picture-structure.ts';

/** What is wrong with a picture, as far as one can see: `unknown` until there were some. */
export const PICTURE_CONDITIONS = ['unknown', 'ok', 'frozen', 'black', 'covered', 'moved'] as const;
export type PictureCondition = (typeof PICTURE_CONDITIONS)[number];

/** Pictures come at least every 4 s. A longer gap counts as this much: what was not seen proves nothing. */
const STEP_MAX_MS = 5_000;

/** What pictures that tell nothing leave open, at most. */
const OPEN_MAX_MS = 10_000;

/** A condition ends when its cause has been gone for so long: after two pictures that come every 2 or 4 s, and not after one that happened to be good. */
const GONE_MS = 2_000;

/** Black: a lens cap, a dead sensor. 32 of 255 is a little above the black of video (16) and its noise; as in FFmpeg's blackdetect, nearly all pixels count. */
const BLACK_LUMA = 32;
/** The rest may be a caption: the clock of a camera takes about 1 % of the picture. */
const BLACK_SHARE = 0.97;
/** A night still shows a little of what is there: its blocks differ by more than this (standard deviation, grey levels), which noise hardly changes. */
const BLACK_SPREAD_MAX = 1.25;
/** So that 5 s of black are seen in pictures every 2 s. */
const BLACK_MS = 2_000;

/**
 * Frozen: the same decoded picture again. Compared with the first of the run, not the one before, so that slow change adds up. Coding a still picture again gives
 * ±1 in few pixels; a caption's clock changes a few pixels by more; the noise of a sensor is in many.
 */
const STILL_NEAR_SHARE = 0.06;
const STILL_FAR_SHARE = 0.004;
const FROZEN_MS = 7_000;
/** A film of two seconds that begins anew and again shows now and then the very same picture. Three in a row do, unless they came every 4 s: there is no time for a fourth. */
const FROZEN_PICTURES = 4;
const FROZEN_FEW_MS = 7_900;

/** Fewer structured blocks than this, of 48, are no reference: such a scene can be frozen or black, but not covered or moved. */
const REFERENCE_BLOCKS_MIN = 5;
/** The picture shows this part of the reference's blocks, by chance or behind a caption, when it shows nothing of it. */
const LOST_MAX = 0.15;
/** It is the same view from this part on; people and cars hide the rest. */
const SAME_MIN = 0.5;
/** From here on no shift has to be looked for: of pictures that are shifted, at most 0.57 is where it was. */
const PLAINLY_SAME = 0.65;
/** Sharp blocks, as a part of the reference's: a hand, tape, spray or a wall of fog have next to none; another view, or a truck, has its own. */
const COVERED_SHARP_MAX = 0.3;
/** The same where the view is still recognised, but blurred: a blur over a thirtieth of the width leaves 0 to 0.1, half of that 0.2 to 0.4. */
const BLURRED_SHARP_MAX = 0.13;
/** Nothing structured at all: covered, also without a reference (a camera that starts under its cover). */
const BLANK_BLOCKS_MAX = 1;
/** At 4 s: found after at most 4 + 6.5 + 4 s. */
const COVERED_MS = 6_500;

/** Moved: so many pixels, a twentieth of the width. Less is the wind. */
const SHIFT_MIN = 3;
/**
 * The shift fits, and fits better than none: by correlation, which a large thing that sways can do alone, and by the number of blocks that it explains.
 */
const SHIFT_SCORE_MIN = 0.35;
const SHIFT_MARGIN_MIN = 0.22;
const SHIFT_BLOCKS_MARGIN_MIN = 0.25;
const SHIFTED_BLOCKS_MIN = 3;
/** By so much correlation decides alone: a shift puts blocks out of the picture, and may leave too few of them. */
const SHIFT_MARGIN_ALONE_MIN = 0.35;
/** The best of 200 shifts by chance is 3 to 4 standard deviations, and a standard deviation is about 1/√(edges/2). */
const SHIFT_CHANCE = 3.2;
/** So plain that it cannot be a hand on the lens. */
const SHIFT_PLAIN_MIN = 0.5;
const SHIFT_PLAIN_CHANCE = 4.3;
/** The same shift, within this, in one picture after the other. */
const SHIFT_JITTER = 2;
/** Shorter than for a cover, as a shift is evidence of its own; this leaves time for a picture or two in which something hides it. */
const MOVED_MS = 4_000;
/** Nothing in common with the reference, though sharp: turned away, or something large in front of it that may drive on. */
const TURNED_MS = 30_000;

/** A scene's first reference needs a stable view for so long; until then nothing is covered or moved. */
const FIRST_VIEW_MS = 10_000;
/** Another view becomes normal after so long in all: time for a person to be told, and not for ever. */
const NEW_VIEW_MS = 60_000;
/**
 * A camera that moves on and on, without a stable view, is one that pans: after so long it is `ok`, until a view has been stable for NEW_VIEW_MS without a break.
 * Time at home counts back by half, so that passing by there does not make it begin anew.
 */
const PANNING_MS = 300_000;
/** A view that was normal is not a movement when it comes back, for so long: a camera that goes to and fro. */
const VIEW_KEPT_MS = 3_600_000;
const VIEWS_MAX = 5;
/**
 * The reference is the median of some pictures a while apart, in which nothing is left of what passes: of seven, cars that were there half of the time left something. It
 * follows what stays for half of them, about 45 s: a parked car, the sun's shadows. The first ones are taken sooner.
 */
const VIEW_PICTURES = 15;
const LEARN_EVERY_MS = 6_000;
const LEARN_FIRST_MS = 1_900;

interface View {
  /** Pictures of it, a while apart, one after the other; the newest is written over the oldest. */
  readonly pictures: Uint8Array;
  count: number;
  /** Contrast of their median, and how many sharp blocks that has: in it and itself, and judged alone. */
  readonly normal: Int8Array;
  sharp: number;
  sharpAlone: number;
  /** How long it was seen, in all. */
  dwellMs: number;
  /** When it was seen last, and last learned. */
  seenMs: number;
  learnedMs: number;
}

interface Found {
  /** Shifted, not shifted, or not to be seen. */
  readonly isShifted: boolean | undefined;
  readonly isPlain: boolean;
}

/** Whether something holds: on when there was evidence for so long, off when there was evidence against it for GONE_MS. */
class Lasting {
  isOn = false;
  readonly #onMs: number;
  #evidentMs = 0;
  #goneMs = 0;
  /** What the last picture that told anything told, and the time since. */
  #wasEvident = false;
  #openMs = 0;

  constructor(onMs: number) {
    this.#onMs = onMs;
  }

  /** `isEvident`: undefined where the picture tells neither. */
  see(isEvident: boolean | undefined, stepMs: number): void {
    this.#openMs = Math.min(this.#openMs + stepMs, OPEN_MAX_MS);
    if (isEvident === undefined) return;
    // The first picture only shows that it has begun since the one before.
    const lastedMs = isEvident === this.#wasEvident ? this.#openMs : 0;
    this.#wasEvident = isEvident;
    this.#openMs = 0;
    if (isEvident) {
      this.#evidentMs += lastedMs;
      this.#goneMs = 0;
      if (this.#evidentMs >= this.#onMs) this.isOn = true;
    } else {
      this.#evidentMs = 0;
      this.#goneMs += lastedMs;
      if (this.#goneMs >= GONE_MS) this.isOn = false;
    }
  }

  /** It begins anew. */
  end(): void {
    this.isOn = false;
    this.#evidentMs = 0;
    this.#wasEvident = false;
  }
}

// Shared by all watches: a call is over before the next begins.
const scratch = newStructure();
const median = new Uint8Array(WATCH_PIXELS);
const sorted = new Uint8Array(VIEW_PICTURES);

/**
 * Tells from small pictures of one camera, in the order of their capture, what is wrong with it. Times are of any clock that does not go back. Of several conditions
 * the first is told: black, covered, frozen, moved.
 *
 * - `frozen`: decoded pictures do not differ. A scene without any noise (a test picture, a clip whose last picture stays) is frozen, and so it is called. A camera
 *   that averages its noise away, of a scene where nothing moves, looks the same; a still picture that a starved encoder codes ever differently does not.
 * - `black`: nearly all is dark, and nothing stands out of it. A night in which nothing at all can be seen is black.
 * - `covered`: hardly any sharp structure is left. In fog that hides all, or with a train that fills the picture for long, that is so, too. What comes slowly
 *   (dust, a web) becomes normal, as dusk does.
 * - `moved`: the picture fits the reference at another place (within MOVED_MS), or has nothing in common with it (within TURNED_MS). A view that stays becomes normal after
 *   NEW_VIEW_MS: `moved` is told for about a minute of each new view, in all, and not again while the camera comes back to it within an hour. A scene of horizontal
 *   lines alone, shifted along them, and a mount that sags by less than a twentieth of the width in a minute, look unmoved.
 *
 * It needs to have seen a view for FIRST_VIEW_MS, and better for a minute, before it can tell `covered` or `moved`; a blank picture is `covered` at once.
 */
export class PictureWatch {
  #timeMs = 0;
  #pictures = 0;
  #watchedMs = 0;
  #now: Structure = newStructure();
  #before: Structure = newStructure();
  /** First picture of those that are the same, and for how long they were. */
  readonly #still = new Uint8Array(WATCH_PIXELS);
  #stillMs = 0;
  #stillPictures = 1;
  #isFrozen = false;
  #movingMs = 0;
  readonly #black = new Lasting(BLACK_MS);
  readonly #covered = new Lasting(COVERED_MS);
  readonly #shifted = new Lasting(MOVED_MS);
  readonly #turned = new Lasting(TURNED_MS);
  /** The last two shifts that differ, newest first. */
  #shifts: readonly Shift[] = [];
  #movedMs = 0;
  #unclearMs = 0;
  #views: View[] = [];
  /** What is normal. */
  #home: View | undefined;
  /** The view of the picture before, whose dwell time goes on. */
  #there: View | undefined;
  #isPanning = false;

  /** Errors: INTERNAL where the picture does not have the size WATCH_SIZE. */
  see(luma: Uint8Array, timeMs: number): PictureCondition {
    if (luma.length !== WATCH_PIXELS) {
      throw new SightlineError('INTERNAL', `a picture to watch has ${WATCH_PIXELS} pixels, not ${luma.length}`);
    }
    const sinceMs = Number.isFinite(timeMs) ? Math.max(0, timeMs - this.#timeMs) : 0;
    this.#timeMs += sinceMs;
    const stepMs = this.#pictures === 0 ? 0 : Math.min(sinceMs, STEP_MAX_MS);
    this.#watchedMs += stepMs;
    [this.#now, this.#before] = [this.#before, this.#now];
    structureOf(luma, this.#now);
    this.#seeStill(luma, stepMs);
    // What lasts from picture to picture takes two of them.
    if (this.#pictures > 0) this.#seeView(luma, stepMs);
    this.#pictures += 1;
    return this.condition;
  }

  get condition(): PictureCondition {
    if (this.#black.isOn) return 'black';
    if (this.#covered.isOn) return 'covered';
    if (this.#isFrozen) return 'frozen';
    if (this.#isMoved) return 'moved';
    return this.#watchedMs < GONE_MS ? 'unknown' : 'ok';
  }

  get #isMoved(): boolean {
    return this.#shifted.isOn || this.#turned.isOn;
  }

  #seeStill(luma: Uint8Array, stepMs: number): void {
    const isStill = this.#pictures > 0 && isSamePicture(luma, this.#still);
    if (isStill) {
      this.#stillMs += stepMs;
      this.#stillPictures += 1;
      this.#movingMs = 0;
      if (this.#stillMs >= (this.#stillPictures < FROZEN_PICTURES ? FROZEN_FEW_MS : FROZEN_MS)) this.#isFrozen = true;
      return;
    }
    this.#still.set(luma);
    // A picture that changes now and then is frozen in between, too.
    this.#movingMs += this.#stillMs > 0 ? 0 : stepMs;
    this.#stillMs = 0;
    this.#stillPictures = 1;
    if (this.#movingMs >= GONE_MS) this.#isFrozen = false;
  }

  #seeView(luma: Uint8Array, stepMs: number): void {
    const home = this.#home;
    const same = home && agreement(this.#now.normal, home.normal, REFERENCE_BLOCKS_MIN);
    const isBlack = this.#looksBlack(luma, same);
    const found = isBlack || !home ? UNSEEN : this.#lookForShift(home, same);
    const isCovered = !isBlack && !found.isPlain && this.#looksCovered(same);
    this.#black.see(isBlack, stepMs);
    this.#covered.see(isCovered, stepMs);
    if (isBlack || isCovered) {
      this.#there = undefined;
      return;
    }
    if (!home) {
      // One that pans comes back to many a view, and stays at none.
      if (this.#isPanning && this.#there) this.#views = [this.#there];
      this.#stayAt(this.#viewHere(undefined) ?? this.#newView(), luma, stepMs);
      return;
    }
    const isTurned = same !== undefined && same <= LOST_MAX;
    const elsewhere = isTurned || found.isShifted ? (this.#viewHere(home) ?? this.#newView()) : home;
    // What is neither here nor there is no reference for anything, unless it stays so: then the scene has changed.
    this.#unclearMs = elsewhere === home && found.isShifted === undefined ? this.#unclearMs + stepMs : 0;
    if (this.#unclearMs === 0 || this.#unclearMs >= TURNED_MS) this.#stayAt(elsewhere, luma, stepMs);
    const isAway = this.#home === home && elsewhere !== home;
    if (found.isShifted === false) this.#shifts = [];
    const isBack = this.#home !== home || (!isAway && found.isShifted === false);
    this.#shifted.see(isBack ? false : found.isShifted, stepMs);
    this.#turned.see(isBack ? false : isAway || undefined, stepMs);
    this.#movedMs = Math.max(0, this.#movedMs + (this.#isMoved ? stepMs : -stepMs / 2));
    if (this.#movedMs >= PANNING_MS) this.#forget();
  }

  #looksBlack(luma: Uint8Array, same: number | undefined): boolean {
    if (darkSpread(luma) > BLACK_SPREAD_MAX) return false;
    // Lamps in the night, where there were lamps.
    return same === undefined || same < SAME_MIN;
  }

  #looksCovered(same: number | undefined): boolean {
    const now = this.#now;
    const home = this.#home;
    if (!home || same === undefined) {
      return sharpBlocksAlone(now) <= BLANK_BLOCKS_MAX && sharpBlocks(now, this.#before) <= BLANK_BLOCKS_MAX;
    }
    if (same <= LOST_MAX) {
      if (sharpBlocksAlone(now) > COVERED_SHARP_MAX * home.sharpAlone) return false;
      return sharpBlocks(now, this.#before) <= COVERED_SHARP_MAX * home.sharp;
    }
    const most = BLURRED_SHARP_MAX * home.sharp;
    if (home.sharp < REFERENCE_BLOCKS_MIN || sharpBlocks(now, this.#before) > most) return false;
    // What sways in the wind is sharp, a pixel further.
    for (let dy = -1; dy <= 1; dy += 1) {
      for (let dx = -1; dx <= 1; dx += 1) if (sharpBlocks(now, this.#before, dx, dy) > most) return false;
    }
    return sharpBlocksAlone(now) <= BLURRED_SHARP_MAX * home.sharpAlone;
  }

  /** Whether the picture is shifted against home, by more than the wind and chance would do. */
  #lookForShift(home: View, same: number | undefined): Found {
    if (same === undefined || same >= PLAINLY_SAME) return UNSHIFTED;
    const found = findShift(this.#now.normal, home.normal);
    if (!found) return UNSHIFTED;
    const chance = 1 / Math.sqrt(found.edges / 2);
    const isClear = found.score >= Math.max(SHIFT_SCORE_MIN, SHIFT_CHANCE * chance);
    const { dx, dy } = found;
    if (Math.max(Math.abs(dx), Math.abs(dy)) < SHIFT_MIN) return isClear || same >= SAME_MIN ? UNSHIFTED : UNSEEN;
    const margin = found.score - found.scoreUnshifted;
    const shifted = agreement(this.#now.normal, home.normal, SHIFTED_BLOCKS_MIN, dx, dy);
    const isBetter =
      margin >= SHIFT_MARGIN_ALONE_MIN ||
      (margin >= SHIFT_MARGIN_MIN && shifted !== undefined && shifted - same >= SHIFT_BLOCKS_MARGIN_MIN);
    if (!isClear || !isBetter) return same >= SAME_MIN ? UNSHIFTED : UNSEEN;
    const isPlain = found.score >= Math.max(SHIFT_PLAIN_MIN, SHIFT_PLAIN_CHANCE * chance);
    // Chance gives another shift each time. Two are remembered: a person who steps aside may be shifted by more than what is behind.
    const isFirst = this.#shifts.length === 0;
    const others = this.#shifts.filter((shift) => !isNear(found, shift));
    const isSteady = others.length < this.#shifts.length;
    this.#shifts = [found, ...others.slice(0, 1)];
    return { isShifted: isFirst || isSteady ? true : undefined, isPlain };
  }

  /** The view, other than home, that the picture shows most of. */
  #viewHere(home: View | undefined): View | undefined {
    let best: View | undefined;
    let most = SAME_MIN;
    for (const view of this.#views) {
      if (view === home) continue;
      const same = agreement(this.#now.normal, view.normal, REFERENCE_BLOCKS_MIN) ?? 0;
      if (same < most) continue;
      most = same;
      best = view;
    }
    return best;
  }

  /** Undefined where there is too little to know it again by. */
  #newView(): View | undefined {
    if (structuredBlocks(this.#now.normal) < REFERENCE_BLOCKS_MIN) return undefined;
    this.#views = this.#views.filter((view) => view === this.#home || this.#timeMs - view.seenMs < VIEW_KEPT_MS);
    if (this.#views.length >= VIEWS_MAX) {
      // Those go first that were never normal, then those that were seen longest ago.
      const others = this.#views.filter((view) => view !== this.#home);
      const isNew = (view: View) => view.dwellMs < NEW_VIEW_MS;
      others.sort((a, b) => Number(isNew(b)) - Number(isNew(a)) || a.seenMs - b.seenMs);
      this.#views.splice(this.#views.indexOf(others[0]!), 1);
    }
    const view: View = {
      pictures: new Uint8Array(VIEW_PICTURES * WATCH_PIXELS),
      count: 0,
      normal: new Int8Array(WATCH_PIXELS),
      sharp: 0,
      sharpAlone: 0,
      dwellMs: 0,
      seenMs: this.#timeMs,
      learnedMs: this.#timeMs,
    };
    this.#views.push(view);
    return view;
  }

  #stayAt(view: View | undefined, luma: Uint8Array, stepMs: number): void {
    if (view) {
      if (view === this.#there) view.dwellMs += stepMs;
      view.seenMs = this.#timeMs;
      learn(view, luma, this.#timeMs);
      if (view.dwellMs >= (this.#home || this.#isPanning ? NEW_VIEW_MS : FIRST_VIEW_MS)) {
        this.#home = view;
        this.#isPanning = false;
        // It stays normal when the camera comes back to it, however short it was.
        view.dwellMs = Math.max(view.dwellMs, NEW_VIEW_MS);
      }
    }
    this.#there = view;
  }

  #forget(): void {
    this.#views = [];
    this.#home = undefined;
    this.#there = undefined;
    this.#movedMs = 0;
    this.#isPanning = true;
    this.#shifted.end();
    this.#turned.end();
  }
}

const UNSEEN: Found = { isShifted: undefined, isPlain: false };
const UNSHIFTED: Found = { isShifted: false, isPlain: false };

function isNear(one: Shift, other: Shift): boolean {
  return Math.abs(one.dx - other.dx) <= SHIFT_JITTER && Math.abs(one.dy - other.dy) <= SHIFT_JITTER;
}

/** Standard deviation of the means of blocks, over dark pixels; infinite where too few are dark. */
function darkSpread(luma: Uint8Array): number {
  let dark = 0;
  let blocks = 0;
  let sum = 0;
  let square = 0;
  for (let block = 0; block < BLOCKS; block += 1) {
    const start = blockStart(block);
    let darkHere = 0;
    let sumHere = 0;
    for (let row = 0; row < BLOCK_HEIGHT; row += 1) {
      for (let at = start + row * WATCH_SIZE.width; at < start + row * WATCH_SIZE.width + BLOCK_WIDTH; at += 1) {
        const value = luma[at]!;
        if (value > BLACK_LUMA) continue;
        darkHere += 1;
        sumHere += value;
      }
    }
    dark += darkHere;
    if (darkHere === 0) continue;
    const mean = sumHere / darkHere;
    blocks += 1;
    sum += mean;
    square += mean * mean;
  }
  if (dark < BLACK_SHARE * WATCH_PIXELS) return Infinity;
  return Math.sqrt(Math.max(0, square / blocks - (sum / blocks) ** 2));
}

function isSamePicture(one: Uint8Array, other: Uint8Array): boolean {
  let near = 0;
  let far = 0;
  for (let at = 0; at < WATCH_PIXELS; at += 1) {
    const difference = Math.abs(one[at]! - other[at]!);
    if (difference === 1) near += 1;
    else if (difference > 1) far += 1;
  }
  return near <= STILL_NEAR_SHARE * WATCH_PIXELS && far <= STILL_FAR_SHARE * WATCH_PIXELS;
}

/** Takes a picture into the median of a view (temporal median, as in Lo and Velastin 2001), if its time has come. */
function learn(view: View, luma: Uint8Array, timeMs: number): void {
  const everyMs = view.count < VIEW_PICTURES ? LEARN_FIRST_MS : LEARN_EVERY_MS;
  if (view.count > 0 && timeMs - view.learnedMs < everyMs) return;
  view.pictures.set(luma, (view.count % VIEW_PICTURES) * WATCH_PIXELS);
  view.count += 1;
  view.learnedMs = timeMs;
  medianOf(view.pictures, Math.min(view.count, VIEW_PICTURES));
  structureOf(median, scratch);
  view.normal.set(scratch.normal);
  view.sharp = sharpBlocks(scratch, scratch);
  view.sharpAlone = sharpBlocksAlone(scratch);
}

function medianOf(pictures: Uint8Array, count: number): void {
  const middle = count >> 1;
  for (let at = 0; at < WATCH_PIXELS; at += 1) {
    for (let picture = 0; picture < count; picture += 1) {
      const value = pictures[picture * WATCH_PIXELS + at]!;
      let place = picture;
      while (place > 0 && sorted[place - 1]! > value) {
        sorted[place] = sorted[place - 1]!;
        place -= 1;
      }
      sorted[place] = value;
    }
    median[at] = sorted[middle]!;
  }
}
