import { readFileSync } from 'node:fs';
import { SightlineError } from '../../base/errors.ts';
import type { Clock } from '../../base/clock.ts';
import type { Config } from '../../config/schema.ts';
import type { Sink } from '../delivery.ts';
import { Alertmanager } from './alertmanager.ts';
import { MqttSink } from './mqtt.ts';
import type { Outbound } from './outbound.ts';
import { Webhook } from './webhook.ts';

/** A shorter one could be guessed. */
const SECRET_CHARS_MIN = 16;
const SECRET_CHARS_MAX = 4_096;

export interface SinkParts {
  readonly clock: Clock;
  readonly outbound: Outbound;
  /** Name of the server. */
  readonly instance: string;
}

/** The places that the configuration names. Throws CONFIG_VALUE_BAD where a file of a secret cannot be read, or has none. */
export function sinksOf(alerts: Config['alerts'], { clock, outbound, instance }: SinkParts): Sink[] {
  const { timeout_ms: timeoutMs } = alerts;
  const sinks: Sink[] = [];
  if (alerts.webhook_url !== undefined) {
    const secret = secretIn('alerts.webhook_secret_file', alerts.webhook_secret_file, SECRET_CHARS_MIN);
    sinks.push(new Webhook({ outbound, clock, url: alerts.webhook_url, secret, timeoutMs }));
  }
  if (alerts.mqtt_url !== undefined) {
    const { mqtt_url: url, mqtt_topic_prefix: topicPrefix, mqtt_username: username } = alerts;
    const password = secretIn('alerts.mqtt_password_file', alerts.mqtt_password_file, 1);
    sinks.push(new MqttSink({ url, topicPrefix, username, password, timeoutMs, outbound }));
  }
  if (alerts.alertmanager_url !== undefined) {
    const { alertmanager_url: url, alertmanager_resend_s: resendS } = alerts;
    sinks.push(new Alertmanager({ outbound, clock, url, instance, timeoutMs, resendMs: resendS * 1_000 }));
  }
  return sinks;
}

function secretIn(key: string, path: string | undefined, charsMin: number): string | undefined {
  if (path === undefined) return undefined;
  let secret: string;
  try {
    secret = readFileSync(path, 'utf8').trim();
  } catch (thrown) {
    throw new SightlineError('CONFIG_VALUE_BAD', `${key}: ${(thrown as Error).message}`, { cause: thrown });
  }
  if (secret.length < charsMin || secret.length > SECRET_CHARS_MAX) {
    throw new SightlineError(
      'CONFIG_VALUE_BAD',
      `${key}: ${path} has not ${charsMin} to ${SECRET_CHARS_MAX} characters`,
    );
  }
  return secret;
}
