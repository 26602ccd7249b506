import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PAGE_FILM, scenesAt, viewOf, WALL_FILMS } from './demo-film.ts';

test('at every moment the shares of the scenes add up to a whole picture, and neighbours differ little', () => {
  fc.assert(
    fc.property(fc.double({ min: 0, max: 60, noNaN: true }), (timeS) => {
      const scenes = scenesAt(PAGE_FILM, timeS);
      expect(scenes.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1, 6);
      const later = scenesAt(PAGE_FILM, timeS + 0.05);
      for (const { scene, share } of scenes) {
        const then = later.find((other) => other.scene === scene)?.share ?? 0;
        expect(Math.abs(then - share)).toBeLessThan(0.06);
      }
    }),
  );
});

test('the camera never looks past the edge of a photograph', () => {
  const part = fc.double({ min: 0, max: 1, noNaN: true });
  fc.assert(
    fc.property(
      fc.record({ centreX: part, centreY: part, widest: part, closest: part, swayX: part, swayY: part }),
      part,
      fc.integer({ min: 32, max: 4000 }),
      fc.integer({ min: 32, max: 4000 }),
      (scene, progress, width, height) => {
        const view = viewOf(scene, progress, { width, height }, 16 / 9);
        expect(view.left).toBeGreaterThanOrEqual(0);
        expect(view.top).toBeGreaterThanOrEqual(0);
        expect(view.left + view.width).toBeLessThanOrEqual(width);
        expect(view.top + view.height).toBeLessThanOrEqual(height);
      },
    ),
  );
});

test.each(Object.entries(WALL_FILMS))(
  '%s moves all the time, by less than counts as moved, and begins anew where it ended',
  (_, film) => {
    const photograph = { width: 1920, height: 1200 };
    const { sceneS, rateFps } = film;
    const views = Array.from({ length: sceneS * rateFps + 1 }, (_, i) => {
      const [{ progress, share } = { progress: NaN, share: 0 }, ...others] = scenesAt(film, i / rateFps);
      expect([share, others]).toEqual([1, []]);
      return viewOf(film.scenes[0]!, progress, photograph, film.width / film.height);
    });
    expect(views.at(-1)).toEqual(views[0]);
    const middles = views.map(({ left, width }) => left + width / 2);
    const usual = (Math.max(...middles) + Math.min(...middles)) / 2;
    for (const [i, view] of views.slice(1).entries()) {
      // A part of a second changes nothing at all where it turns.
      if (i >= rateFps) expect(view).not.toEqual(views[i - rateFps]);
      expect(Math.abs(middles[i + 1]! - usual) / view.width).toBeLessThan(0.05);
    }
  },
);
