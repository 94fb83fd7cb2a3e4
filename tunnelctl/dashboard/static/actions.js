// The buttons: each does what its command does, through the control API, and shows the command.
import { html, useEffect, useState } from "./vendor/htm-preact.js";
import { order, profilePath } from "./api.js";
import { answer } from "./answer.js";
import { confirmed } from "./dialog.js";
import { notice, problem } from "./notices.js";
import { store } from "./store.js";

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
  if (action.verb === "down" && !(await confirmed(`Take ${action.profile} down?`, action.command))) {
    return;
  }
  try {
    await ORDERS[action.verb](action);
    notice("Done", action.command);
  } catch (error) {
    problem(error, action.command);
  }
}

// Nothing for a command that the page cannot run: it is copied.
export function Button({ action, about, main = false }) {
  const [busy, setBusy] = useState(false);
  const { daemon } = store;
  const press = async () => {
    setBusy(true);
    await (action.verb === "answer" ? answer : act)(action);
    setBusy(false);
  };
  if (!NAMES[action.verb]) return null;
  return html`<button type="button" class=${main ? "main" : ""} data-command=${action.command}
    aria-label=${`${NAMES[action.verb]} ${about}`}
    disabled=${busy || daemon?.read_only || !daemon?.answers} onClick=${press}>
    ${NAMES[action.verb]}
  </button>`;
}

// A command that can be copied.
export function Copy({ text }) {
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      notice("Copied", text);
    } catch {
      notice("The browser does not allow copying", text);
    }
  };
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
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    const isOutside = event.type === "click" && !menu.contains(event.target);
    if (isOutside || event.key === "Escape") {
      menu.open = false;
      if (event.key === "Escape") menu.querySelector("summary").focus();
    }
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
