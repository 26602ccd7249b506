/** Has a camera recorded from now on. */
export async function recordContinuously(url: string, id: string): Promise<void> {
  const path = `${url}/api/cameras/${id}`;
  const { settings } = (await (await fetch(path)).json()) as { settings: Record<string, unknown> };
  const { url: _, ...kept } = settings;
  const headers = { 'content-type': 'application/json' };
  const answered = await fetch(path, {
    method: 'PUT',
    headers,
    body: JSON.stringify({ ...kept, record: 'continuous' }),
  });
  if (!answered.ok) throw new Error(`${id} cannot be recorded: ${await answered.text()}`);
}
