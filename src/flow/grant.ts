import type { GrantFields, PerformanceMode, Pin, QualityLevel } from '../protocol/video.ts';

/** What a client may send, decided from the settings and the session's pin. Pure. */

export interface GrantSettings {
  /** Frames per second: never more than this, and this when nothing else speaks. */
  readonly maxFps: number;
  readonly defaultFps: number;
  /** Frames per second of a source at full quality; modes leave frames out of it. */
  readonly sourceFps: number;
  /** Frames that may be unanswered at once, at least 2. */
  readonly window: number;
  /** The picture at scale 1, pixels. */
  readonly width: number;
  readonly height: number;
  /** JPEG quality, 1..100. */
  readonly quality: number;
}

interface Rung {
  readonly quality: number;
  /** Of width and height. */
  readonly scale: number;
  readonly fps: number;
}

/** The five quality levels of requirement Q1. */
export const LEVELS: Readonly<Record<QualityLevel, Rung>> = {
  ultra_low: { quality: 25, scale: 0.5, fps: 10 },
  low: { quality: 40, scale: 0.65, fps: 15 },
  medium: { quality: 60, scale: 0.8, fps: 20 },
  high: { quality: 75, scale: 0.9, fps: 25 },
  ultra_high: { quality: 90, scale: 1, fps: 30 },
};

/** The four performance modes of requirement Q2; `frameSkip` n leaves n frames out between two. */
export const MODES: Readonly<Record<PerformanceMode, { quality: number; scale: number; frameSkip: number }>> = {
  ultra_performance: { quality: 40, scale: 0.6, frameSkip: 3 },
  high_performance: { quality: 50, scale: 0.75, frameSkip: 2 },
  balanced: { quality: 65, scale: 0.85, frameSkip: 1 },
  high_quality: { quality: 80, scale: 1, frameSkip: 0 },
};

/** The allowance of a session. A pin chooses within the settings and never exceeds them. */
export function decideGrant(settings: GrantSettings, pin: Pin | null): GrantFields {
  const rung = rungOf(settings, pin);
  return {
    rate_fps: Math.min(rung.fps, settings.maxFps) / (pin?.skip_ratio ?? 1),
    window: Math.max(2, settings.window),
    width: Math.round(settings.width * rung.scale),
    height: Math.round(settings.height * rung.scale),
    quality: rung.quality,
    pinned: pin,
  };
}

function rungOf(settings: GrantSettings, pin: Pin | null): Rung {
  if (pin?.level) return LEVELS[pin.level];
  if (pin?.mode) {
    const { quality, scale, frameSkip } = MODES[pin.mode];
    return { quality, scale, fps: Math.min(settings.sourceFps, settings.maxFps) / (frameSkip + 1) };
  }
  return { quality: settings.quality, scale: 1, fps: settings.defaultFps };
}
