import type { z } from 'zod';
import { healthSchema, metricsSchema, type HealthDocument, type Metrics } from '../observe/metrics.ts';

/**
 * The monitor's view of a server's two documents, by the schemas that the server makes its own by. The server may be older
 * or newer than this command: a missing value, or one of another kind, is `undefined` and not shown.
 */
export type Seen<T> = T extends readonly (infer I)[]
  ? readonly Seen<I>[]
  : T extends string
    ? string
    : T extends number | boolean
      ? T
      : T extends object
        ? { readonly [K in keyof T]?: Seen<T[K]> | undefined }
        : undefined;

export interface MonitorDocument {
  readonly health: Seen<HealthDocument> & { readonly status: string };
  readonly metrics: Seen<Metrics>;
}

/** `undefined`: these are not the documents of a Sightline server. */
export function readDocument(health: unknown, metrics: unknown): MonitorDocument | undefined {
  const [seenHealth, seenMetrics] = [seen(healthSchema, health), seen(metricsSchema, metrics)];
  if (typeof (seenHealth as MonitorDocument['health'] | undefined)?.status !== 'string' || !seenMetrics)
    return undefined;
  return { health: seenHealth, metrics: seenMetrics } as MonitorDocument;
}

function seen(schema: z.core.$ZodType, value: unknown): unknown {
  const { def } = schema._zod as unknown as { readonly def: Kinds };
  switch (def.type) {
    case 'nullable':
    case 'optional':
      return seen(def.innerType, value);
    case 'array':
      // One that is not an object has nothing to show, and is counted.
      return Array.isArray(value) ? value.map((item) => seen(def.element, item) ?? {}) : undefined;
    case 'object':
      return seenFields(value, def.shape, furtherKind(Object.values(def.shape)));
    case 'record':
      return seenFields(value, {}, def.valueType);
    default:
      return typeof value === (def.type === 'enum' ? 'string' : def.type) ? value : undefined;
  }
}

type Shape = Readonly<Record<string, z.core.$ZodType>>;
/** The kinds of schema that the documents are made of. */
type Kinds =
  | { readonly type: 'nullable' | 'optional'; readonly innerType: z.core.$ZodType }
  | { readonly type: 'array'; readonly element: z.core.$ZodType }
  | { readonly type: 'object'; readonly shape: Shape }
  | { readonly type: 'record'; readonly valueType: z.core.$ZodType }
  | { readonly type: 'string' | 'number' | 'boolean' | 'enum' };

function seenFields(value: unknown, shape: Shape, further: z.core.$ZodType | undefined): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  const fields = Object.entries(value).map(([key, of]) => {
    const schema = Object.hasOwn(shape, key) ? shape[key] : further;
    return [key, schema && seen(schema, of)] as const;
  });
  return Object.fromEntries(fields.filter(([, of]) => of !== undefined));
}

/** Where all fields are of one kind (stages, causes), a newer server's extra field is one more of them. */
function furtherKind([first, ...others]: readonly z.core.$ZodType[]): z.core.$ZodType | undefined {
  return others.every((other) => other._zod.def.type === first?._zod.def.type) ? first : undefined;
}
