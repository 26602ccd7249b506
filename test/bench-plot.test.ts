import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { LINES_MAX, LOG_MIN, toSvg, type Plot, type PlotLine } from '../bench/support/plot.ts';

const axes = { x: { name: 'time', unit: 's' }, y: { name: 'latency', unit: 'ms' } } as const;
const line = (points: readonly [number, number][], more: Partial<PlotLine> = {}): PlotLine => ({
  name: 'one',
  points: points.map(([x, y]) => ({ x, y })),
  ...more,
});
const plot = (lines: readonly PlotLine[], more: Partial<Plot> = {}): string =>
  toSvg({ title: 'A plot', ...axes, lines, ...more });

/** The paths of the lines, those of the legend left out. */
const pathsOf = (svg: string): string[] =>
  [...svg.matchAll(/^<path class="[^"]*" d="([^"]*)"\/>$/gm)].map(([, d]) => d!);
const textsOf = (svg: string): string[] => [...svg.matchAll(/<text[^>]*>([^<]*)<\/text>/g)].map(([, text]) => text!);

/** Are the tags of a document closed in their order? Enough for what is written here: no comments, no CDATA. */
function isWellFormed(svg: string): boolean {
  const open: string[] = [];
  for (const [, slash, name, attributes] of svg.matchAll(
    /<(\/?)([a-z]+)((?:\s+[\w-]+="[^"<&]*(?:&#\d+;[^"<&]*)*")*\s*\/?)>/gi,
  )) {
    if (slash) {
      if (open.pop() !== name) return false;
    } else if (!attributes!.endsWith('/')) open.push(name!);
  }
  return open.length === 0 && (svg.match(/</g) ?? []).length === (svg.match(/>/g) ?? []).length;
}

describe('a plot', () => {
  test('has title, axes with units, a legend, and a line from end to end', () => {
    const svg = plot([
      line([
        [0, 0],
        [10, 100],
      ]),
      line(
        [
          [0, 50],
          [10, 50],
        ],
        { name: 'two' },
      ),
    ]);
    expect(isWellFormed(svg)).toBe(true);
    expect(textsOf(svg)).toEqual(
      expect.arrayContaining(['A plot', 'time, s', 'latency, ms', 'one', 'two', '0', '100', '10']),
    );
    // From the lower left corner to the upper right one, and straight through the middle.
    expect(pathsOf(svg)).toEqual(['M64.0 384.0L780.0 64.0', 'M64.0 224.0L780.0 224.0']);
  });

  test('a step holds its value until the next point', () => {
    expect(
      pathsOf(
        plot([
          line(
            [
              [0, 0],
              [5, 100],
              [10, 100],
            ],
            { form: 'step' },
          ),
        ]),
      ),
    ).toEqual(['M64.0 384.0H422.0V64.0H780.0V64.0']);
  });

  test('a value that is none is a gap', () => {
    expect(
      pathsOf(
        plot([
          line([
            [0, 0],
            [2, Number.NaN],
            [4, 100],
            [10, 100],
          ]),
        ]),
      ),
    ).toEqual(['M64.0 384.0M350.4 64.0L780.0 64.0']);
  });

  test('on a logarithmic axis every decade takes the same room, and what is not positive is a gap', () => {
    const svg = plot(
      [
        line([
          [0, 10],
          [1, 0],
          [2, 100],
          [10, 1_000],
        ]),
      ],
      { y: { name: 'latency', unit: 'ms', scale: 'log' } },
    );
    expect(pathsOf(svg)).toEqual(['M64.0 384.0M207.2 224.0L780.0 64.0']);
    expect(textsOf(svg)).toEqual(expect.arrayContaining(['10', '20', '50', '100', '200', '500', '1,000']));
  });

  test('an axis reaches what is asked for', () => {
    const texts = textsOf(
      plot(
        [
          line([
            [3, 40],
            [4, 60],
          ]),
        ],
        { x: { ...axes.x, min: 0 }, y: { ...axes.y, min: 0, max: 200 } },
      ),
    );
    expect(texts).toEqual(expect.arrayContaining(['0', '4', '200']));
  });

  test('a limit is dashed and takes no colour from the lines', () => {
    const svg = plot([
      line(
        [
          [0, 5],
          [1, 5],
        ],
        { name: 'bar', form: 'limit' },
      ),
      line([
        [0, 1],
        [1, 2],
      ]),
    ]);
    expect(svg).toMatch(/^<path class="limit" /m);
    expect(svg).toMatch(/^<path class="line c0" /m);
  });

  test('it can be read on a light and on a dark ground, and names are only text', () => {
    const svg = plot(
      [
        line(
          [
            [0, 1],
            [1, 2],
          ],
          { name: `<b>"Q&A"</b>` },
        ),
      ],
      { title: `5 < 6 & 'more'` },
    );
    expect(svg).toContain('@media (prefers-color-scheme: dark)');
    expect(svg).toContain('class="ground"');
    expect(svg).not.toMatch(/<b>|& |Q&A/);
    expect(isWellFormed(svg)).toBe(true);
  });

  test('a long legend takes several rows, and the plot makes room', () => {
    const heightOf = (svg: string): number => Number(/viewBox="0 0 800 ([\d.]+)"/.exec(svg)![1]);
    const lines = Array.from({ length: LINES_MAX }, (_, i) =>
      line(
        [
          [0, i],
          [1, i],
        ],
        { name: `a line with a long name, ${i}` },
      ),
    );
    expect(heightOf(plot(lines))).toBeGreaterThan(heightOf(plot(lines.slice(0, 1))));
  });

  test('too many lines and nothing to draw are refused', () => {
    const lines = Array.from({ length: LINES_MAX + 1 }, () => line([[0, 1]]));
    expect(() => plot(lines)).toThrow(RangeError);
    expect(() => plot([line([])])).toThrow('nothing to plot over time');
    expect(() => plot([line([[1, Number.NaN]])])).toThrow('nothing to plot over latency');
  });

  test('property: every place lies within the picture, whatever the values and the scale', () => {
    const value = fc.double({ min: -1e9, max: 1e9, noNaN: true });
    const scale = fc.constantFrom('linear' as const, 'log' as const);
    fc.assert(
      fc.property(fc.array(fc.tuple(value, value), { minLength: 1, maxLength: 20 }), scale, (points, scale) => {
        fc.pre(scale === 'linear' || points.some(([, y]) => y >= LOG_MIN));
        const svg = plot([line(points.toSorted(([a], [b]) => a - b))], { y: { ...axes.y, scale } });
        expect(isWellFormed(svg)).toBe(true);
        expect(svg).not.toMatch(/NaN|Infinity|undefined/);
        for (const [, left, top] of pathsOf(svg)[0]!.matchAll(/[ML](-?[\d.]+) (-?[\d.]+)/g)) {
          expect(Number(left)).toBeGreaterThanOrEqual(63.9);
          expect(Number(left)).toBeLessThanOrEqual(780.1);
          expect(Number(top)).toBeGreaterThanOrEqual(63.9);
          expect(Number(top)).toBeLessThanOrEqual(384.1);
        }
      }),
    );
  });
});
