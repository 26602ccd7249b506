import { signIn } from '../access.ts';
import { targetOf } from './target.ts';

const form = document.querySelector<HTMLFormElement>('#form')!;
const key = document.querySelector<HTMLInputElement>('#key')!;
const fault = document.querySelector<HTMLElement>('#fault')!;
const submit = document.querySelector<HTMLButtonElement>('#submit')!;

form.addEventListener('submit', (event) => {
  event.preventDefault();
  void enter();
});
key.focus();

async function enter(): Promise<void> {
  submit.disabled = true;
  fault.hidden = true;
  try {
    await signIn(key.value.trim());
    location.replace(targetOf(location.search));
  } catch (thrown) {
    fault.textContent = thrown instanceof Error ? thrown.message : String(thrown);
    fault.hidden = false;
    submit.disabled = false;
    key.select();
  }
}
