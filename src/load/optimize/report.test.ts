import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { resolveConfig } from '../../config/load.ts';
import type { Measured } from './judge.ts';
import { configurationFile, merged, optimizeLines, reportDocument, type Report } from './report.ts';

let folder: string;
beforeAll(() => void (folder = mkdtempSync(join(tmpdir(), 'sightline-report-'))));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const MEASURED: Measured = {
  results_per_s: 55.25,
  in_time_per_s: 3,
  p50_ms: 250,
  p95_ms: 301.2,
  loss_percent: 0,
  cpu_percent: 98,
  memory_mb: 310,
  others_percent: 3,
  work_p95_ms: 36,
};
const BETTER: Measured = { ...MEASURED, results_per_s: 52, in_time_per_s: 52, p95_ms: 61 };
const NOTHING: Measured = { ...MEASURED, results_per_s: 0, p50_ms: Infinity, p95_ms: Infinity };
const PICTURE = { width: 640, height: 480, quality: 50 };
const CHANGES = { 'streaming.default_fps': 13, 'streaming.max_fps': 13 };

function report(change: Partial<Report['result']> = {}, settings: Report['settings'] = CHANGES): Report {
  const standard = { name: 'default', settings: {}, picture: PICTURE, measured: MEASURED };
  const winner = { name: '13 frames/s', settings: CHANGES, picture: PICTURE, measured: BETTER };
  return {
    conditions: {
      version: '1.2.3',
      time: '2026-01-02T03:04:05.000Z',
      machine: '2 processors, 24 GiB',
      model: 'ssd-oidv4',
      clip: { name: 'clip.mp4', width: 768, height: 432, frames: 24 },
      sessions: 4,
      quick: false,
      duration: 88.5,
    },
    goal: { strategy: 'balanced', targetMs: 100 },
    settings,
    result: {
      trials: [
        { ...standard, stage: 'default', saturated: false },
        { ...standard, measured: NOTHING, stage: 'engine', saturated: true },
        { ...winner, stage: 'rate', saturated: false },
        { ...winner, name: '12 frames/s', measured: NOTHING, stage: 'rate', saturated: false },
      ],
      failed: [{ name: '63 workers', settings: { 'inference.workers': 63 }, reason: 'the private server ended' }],
      pictures: [
        { ...PICTURE, kept: 0.96, boxes: 50, work_ms: 31 },
        { width: 320, height: 240, quality: 50, kept: 0.42, boxes: 50, work_ms: 29 },
      ],
      confirmed: [
        { ...standard, rounds: [MEASURED, MEASURED, MEASURED], verdict: undefined },
        { ...winner, rounds: [BETTER, BETTER, BETTER], verdict: { adopted: true, reasons: ['it holds 100 ms'] } },
      ],
      recommended: winner,
      isDefault: false,
      reasons: ['it holds 100 ms'],
      noise: 0.05,
      cutShort: false,
      ...change,
    },
  };
}

function byDefault(change: Partial<Report['result']> = {}): Report {
  const { confirmed } = report().result;
  const reasons = ['13 frames/s: it gains no more than the noise'];
  return report({ isDefault: true, recommended: confirmed[0]!, reasons, ...change }, {});
}

