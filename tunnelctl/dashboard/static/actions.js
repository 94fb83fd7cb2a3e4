// The buttons: each does what its command does, through the control API, and shows the command.
import { html, useEffect, useState } from "./vendor/htm-preact.js";
import { order, profilePath } from "./api.js";
import { answer } from "./answer.js";
import { confirmed } from "./dialog.js";
import { notice, run } from "./notices.js";
import { store, takesOrders } from "./store.js";

const NAMES = { up: "Bring up", down: "Take down", restart: "Reconnect", close: "Close", answer: "Answer…" };

// What the page does itself; of other actions it gives the command.
const ORDERS = {
  up: ({ profile }) => order(profilePath(profile, "up"), fileOf(profile)),
  down: ({ profile }) => order(profilePath(profile, "down")),
  restart: ({ profile, host }) => order(profilePath(profile, "restart"), host ? { hosts: [host] } : {}),
  close: ({ connection }) => order(`/v1/connections/${encodeURIComponent(connection)}/close`),
};

// A profile that is down comes up from the file that it had.
function fileOf(profile) {
  const source = store.view?.profiles.find(({ name }) => name === profile)?.source ?? "";
  return source.startsWith("/") ? { file: source } : {};
}

async function act(action) {
  const { verb, question, command } = action;
  if (question && !(await confirmed(question, command, NAMES[verb]))) return;
  await run(ORDERS[verb](action), command, "Done");
}

// Nothing for a command that the page cannot run: it is copied.
export function Button({ action, about, main }) {
  const [busy, setBusy] = useState(false);
  const press = async () => {
    setBusy(true);
    await (action.verb === "answer" ? answer : act)(action);
    setBusy(false);
  };
  const name = NAMES[action.verb];
  return name && html`<button class=${main && "main"} data-command=${action.command}
    aria-label=${`${name} ${about}`} disabled=${busy || !takesOrders()} onClick=${press}>${name}</button>`;
}

// A command that can be copied.
export function Copy({ text }) {
  const copy = () => navigator.clipboard.writeText(text).then(
    () => notice("Copied", text),
    () => notice("The browser does not allow copying", text),
  );
  return html`<span class="command"><code>${text}</code><button type="button" class="copy"
    aria-label=${`Copy ${text}`} onClick=${copy}>Copy</button></span>`;
}

// All actions of a row, each with its command.
export function ActionList({ row }) {
  return html`<ul class="actions">
    ${row.actions.map((action) => html`<li key=${action.command}>
      <${Button} action=${action} about=${row.place} />
      <${Copy} text=${action.command} />
    </li>`)}
  </ul>`;
}

// The same behind one word, for a table.
export function Menu({ row }) {
  return html`<details class="menu" name="menu">
    <summary aria-label=${`Actions for ${row.place}`}>⋯</summary>
    <div class="sheet"><${ActionList} row=${row} /></div>
  </details>`;
}

// Closes an open menu at Escape, and at a click elsewhere.
export function closeMenus(event) {
  const isEscape = event.key === "Escape";
  for (const menu of document.querySelectorAll(".menu[open]")) {
    if (!isEscape && (event.type !== "click" || menu.contains(event.target))) continue;
    menu.open = false;
    if (isEscape) menu.firstElementChild.focus();
  }
}

// The command of the button that has the focus or the pointer.
export function CommandLine() {
  const [command, setCommand] = useState("");
  useEffect(() => {
    const look = ({ target }) =>
      setCommand(target.closest?.("[data-command]")?.dataset.command ?? "");
    for (const kind of ["focusin", "focusout", "pointerover"]) document.addEventListener(kind, look);
  }, []);
  return command && html`<p class="command-line" aria-hidden="true"><code>$ ${command}</code></p>`;
}
