import { FoxgloveClient, type Channel } from '@foxglove/ws-protocol';
import { expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { connectTelemetry } from '../../src/client/telemetry.ts';
import { ServerProcess } from '../support/server-process.ts';

test.each(['foxglove.sdk.v1', 'foxglove.websocket.v1'])(
  '%s: Foxglove and telemetry clients share the topics',
  async (name) => {
    await using server = await ServerProcess.start();
    const heard: unknown[] = [];
    const telemetry = await connectTelemetry({ url: server.url });
    const commands = telemetry.subscribe('cmd/#');
    commands.onTelemetry((messages) => heard.push(...messages.map(({ topic, data }) => [topic, data])));
    await commands.ready;

    const client = new FoxgloveClient({ ws: new WebSocket(server.ws('/ws/foxglove'), [name]) as never });
    const channels = new Map<string, Channel>();
    const values: unknown[] = [];
    const parameters: Record<string, unknown> = {};
    client.on('advertise', (added) => added.forEach((channel) => channels.set(channel.topic, channel)));
    client.on('message', ({ data }) =>
      values.push(JSON.parse(Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString())),
    );
    client.on('parameterValues', (answer) =>
      answer.parameters.forEach(({ name: key, value }) => (parameters[key] = value)),
    );
    await new Promise<void>((opened) => client.on('serverInfo', () => opened()));

    telemetry.publish('rover/pose', { n: 0 });
    await expect.poll(() => channels.has('rover/pose')).toBe(true);
    client.subscribe(channels.get('rover/pose')!.id);
    await expect.poll(() => values.length).toBe(1);
    for (let n = 1; n < 1_000; n++) telemetry.publish('rover/pose', { n });
    await expect.poll(() => values.length).toBe(1_000);
    expect(values).toEqual(Array.from({ length: 1_000 }, (_, n) => ({ n })));

    const id = client.advertise({ topic: '/cmd/drive', encoding: 'json', schemaName: 'Drive' });
    client.sendMessage(id, Buffer.from('{"speed":1.5}'));
    await expect.poll(() => heard).toEqual([['cmd/drive', { speed: 1.5 }]]);

    client.getParameters([]);
    await expect.poll(() => Object.keys(parameters)).toContain('server.version');
    expect(parameters['telemetry.topics']).toBe(2);
    client.close();
    await telemetry.close();
  },
);
