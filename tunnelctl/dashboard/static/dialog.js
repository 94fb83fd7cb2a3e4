// One dialog at a time, over the page: a confirmation, or the questions of a host.
import { html, useEffect, useRef, useState } from "./vendor/htm-preact.js";

let show = () => {};

// Shows what render(close) returns; the promise has what close() was called with.
export function open(render) {
  return new Promise((resolve) => show({ render, resolve }));
}

export const confirmed = (question, command, name) =>
  open((close) => html`<h2>${question}</h2>
    <p><code>${command}</code></p>
    <p class="row">
      <button onClick=${() => close(false)}>Cancel</button>
      <button class="trouble" onClick=${() => close(true)}>${name}</button>
    </p>`);

export function Dialog() {
  const [shown, setShown] = useState(null);
  const element = useRef(null);
  show = setShown;
  useEffect(() => element.current?.showModal(), [shown]);
  if (!shown) return null;
  const close = (value) => {
    element.current.close();
    setShown(null);
    shown.resolve(value);
  };
  return html`<dialog ref=${element} aria-label="Dialog" onCancel=${() => close(null)}>
    ${shown.render(close)}
  </dialog>`;
}
