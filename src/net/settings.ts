/** The part of the configuration for this room. */
export function outboundOptions({
  outbound,
}: {
  readonly outbound: { readonly allowed_networks: readonly string[] };
}): { readonly allowed: readonly string[] } {
  return { allowed: outbound.allowed_networks };
}
