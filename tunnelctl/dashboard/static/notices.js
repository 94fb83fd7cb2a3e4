// Short messages: what an order did, or why it was refused. Must never show an answer to a question.
import { html } from "./vendor/htm-preact.js";
import { change, store } from "./store.js";

const SHOWN = 6000; // milliseconds; a problem stays until it is closed
const MOST = 4;
let count = 0;

export const notice = (text, command) => setTimeout(remove, SHOWN, add({ text, command }));

export const problem = ({ message, hint }, command) =>
  add({ text: message, hint, command, kind: "problem" });

// What an order answers; nothing if it was refused, which is said.
export async function run(order, command, done) {
  try {
    const answer = await order;
    notice(done, command);
    return answer;
  } catch (error) {
    problem(error, command);
  }
}

function add(what) {
  change({ notices: [...store.notices, { ...what, id: ++count }].slice(-MOST) });
  return count;
}

const remove = (id) => change({ notices: store.notices.filter((one) => one.id !== id) });

export const Notices = () => html`<div class="notices" role="status" aria-live="polite">
  ${store.notices.map(({ id, text, hint, command, kind }) => html`<div class=${`notice ${kind ?? ""}`} key=${id}>
    <p>${text}${hint && html`<span class="hint"> (${hint})</span>`}</p>
    ${command && html`<code>${command}</code>`}
    <button class="copy" aria-label="Close the message" onClick=${() => remove(id)}>×</button>
  </div>`)}
</div>`;
