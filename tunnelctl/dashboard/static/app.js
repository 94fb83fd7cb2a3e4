// The page: its head, the pages by the address after #, and what is said while nobody answers.
import { html, render, useEffect, useState } from "./vendor/htm-preact.js";
import { CommandLine, Copy, closeMenus } from "./actions.js";
import { Add } from "./add.js";
import { Connections } from "./connections.js";
import { Dialog } from "./dialog.js";
import { Host } from "./host.js";
import { Log } from "./log.js";
import { Notices } from "./notices.js";
import { Overview, Profile } from "./overview.js";
import { Requests } from "./requests.js";
import { start, useStore } from "./store.js";

const PAGES = { Overview, Connections, Requests, Log, Add, Profile, Host };
const LINKS = { "": "Overview", connections: "Connections", requests: "Requests", log: "Log", add: "Add a forward" };
const LOST = {
  away: "The dashboard does not answer; it may have ended.",
  refused: "This page is not logged in any more: another dashboard listens here.",
};

function App() {
  const words = useAddress();
  const { view, daemon, lost } = useStore();
  const [name] = words;
  const Page = PAGES[name && name[0].toUpperCase() + name.slice(1)] ?? Overview;
  const isOld = lost || daemon?.answers === false;
  // For who looks at another tab.
  const count = view?.broken.length;
  document.title = isOld ? "tunnelctl: no answer" : count ? `(${count}) tunnelctl` : "tunnelctl";
  return html`
    <a class="skip" href="#main" onClick=${skip}>Skip to the content</a>
    <header>
      <a class="brand" href="#/"><img src="/static/icon.svg" alt="" width="20" height="20" />tunnelctl</a>
      <nav aria-label="Pages">${Object.entries(LINKS).map(([to, text]) => html`<a href=${`#/${to}`} key=${to}
        aria-current=${name === to ? "page" : null}>${text}</a>`)}</nav>
      ${daemon?.read_only && html`<span class="badge">read-only</span>`}
    </header>
    <${Said} daemon=${daemon} lost=${lost} view=${view} />
    <main id="main" tabindex="-1" class=${isOld && "old"}>
      ${view ? html`<${Page} key=${words.join("/")} words=${words.slice(1)} />`
        : html`<p class="first">${isOld ? "Nothing is known yet." : "Waiting for the daemon…"}</p>`}
    </main>
    <${CommandLine} />
    <${Notices} />
    <${Dialog} />`;
}

// Who does not answer, or is another one than this page was made for; and what the daemon warns of.
function Said({ daemon, lost, view }) {
  if (lost || daemon?.answers === false) {
    const text = LOST[lost] ?? `${daemon.message}. What you see is from before.`;
    return html`<div class="banner" role="alert">${text} ${lost && html`<${Copy} text="tunnelctl dashboard" />`}</div>`;
  }
  const texts = [...(view?.warnings ?? [])];
  if (daemon?.version && daemon.version !== daemon.dashboard_version) {
    texts.unshift(`The daemon is version ${daemon.version}, this dashboard is ${daemon.dashboard_version}.`);
  }
  return texts.map((text) => html`<p class="banner mild" role="status" key=${text}>${text}</p>`);
}

const toMain = () => document.getElementById("main").focus();

function skip(event) {
  event.preventDefault(); // the address after # is the page's
  toMain();
}

// The words of the address after #: `#/host/dev/bastion`.
function read() {
  const words = location.hash.replace(/^#\/?/, "").split("/");
  try {
    return words.map(decodeURIComponent);
  } catch {
    return words;
  }
}

function useAddress() {
  const [words, setWords] = useState(read);
  useEffect(() => {
    const look = () => {
      setWords(read());
      toMain();
      scrollTo(0, 0);
    };
    addEventListener("hashchange", look);
  }, []);
  return words;
}

// `/` leads to the filter of a page.
function toFilter(event) {
  const filter = document.querySelector("input[type=search]");
  if (event.key !== "/" || !filter || event.target.closest("input, select, dialog")) return;
  event.preventDefault();
  filter.focus();
}

document.addEventListener("click", closeMenus);
document.addEventListener("keydown", closeMenus);
document.addEventListener("keydown", toFilter);
start();
const root = document.getElementById("page");
root.replaceChildren();
render(html`<${App} />`, root);
