import { describe, expect, test } from 'vitest';
import { literalOf, readModelCard } from './model-card.ts';

const namesIn = (names: string) => readModelCard({ names }).names;

describe('names of classes', () => {
  test.each<[string, string, string[]]>([
    ["Python's dictionary", `{0: 'cat', 1: "driver's cab", 2: 'a\\'b"c'}`, ['cat', "driver's cab", `a'b"c`]],
    ["Python's list", `['mask', 'no-mask']`, ['mask', 'no-mask']],
    ["Python's tuple, with a comma at its end", `('one',)`, ['one']],
    ['JSON, a list', `["mask", "no-mask"]`, ['mask', 'no-mask']],
    ['JSON, a dictionary', `{"0": "mask", "1": "no-mask"}`, ['mask', 'no-mask']],
    ['in any order', `{1: 'b', 0: 'a'}`, ['a', 'b']],
    ['with numbers left out', `{0: 'a', 2: 'c'}`, ['a', 'class 1', 'c']],
    ['numbers by name', `{'a': 0, 'b': 1}`, ['a', 'b']],
    ['names that are numbers', `{0: 7, 1: 9}`, ['7', '9']],
    ['names with what separates', `['a, b', "c: d", '[e]', '{0: 1}']`, ['a, b', 'c: d', '[e]', '{0: 1}']],
    [
      'escapes',
      String.raw`['caf\xe9', '\u732b', '\\', 'tab\there', '\U0001F431']`,
      ['café', '猫', '\\', 'tab\there', '🐱'],
    ],
    ['names in other scripts', `{0: '猫', 1: 'собака'}`, ['猫', 'собака']],
    ['a line for each', 'cat\r\ndog\nbird\n', ['cat', 'dog', 'bird']],
    ['commas between', 'cat, dog', ['cat', 'dog']],
    ['one', "{0: 'person'}", ['person']],
  ])('%s', (_, text, names) => expect(namesIn(text)).toEqual(names));

  test.each([
    '',
    '{',
    "{0: 'a'",
    "['a', ",
    '{}',
    '[]',
    '[None]',
    "{-1: 'a'}",
    "{70000: 'a'}",
    '['.repeat(10_000),
    '{0: f(1)}',
  ])('what is no list of names is none: %j', (text) => expect(namesIn(text)).toBeUndefined());

  test('under other keys, in the forms that are certain', () => {
    expect(readModelCard({ class_names: '["a", "b"]' }).names).toEqual(['a', 'b']);
    expect(readModelCard({ id2label: '{"0": "a"}' }).names).toEqual(['a']);
    expect(readModelCard({ labels: 'coco' }).names).toBeUndefined();
    expect(readModelCard({ names: "['a']", classes: '["b"]' }).names).toEqual(['a']);
  });

  test('a long list takes no time worth naming', () => {
    const text = `{${Array.from({ length: 60_000 }, (_, i) => `${i}: 'n${i}'`).join(', ')}}`;
    expect(namesIn(text)).toHaveLength(60_000);
  });
});

test('task, key points, end to end and RT-DETR', () => {
  expect(readModelCard({})).toEqual({ isEndToEnd: false, isRtDetr: false });
  expect(readModelCard({ task: ' Pose ', kpt_shape: '[17, 3]' })).toMatchObject({ task: 'pose', keypoints: 51 });
  expect(readModelCard({ kpt_shape: '(5, 2)' }).keypoints).toBe(10);
  expect(readModelCard({ end2end: 'True' }).isEndToEnd).toBe(true);
  expect(readModelCard({ end2end: 'False', args: "{'batch': 1, 'nms': True}" }).isEndToEnd).toBe(true);
  expect(readModelCard({ description: 'Ultralytics rtdetr-l model trained on coco.yaml' }).isRtDetr).toBe(true);
  expect(readModelCard({ head: 'RTDETRDecoder' }).isRtDetr).toBe(true);
});

test('RF-DETR says everything in one place', () => {
  const said = { task: 'segment', class_names: ['a', 'c'], class_id_to_name: { 1: 'a', 3: 'c' } };
  expect(readModelCard({ rfdetr_inference: JSON.stringify(said) })).toMatchObject({
    task: 'segment',
    names: ['class 0', 'a', 'class 2', 'c'],
  });
});

test("Python's values", () => {
  expect(literalOf("{'a': [1, 2.5, -3e2, True, False, None], 'b': (1, (2,)), 'c': {}}")).toEqual({
    a: [1, 2.5, -300, true, false, null],
    b: [1, [2]],
    c: {},
  });
  expect(literalOf('1 2')).toBeUndefined();
  expect(literalOf(undefined)).toBeUndefined();
});
