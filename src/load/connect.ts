/** A session of the SDK; the signal gives the attempt up with its reason, and a session that is made all the same is closed. */
export async function connectUnless<Session extends { close(): Promise<void> }>(
  signal: AbortSignal,
  connect: () => Promise<Session>,
): Promise<Session> {
  signal.throwIfAborted();
  const aborted = Promise.withResolvers<never>();
  const onAbort = (): void => aborted.reject(signal.reason as Error);
  signal.addEventListener('abort', onAbort, { once: true });
  const connecting = connect();
  try {
    return await Promise.race([connecting, aborted.promise]);
  } catch (thrown) {
    connecting.then(
      (session) => session.close(),
      () => {},
    );
    throw thrown;
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
