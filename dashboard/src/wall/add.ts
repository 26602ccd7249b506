import { addTable, ApiError, putCamera, testCamera, type CameraClass, type CameraTest } from '../fleet/api.ts';
import { bitsText, capitalised, codecText, fpsText, hintOf } from '../fleet/words.ts';
import { element } from '../view.ts';
import { faultOfId, idOf, tableFaults } from './add-faults.ts';

const FILE_BYTES_MAX = 1_048_576;

/** How many, and of what kind. */
type Kind = 'one' | 'device' | 'table';

/** Address of a camera that is published to. */
const WHIP_ADDRESS = 'whip:';

export interface AddHost {
  /** Those that there are. */
  ids(): readonly string[];
  onAdded(ids: readonly string[]): void;
}

/** Adds one camera, after a test of its address if that is wanted, or many out of a table. */
export class AddDialog {
  readonly #host: AddHost;
  readonly #dialog = element<HTMLDialogElement>('add-dialog');
  readonly #form = element<HTMLFormElement>('add-form');
  readonly #url = element<HTMLInputElement>('add-url');
  readonly #id = element<HTMLInputElement>('add-id');
  readonly #class = element<HTMLSelectElement>('add-class');
  readonly #transport = element<HTMLSelectElement>('add-transport');
  readonly #csv = element<HTMLTextAreaElement>('add-csv');
  readonly #file = element<HTMLInputElement>('add-file');
  readonly #test = element<HTMLButtonElement>('add-test');
  readonly #submit = element<HTMLButtonElement>('add-submit');
  readonly #kinds = [...document.querySelectorAll<HTMLInputElement>('input[name=kind]')];
  /** Whoever types a name keeps it. */
  #hasOwnId = false;
  #testing: AbortController | undefined;

