import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { z } from 'zod';

/**
 * A collector of traces as a real HTTP server. What it takes is checked strictly against the JSON form of OTLP 1.x
 * (opentelemetry-proto, `trace/v1/trace.proto`): ids in hexadecimal, enumerations as numbers, 64 bits as text, names in camel case.
 */

const nanoseconds = z.string().regex(/^[1-9]\d{18}$/);
const id = (digits: number) =>
  z
    .string()
    .regex(new RegExp(`^[0-9a-f]{${digits}}$`))
    .refine((value) => !/^0+$/.test(value));
const valueSchema = z.union([
  z.strictObject({ stringValue: z.string() }),
  z.strictObject({ boolValue: z.boolean() }),
  z.strictObject({ intValue: z.string().regex(/^-?\d+$/) }),
  z.strictObject({ doubleValue: z.number() }),
]);
const attributesSchema = z.array(z.strictObject({ key: z.string().min(1), value: valueSchema }));
const spanSchema = z.strictObject({
  traceId: id(32),
  spanId: id(16),
  parentSpanId: id(16).optional(),
  flags: z.int().min(0),
  name: z.string().min(1),
  kind: z.int().min(0).max(5),
  startTimeUnixNano: nanoseconds,
  endTimeUnixNano: nanoseconds,
  attributes: attributesSchema.optional(),
  status: z.strictObject({ code: z.int().min(0).max(2), message: z.string().optional() }).optional(),
});
const requestSchema = z.strictObject({
  resourceSpans: z.array(
    z.strictObject({
      resource: z.strictObject({ attributes: attributesSchema }),
      scopeSpans: z.array(
        z.strictObject({
          scope: z.strictObject({ name: z.string(), version: z.string() }),
          spans: z.array(spanSchema),
        }),
      ),
    }),
  ),
});

export type OtlpSpan = z.output<typeof spanSchema>;

export class OtlpReceiver implements AsyncDisposable {
  readonly #server: Server;
  readonly spans: OtlpSpan[] = [];
  readonly resources: Record<string, unknown>[] = [];
  readonly headers: IncomingMessage['headers'][] = [];
  /** What was wrong with requests. */
  readonly faults: string[] = [];
  /** Answers a request that was fine. */
  answer: (response: ServerResponse, request: IncomingMessage) => void = (response) => response.end('{}');
  #wake: (() => void)[] = [];

  private constructor() {
    this.#server = createServer((request, response) => void this.#take(request, response));
  }

  static async open(): Promise<OtlpReceiver> {
    const receiver = new OtlpReceiver();
    receiver.#server.listen(0, '127.0.0.1');
    await once(receiver.#server, 'listening');
    return receiver;
  }

  get origin(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get endpoint(): string {
    return `${this.origin}/v1/traces`;
  }

  get requests(): number {
    return this.headers.length;
  }

  named(name: string): OtlpSpan[] {
    return this.spans.filter((span) => span.name === name);
  }

  /** Waits for a condition on what came in; the test's own timeout ends it. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#wake.push(resolve));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  async #take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.headers.push(request.headers);
    const parsed = requestSchema.safeParse(JSON.parse(await text(request)));
    if (request.method !== 'POST' || request.url !== '/v1/traces') this.faults.push(`${request.method} ${request.url}`);
    if (request.headers['content-type'] !== 'application/json') this.faults.push('content-type');
    if (parsed.error) this.faults.push(z.prettifyError(parsed.error));
    for (const { resource, scopeSpans } of parsed.data?.resourceSpans ?? []) {
      this.resources.push(plain(resource.attributes));
      for (const { spans } of scopeSpans) this.spans.push(...spans);
    }
    this.answer(response, request);
    for (const wake of this.#wake.splice(0)) wake();
  }
}

/** Attributes by their keys. */
export function plain(attributes: OtlpSpan['attributes'] = []): Record<string, unknown> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]));
}
