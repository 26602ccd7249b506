import { signIn } from '../access.ts';
import { targetOf } from './target.ts';

const form = document.querySelector<HTMLFormElement>('#form')!;
const name = document.querySelector<HTMLInputElement>('#name')!;
const secret = document.querySelector<HTMLInputElement>('#secret')!;
const fault = document.querySelector<HTMLElement>('#fault')!;
const submit = document.querySelector<HTMLButtonElement>('#submit')!;

form.addEventListener('submit', (event) => {
  event.preventDefault();
  void enter();
});
name.focus();

async function enter(): Promise<void> {
  submit.disabled = true;
  fault.hidden = true;
  try {
    const who = name.value.trim();
    await signIn(who === '' ? { key: secret.value.trim() } : { name: who, password: secret.value });
    location.replace(targetOf(location.search));
  } catch (thrown) {
    fault.textContent = thrown instanceof Error ? thrown.message : String(thrown);
    fault.hidden = false;
    submit.disabled = false;
    secret.select();
  }
}