describe('the configuration file', () => {
  test('has the profile that it names', () => {
    const file = join(folder, 'sightline.yaml');
    const settings = {
      'performance.profile': 'a.b',
      'profiles.a.b.video.width': 320,
      'profiles.a.b.performance.ladder': ['modes'],
    };
    writeFileSync(file, configurationFile(report({}, settings)));
    expect(resolveConfig({ file }).config).toMatchObject({
      performance: { profile: 'a.b', ladder: ['modes'] },
      video: { width: 320 },
      profiles: { 'a.b': { video: { width: 320 } } },
    });
  });

  test('is taken by the server, with what differs and nothing else', () => {
    const file = join(folder, 'sightline.yaml');
    writeFileSync(
      file,
      configurationFile(report({}, { ...CHANGES, 'models.manifests': ['a.yaml'], 'video.quality': 35 })),
    );
    const { config, origins } = resolveConfig({ file });
    expect(config.streaming).toMatchObject({ default_fps: 13, max_fps: 13 });
    expect(config.models.manifests).toEqual(['a.yaml']);
    const own = [...origins].filter(([, origin]) => origin.startsWith(file)).map(([path]) => path);
    expect(own.toSorted()).toEqual(['models.manifests', 'streaming.default_fps', 'streaming.max_fps', 'video.quality']);
  });

  test('of the default is nothing but comments, and is taken as well', () => {
    const text = configurationFile(byDefault());
    expect(parse(text)).toBeNull();
    const file = join(folder, 'default.yaml');
    writeFileSync(file, text);
    expect(resolveConfig({ file }).config).toEqual(resolveConfig().config);
  });

  test('holds the measurements and the conditions as comments', () => {
    const text = configurationFile(report());
    for (const words of [
      '# Made by sightline optimize 1.2.3, 2026-01-02T03:04:05.000Z.',
      '# Recommended for 4 sessions within 100 ms: 13 frames/s.',
      '# 2 processors, 24 GiB',
      '# model ssd-oidv4; clip clip.mp4, 768×432, 24 frames of it',
    ]) {
      expect(text.split('\n')).toContain(words);
    }
    expect(text).toMatch(/^# default +55\.3 +3\.0 +250\.0 +301\.2 +0\.00 +98 +310 +3$/m);
    expect(text).toMatch(/^# 13 frames\/s +52\.0 +52\.0 +250\.0 +61\.0 /m);
  });

  test('no comment becomes a setting, whatever a clip is called', () => {
    const odd = report();
    const name = 'a\nstreaming:\n  max_fps: 60 # b.mp4';
    const text = configurationFile({
      ...odd,
      conditions: { ...odd.conditions, clip: { ...odd.conditions.clip, name } },
    });
    expect(parse(text)).toEqual({ streaming: { default_fps: 13, max_fps: 13 } });
  });
});

describe('for people', () => {
  test('the recommendation with its reasons, and every candidate', () => {
    const text = optimizeLines(report()).join('\n');
    expect(text).toContain('Recommended for 4 sessions within 100 ms: 13 frames/s.\n- it holds 100 ms');
    expect(text).toMatch(/^default \(as hard as it goes\) +0\.0 +98 +310 +3$/m);
    expect(text).toMatch(/^12 frames\/s +0\.0 +3\.0 +– +– /m);
    expect(text).toContain('63 workers: could not run: the private server ended');
    expect(text).toMatch(/^320×240, quality 50 +50 +42 +29\.0$/m);
  });

  test('that the default stays, and why', () => {
    const text = optimizeLines(byDefault()).join('\n');
    expect(text).toContain('within 100 ms: the configuration as it is.');
    expect(text).toContain('- 13 frames/s: it gains no more than the noise');
    expect(text).toContain('It does not hold 100 ms here: its p95 is 301 ms.');
  });

  test('that other programs were busy', () => {
    const { confirmed } = report().result;
    const busy = [{ ...confirmed[0]!, measured: { ...MEASURED, others_percent: 31 } }, confirmed[1]!];
    expect(optimizeLines(report()).join('\n')).not.toContain('Other programs');
    expect(optimizeLines(report({ confirmed: busy })).join('\n')).toContain('Other programs took up to 31 %');
  });

  test('what could not be done', () => {
    const pictures = [{ ...PICTURE, kept: undefined, boxes: 0, work_ms: Infinity }];
    const text = optimizeLines(byDefault({ cutShort: true, pictures, confirmed: [] })).join('\n');
    expect(text).toContain('The time was up before all candidates were measured.');
    expect(text).toContain('Nothing was detected in the clip, so that no smaller picture could be compared.');
  });
});

test('the document survives JSON, with null for what has no end', () => {
  const document = JSON.parse(JSON.stringify(reportDocument(report()))) as Record<string, unknown>;
  expect(document).toMatchObject({
    time: '2026-01-02T03:04:05.000Z',
    duration_s: 88.5,
    target_latency_ms: 100,
    strategy: 'balanced',
    recommended: { is_default: false, name: '13 frames/s', changes: CHANGES, reasons: ['it holds 100 ms'] },
    settings: CHANGES,
    confirmation: [
      { name: 'default', adoptable: null, measured: { p95_ms: 301.2 }, rounds: { length: 3 } },
      { name: '13 frames/s', adoptable: true },
    ],
    noise_percent: 5,
    pictures: [{ kept: 0.96 }, { kept: 0.42 }],
    failed: [{ name: '63 workers' }],
    cut_short: false,
  });
  expect((document['trials'] as { measured: Measured }[])[1]!.measured.p95_ms).toBeNull();
});

test('settings of a file: recommended ones beat given ones, defaults are left out', () => {
  const defaults: Record<string, unknown> = { a: 1, b: 2, c: 3 };
  expect(merged({ a: 1, b: 5, d: 7 }, { b: 2, c: 4 }, (path) => defaults[path])).toEqual({ d: 7, c: 4 });
});
