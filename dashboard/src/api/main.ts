import { requireLogin } from '../access.ts';
import { addressOf, operationsOf, type ApiDocument, type Operation, type Schema } from './document.ts';

/** The page of the API: lists the operations of the server's own document, and calls them. It loads nothing from elsewhere. */

/** A longer answer is cut: megabytes are of no use to a reader. */
const SHOWN_CHARS_MAX = 100_000;

const list = document.getElementById('operations')!;
const note = document.getElementById('note')!;

void requireLogin().then(show);

async function show(): Promise<void> {
  try {
    const response = await fetch('api/openapi.json');
    if (!response.ok) throw new Error(`the server answers with status ${response.status}`);
    const api = (await response.json()) as ApiDocument;
    document.getElementById('lead')!.textContent =
      `Every operation of version ${api.info.version}, and a way to try it`;
    const byTag = Map.groupBy(operationsOf(api), ({ tag }) => tag);
    list.replaceChildren(
      element('p', { className: 'about' }, [plain(api.info.description)]),
      ...Array.from(byTag, ([tag, operations]) => sectionOf(tag, operations)),
    );
  } catch (thrown) {
    note.textContent = `The document cannot be read: ${(thrown as Error).message}`;
  } finally {
    list.removeAttribute('aria-busy');
  }
}

function sectionOf(tag: string, operations: readonly Operation[]): HTMLElement {
  return element('section', {}, [element('h2', {}, [tag]), ...operations.map(cardOf)]);
}

function cardOf(operation: Operation): HTMLElement {
  const { method, path, summary } = operation;
  const card = element('details', { className: 'operation' }, [
    element('summary', {}, [
      element('span', { className: `method ${method.toLowerCase()}` }, [method]),
      element('code', {}, [path]),
      element('span', { className: 'summary' }, [summary]),
    ]),
  ]);
  // The content is made on the first opening.
  card.addEventListener('toggle', () => card.append(...detailsOf(operation)), { once: true });
  return card;
}

function detailsOf(operation: Operation): HTMLElement[] {
  const { description, refusals, answerSchema, bodySchema, answerType } = operation;
  const details: HTMLElement[] = [];
  if (description !== '') details.push(element('p', {}, [plain(description)]));
  // A stream has no end, and a file is better looked at by itself.
  if (answerType === 'application/json' || answerType === 'text/plain') details.push(formOf(operation));
  if (bodySchema) details.push(schemaOf('Body', bodySchema));
  if (answerSchema) details.push(schemaOf('Answer', answerSchema));
  else details.push(element('p', { className: 'sub' }, [`It answers with ${answerType}.`]));
  details.push(
    element(
      'dl',
      { className: 'refusals' },
      refusals.flatMap(({ status, codes }) => [element('dt', {}, [status]), element('dd', {}, [codes])]),
    ),
  );
  return details;
}

function schemaOf(title: string, schema: Schema): HTMLElement {
  return element('details', { className: 'schema' }, [
    element('summary', {}, [title]),
    element('pre', {}, [JSON.stringify(schema, undefined, 2)]),
  ]);
}

function formOf(operation: Operation): HTMLElement {
  const inputs = operation.parameters.map(({ name, required = false, description = '' }) => ({
    name,
    input: element('input', { name, required, placeholder: description, autocomplete: 'off' }, []),
  }));
  const body =
    operation.body === undefined
      ? undefined
      : element(
          'textarea',
          { value: operation.body, spellcheck: false, rows: operation.body.split('\n').length + 1 },
          [],
        );
  const button = element('button', { type: 'submit', className: 'primary' }, ['Call']);
  const status = element('p', { className: 'answer-status', role: 'status' }, []);
  const answer = element('pre', { className: 'answer', hidden: true, tabIndex: 0 }, []);
  const form = element('form', {}, [
    ...inputs.map(({ name, input }) => element('label', {}, [name, input])),
    ...(body ? [element('label', {}, ['body', body])] : []),
    button,
  ]);
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const values = Object.fromEntries(inputs.map(({ name, input }) => [name, input.value]));
    const answered = async (): Promise<void> => {
      button.disabled = true;
      const { told, text } = await call(operation, values, body?.value);
      status.textContent = told;
      answer.textContent = text;
      answer.hidden = false;
      button.disabled = false;
    };
    void answered();
  });
  return element('div', { className: 'try' }, [form, status, answer]);
}

/** Never rejects: a failure is an answer too. */
async function call(
  operation: Operation,
  values: Readonly<Record<string, string>>,
  body: string | undefined,
): Promise<{ told: string; text: string }> {
  const startMs = performance.now();
  try {
    const response = await fetch(`.${addressOf(operation, values)}`, {
      method: operation.method,
      ...(body !== undefined && { headers: { 'Content-Type': 'application/json' }, body }),
    });
    const text = pretty(await response.text());
    const tookMs = Math.round(performance.now() - startMs);
    const cut = text.length > SHOWN_CHARS_MAX ? `${text.slice(0, SHOWN_CHARS_MAX)}\n…` : text;
    return { told: `${response.status} ${response.statusText}, ${tookMs} ms`, text: cut };
  } catch (thrown) {
    return { told: 'no answer', text: (thrown as Error).message };
  }
}

/** Descriptions are CommonMark; ours mark code, and nothing else. */
function plain(text: string): string {
  return text.replaceAll('`', '');
}

function pretty(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), undefined, 2);
  } catch {
    return text;
  }
}

function element<K extends keyof HTMLElementTagNameMap>(
  name: K,
  properties: Partial<HTMLElementTagNameMap[K]>,
  children: readonly (Node | string)[],
): HTMLElementTagNameMap[K] {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}
