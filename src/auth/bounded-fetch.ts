/** `fetch` whose answer has at most so many bytes: a longer one is an error, and is not read to its end. */
export async function boundedFetch(url: string, init: RequestInit, bytesMax: number): Promise<Response> {
  const response = await fetch(url, init);
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length;
    // Leaving the loop ends the request.
    if (bytes > bytesMax) throw new Error(`the answer has more than ${bytesMax} bytes`);
    chunks.push(chunk);
  }
  // A status without a body takes none, also not an empty one.
  return new Response(bytes === 0 ? null : Buffer.concat(chunks), {
    status: response.status,
    headers: response.headers,
  });
}
