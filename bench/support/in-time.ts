/** Rejects after `timeoutMs`, with what went wrong at `who` until then. */
export async function inTime<T>(
  what: Promise<T>,
  timeoutMs: number,
  who: string,
  faults: readonly string[] = [],
): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new Error(`${who} did not answer in ${timeoutMs} ms: ${faults.join('; ')}`)),
      timeoutMs,
    );
  });
  try {
    return await Promise.race([what, late]);
  } finally {
    clearTimeout(timer);
  }
}