  constructor(host: AddHost) {
    this.#host = host;
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      void this.#add();
    });
    for (const kind of this.#kinds) kind.addEventListener('change', () => this.#showKind());
    this.#url.addEventListener('input', () => this.#onUrl());
    this.#transport.addEventListener('change', () => this.#forgetTest());
    this.#id.addEventListener('input', () => (this.#hasOwnId = this.#id.value !== ''));
    this.#test.addEventListener('click', () => void this.#runTest());
    this.#file.addEventListener('change', () => void this.#readFile());
    for (const id of ['add-close', 'add-cancel']) element(id).addEventListener('click', () => this.#dialog.close());
    this.#dialog.addEventListener('close', () => this.#forgetTest());
  }

  open(): void {
    this.#form.reset();
    this.#hasOwnId = false;
    this.#forgetTest();
    this.#showKind();
    this.#dialog.showModal();
    this.#url.focus();
  }

  get #kind(): Kind {
    return this.#kinds.find(({ checked }) => checked)!.value as Kind;
  }

  #showKind(): void {
    const kind = this.#kind;
    element('add-one').hidden = kind === 'table';
    element('add-many').hidden = kind !== 'table';
    for (const id of ['add-url-line', 'add-url-help', 'add-transport-line']) element(id).hidden = kind === 'device';
    element('add-device').hidden = kind !== 'device';
    this.#test.hidden = kind !== 'one';
    this.#submit.textContent = kind === 'table' ? 'Add all' : 'Add camera';
    this.#forgetTest();
  }

  #onUrl(): void {
    this.#forgetTest();
    if (!this.#hasOwnId) this.#id.value = idOf(this.#url.value);
  }

  // ── The test ───────────────────────────────────────────────────────────────────────────────────────────────────────

  #forgetTest(): void {
    this.#testing?.abort();
    this.#testing = undefined;
    this.#test.disabled = false;
    element('test').hidden = true;
    this.#showFault();
  }

  async #runTest(): Promise<void> {
    const url = this.#url.value.trim();
    this.#forgetTest();
    if (url === '') return this.#showFault('It needs an address.', this.#url);
    const testing = new AbortController();
    this.#testing = testing;
    this.#test.disabled = true;
    this.#showTest('busy', 'Opening the address, and looking at it for a moment…');
    try {
      const found = await testCamera({ url, transport: this.#transportChosen }, testing.signal);
      if (this.#testing === testing) this.#showFound(found);
    } catch (thrown) {
      if (this.#testing !== testing) return;
      const { code, message } = faultOf(thrown);
      this.#showTest('bad', capitalised(message), hintOf(code));
    } finally {
      if (this.#testing === testing) this.#test.disabled = false;
    }
  }

  #showFound({ ok, reason, stream, rates, still, first_frame_ms: firstMs }: CameraTest): void {
    if (!ok) {
      return this.#showTest(
        'bad',
        capitalised(reason?.message ?? 'nothing came'),
        reason ? hintOf(reason.code) : undefined,
      );
    }
    this.#showTest(
      'good',
      stream ? `It works: ${stream.width} × ${stream.height}, ${codecText(stream.codec)}.` : 'It works.',
    );
    const image = element<HTMLImageElement>('test-still');
    image.hidden = still === null;
    if (still) {
      image.src = `data:image/jpeg;base64,${still.jpeg}`;
      image.alt = 'What the camera shows';
    }
    const rows: [string, string][] = [];
    if (rates) rows.push(['Rate', `${fpsText(rates.received_fps)}, ${bitsText(rates.received_bits_per_s)}`]);
    if (firstMs !== null) rows.push(['First frame', `after ${(firstMs / 1000).toFixed(1)} s`]);
    if (stream) {
      rows.push(['Clock', stream.clock === 'camera' ? 'the camera’s own' : 'time of arrival']);
      if (stream.codec_string === null) rows.push(['Live picture', 'converted on the server']);
    }
    element('test-facts').replaceChildren(...rows.flatMap(([name, value]) => [made('dt', name), made('dd', value)]));
  }

  #showTest(state: 'busy' | 'good' | 'bad', text: string, hint?: string): void {
    const section = element('test');
    section.hidden = false;
    section.dataset['state'] = state;
    element('test-text').textContent = text;
    element('test-hint').textContent = hint ?? '';
    element('test-still').hidden = true;
    element('test-facts').replaceChildren();
    section.scrollIntoView({ block: 'nearest' });
  }

  get #transportChosen(): 'tcp' | 'udp' {
    return this.#transport.value as 'tcp' | 'udp';
  }

  // ── Adding ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  async #add(): Promise<void> {
    this.#showFault();
    this.#submit.disabled = true;
    try {
      const kind = this.#kind;
      const ids = await (kind === 'table' ? this.#addTable() : this.#addOne(kind));
      if (!ids) return;
      this.#dialog.close();
      if (kind === 'device') location.assign(`camera.html?id=${encodeURIComponent(ids[0]!)}`);
      else this.#host.onAdded(ids);
    } catch (thrown) {
      this.#showFault(capitalised(faultOf(thrown).message));
    } finally {
      this.#submit.disabled = false;
    }
  }

  async #addOne(kind: 'one' | 'device'): Promise<readonly string[] | undefined> {
    const url = kind === 'device' ? WHIP_ADDRESS : this.#url.value.trim();
    const id = this.#id.value.trim();
    if (url === '') return void this.#showFault('It needs an address.', this.#url);
    const fault = faultOfId(id, this.#host.ids());
    if (fault !== undefined) return void this.#showFault(fault, this.#id);
    const ticks = [...this.#form.querySelectorAll<HTMLInputElement>('input[name=pipeline]:checked')];
    const pipelines = ticks.map(({ value }) => value);
    const settings = { url, class: this.#class.value as CameraClass, transport: this.#transportChosen, pipelines };
    await putCamera(id, settings);
    return [id];
  }

  async #addTable(): Promise<readonly string[] | undefined> {
    const csv = this.#csv.value;
    if (csv.trim() === '') return void this.#showFault('There is no table yet.', this.#csv);
    try {
      const { added, changed } = await addTable(csv);
      return [...added, ...changed];
    } catch (thrown) {
      if (!(thrown instanceof ApiError) || thrown.code !== 'BODY_BAD') throw thrown;
      this.#showTableFaults(thrown.message, csv);
      return undefined;
    }
  }

  async #readFile(): Promise<void> {
    const file = this.#file.files?.[0];
    if (!file) return;
    if (file.size > FILE_BYTES_MAX) return this.#showFault('A table has 1 MiB at most.', this.#file);
    this.#csv.value = await file.text();
    this.#showFault();
  }

  /** Without a text: none. `at` gets the focus. */
  #showFault(text = '', at?: HTMLElement): void {
    const fault = element('add-fault');
    fault.hidden = text === '';
    fault.replaceChildren(text);
    for (const invalid of this.#form.querySelectorAll('[aria-invalid]')) invalid.removeAttribute('aria-invalid');
    at?.setAttribute('aria-invalid', 'true');
    at?.focus();
  }

  #showTableFaults(message: string, csv: string): void {
    const faults = tableFaults(message, csv);
    this.#showFault('Nothing was added.', this.#csv);
    const list = document.createElement('ul');
    for (const { line, text, row } of faults) {
      const item = document.createElement('li');
      if (line !== undefined) item.append(made('b', `Line ${line}`), ` `);
      item.append(capitalised(text));
      if (row !== undefined && row !== '') item.append(made('code', row));
      list.append(item);
    }
    element('add-fault').append(list);
  }
}

function faultOf(thrown: unknown): { readonly code: string; readonly message: string } {
  if (thrown instanceof ApiError) return thrown;
  return { code: 'UNKNOWN', message: `an unexpected error: ${String(thrown)}` };
}

function made(tag: string, text: string): HTMLElement {
  const element = document.createElement(tag);
  element.textContent = text;
  return element;
}
