import { Packr } from 'msgpackr';
import { describe, expect, test } from 'vitest';
import { aboutMessage } from './message-about.ts';
import { writeMsgpack } from './msgpack-writer.ts';

const packr = new Packr({ useRecords: false, variableMapSize: true });
const text = (json: string) => new TextEncoder().encode(json);
const about = { topic: 'a/b', seq: 3 };

describe('what a JSON message is about', () => {
  test.each([
    ['a whole one', '{"type":"publish","topic":"a/b","data":1,"seq":3}'],
    ['in any order, with spaces', ' { "seq" : 3 , "data" : { "topic": "c", "seq": [7] } ,\n"topic" : "a\\/b" } '],
    ['behind a mark', '\ufeff{"topic":"a/b","seq":3}'],
    ['NaN, as Python writes it', '{"topic":"a/b","data":{"x":NaN,"y":-Infinity},"seq":3}'],
    ['single quotes in the data', `{"topic":"a/b","data":{'x':1},"seq":3}`],
    ['quotes and braces in texts', '{"data":"}],\\"topic\\":\\\\","topic":"a/b","seq":3}'],
    ['two of them', '{"topic":"a/b","seq":3}\n{"topic":"c","seq":4}'],
    ['cut off', '{"topic":"a/b","seq":3,"data":{"text":"abc'],
    ['the last one of two', '{"topic":"c","topic":"a/b","seq":3}'],
    ['deep', `{"topic":"a/b","data":${'['.repeat(5_000)},"seq":9}`.replace('"data"', '"seq":3,"data"')],
    ['a long text', `{"topic":"a/b","data":"${'x'.repeat(2_000_000)}","seq":3}`],
    ['a long list', `{"topic":"a/b","data":[${'1.5,'.repeat(300_000)}0],"seq":3}`],
  ])('%s', (_, json) => {
    expect(aboutMessage(text(json))).toEqual(about);
  });

  test('what is no sound value of its field is left out', () => {
    expect(aboutMessage(text('{"id":"x","topic":5,"seq":-1,"alias":1.5}'))).toEqual({});
    expect(aboutMessage(text(`{"id":7,"topic":"${'x'.repeat(300)}","seq":1e20,"alias":4}`))).toEqual({
      id: 7,
      alias: 4,
    });
  });

  test.each(['', '[{"topic":"a"}]', '"{"', 'topic', '{', '{"topic', '{"topic"', '{"topic":', '{}', '\0\u0001'])(
    'nothing in %j',
    (json) => {
      expect(aboutMessage(text(json))).toEqual({});
    },
  );
});

describe('what a MessagePack message is about', () => {
  const extensions = { at: new Date(1_700_000_000_123), none: undefined, wide: 5n, bytes: new Uint8Array(70_000) };
  test.each([
    ['a whole one', { type: 'publish', topic: 'a/b', data: { topic: 'c', seq: 9 }, seq: 3 }],
    ['with extension types', { data: extensions, topic: 'a/b', seq: 3 }],
    ['large', { data: Array.from({ length: 1_000 }, (_, i) => `${i}`), topic: 'a/b', seq: 3 }],
    ['of many fields', { ...Object.fromEntries(Array.from({ length: 90 }, (_, i) => [`k${i}`, i])), ...about }],
  ])('%s', (_, message) => {
    expect(aboutMessage(packr.pack(message))).toEqual(about);
  });

  test('cut anywhere, what came before counts', () => {
    const bytes = writeMsgpack({ topic: 'a/b', seq: 3, data: [1, 'x', { y: 2.5 }], id: 4 });
    const found = bytes.map((_, length) => Object.keys(aboutMessage(bytes.subarray(0, length))).length);
    expect([...found]).toEqual([...found].toSorted());
    expect(aboutMessage(bytes.subarray(0, bytes.length - 1))).toEqual(about);
    expect(aboutMessage(bytes)).toEqual({ ...about, id: 4 });
  });

  test('rubbish is looked at for a while alone', () => {
    const many = `{${'"k":1,'.repeat(700_000)}"topic":"a/b"}`;
    expect(aboutMessage(text(many))).toEqual({});
    expect(aboutMessage(text(`{"topic":"a/b","data":[${'"",'.repeat(1_900_000)}1],"seq":3}`))).toEqual({
      topic: 'a/b',
    });
    expect(aboutMessage(text(`{"topic":"a/b","data":["${'\\"'.repeat(1_900_000)}"],"seq":3}`))).toEqual({
      topic: 'a/b',
      seq: 3,
    });
    const list = Array.from({ length: 200_000 }, () => 1);
    expect(aboutMessage(writeMsgpack({ topic: 'a/b', data: list, seq: 3 }))).toEqual({ topic: 'a/b' });
  });

  test('claims of more than there is end it', () => {
    expect(aboutMessage(Uint8Array.of(0xdf, 0xff, 0xff, 0xff, 0xff))).toEqual({});
    expect(aboutMessage(Uint8Array.of(0x82, 0xa1, 0x61, 0xdd, 0xff, 0xff, 0xff, 0xff, 1))).toEqual({});
  });
});
