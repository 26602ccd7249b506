import fc from 'fast-check';
import { expect, test } from 'vitest';
import { fitInside } from './fit.ts';

test.each([
  [
    { width: 1920, height: 1080 },
    { width: 640, height: 480 },
    { width: 640, height: 360 },
  ],
  [
    { width: 1080, height: 1920 },
    { width: 640, height: 480 },
    { width: 270, height: 480 },
  ],
  [
    { width: 320, height: 240 },
    { width: 640, height: 480 },
    { width: 320, height: 240 },
  ],
  [
    { width: 4000, height: 3 },
    { width: 1280, height: 1280 },
    { width: 1280, height: 1 },
  ],
])('%o inside %o is %o', (source, limit, size) => expect(fitInside(source, limit)).toEqual(size));

test('property: it fits, and touches the limit unless it is smaller', () => {
  const side = fc.integer({ min: 1, max: 5000 });
  const size = fc.record({ width: side, height: side });
  fc.assert(
    fc.property(size, size, (source, limit) => {
      const fitted = fitInside(source, limit);
      expect(fitted.width >= 1 && fitted.height >= 1).toBe(true);
      expect(fitted.width <= limit.width && fitted.height <= limit.height).toBe(true);
      const touches = fitted.width === limit.width || fitted.height === limit.height;
      const isWhole = fitted.width === source.width && fitted.height === source.height;
      expect(touches || isWhole).toBe(true);
    }),
  );
});
