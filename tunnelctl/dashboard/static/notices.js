// Short messages: what an order did, or why it was refused. Must never show an answer to a question.
import { html, useEffect, useState } from "./vendor/htm-preact.js";

const SHOWN = 6000; // milliseconds; a problem stays until it is closed
const MOST = 4;
const readers = new Set();
let notices = [];
let count = 0;

export const notice = (text, command) => setTimeout(remove, SHOWN, add({ text, command }));

export const problem = ({ message, hint }, command) =>
  add({ text: message, hint, command, kind: "problem" });

function add(what) {
  change([...notices, { ...what, id: ++count }].slice(-MOST));
  return count;
}

const remove = (id) => change(notices.filter((one) => one.id !== id));

function change(now) {
  notices = now;
  for (const reader of readers) reader(now);
}

export function Notices() {
  const [shown, setShown] = useState(notices);
  useEffect(() => {
    readers.add(setShown);
    return () => readers.delete(setShown);
  }, []);
  return html`<div class="notices" role="status" aria-live="polite">
    ${shown.map(({ id, text, hint, command, kind }) => html`<div class=${`notice ${kind ?? ""}`} key=${id}>
      <p>${text}${hint && html`<span class="hint"> (${hint})</span>`}</p>
      ${command && html`<code>${command}</code>`}
      <button type="button" class="copy" aria-label="Close the message" onClick=${() => remove(id)}>×</button>
    </div>`)}
  </div>`;
}
