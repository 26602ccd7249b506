/** Has a camera recorded from now on, or not any more. */
export async function setRecord(url: string, id: string, record: 'continuous' | 'off'): Promise<void> {
  const path = `${url}/api/cameras/${id}`;
  const { settings } = (await (await fetch(path)).json()) as { settings: Record<string, unknown> };
  const { url: _, ...kept } = settings;
  const headers = { 'content-type': 'application/json' };
  const answered = await fetch(path, {
    method: 'PUT',
    headers,
    body: JSON.stringify({ ...kept, record }),
  });
  if (!answered.ok) throw new Error(`${id} cannot be recorded: ${await answered.text()}`);
}
