import { setTimeout as sleep } from 'node:timers/promises';
import type { SightlineError } from '../../../src/base/errors.ts';
import { connectTelemetry } from '../../../src/client/telemetry.ts';
import { Codec, craftBatch, messagesBody } from '../batches.ts';
import { Pace, type Attack } from '../target.ts';
import { advertise, binary, telemetryLane } from './lanes.ts';

/** An attacker under the name of somebody who is away. */

const NAME = 'rover7';
const MESSAGES = 500;
/** The name waits for its last holder for 3 s. */
const NAME_TIMEOUT_MS = 10_000;
const NAME_POLL_MS = 250;

const borrowedName: Attack = {
  name: 'borrowed_name',
  what: `publishes twice as fast as anybody may, under the name ${NAME}, until the name is banned`,
  // Three disconnections, each after 16 strikes of a second.
  needsMs: 80_000,
  run: async (target) => {
    const body = messagesBody(Array<Buffer>(MESSAGES).fill(Buffer.from('7')));
    const batch = binary(craftBatch({ codec: Codec.json, sections: [{ alias: 1, count: MESSAGES }], body }));
    await target.insist(
      () => target.webSocket(telemetryLane('binary', { client_id: NAME })),
      async (wire) => {
        wire.write(advertise(1, 'names/flood'));
        const pace = new Pace(200_000);
        while (await wire.hasRoom(target.untilMs)) {
          wire.write(batch);
          await pace.after(MESSAGES);
        }
      },
    );
  },
  afterwards: async (url) => {
    const deadlineMs = performance.now() + NAME_TIMEOUT_MS;
    for (;;) {
      try {
        const session = await connectTelemetry({ url, clientId: NAME, reconnect: false });
        await session.close();
        return [];
      } catch (thrown) {
        const { code, message } = thrown as SightlineError;
        if (code !== 'SESSION_NAME_IN_USE' || performance.now() > deadlineMs) return [`${NAME} itself: ${message}`];
        await sleep(NAME_POLL_MS);
      }
    }
  },
};

export const NAMES: readonly Attack[] = [borrowedName];
