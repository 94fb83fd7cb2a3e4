// The page: its head, the pages by the address after #, and what is said while nobody answers.
import { html, render, useEffect, useState } from "./vendor/htm-preact.js";
import { CommandLine, Copy, closeMenus } from "./actions.js";
import { Add } from "./add.js";
import { Connections } from "./connections.js";
import { Dialog } from "./dialog.js";
import { Host } from "./host.js";
import { Log } from "./log.js";
import { Notices } from "./notices.js";
import { Overview } from "./overview.js";
import { Profile } from "./profile.js";
import { Requests } from "./requests.js";
import { start, useStore } from "./store.js";

const PAGES = {
  "": Overview, profile: Profile, host: Host, connections: Connections, requests: Requests, log: Log,
  add: Add,
};
const LINKS = [["", "Overview"], ["connections", "Connections"], ["requests", "Requests"], ["log", "Log"], ["add", "Add a forward"]];

function App() {
  const words = useAddress();
  const { view, daemon, lost } = useStore();
  const [name] = words;
  const Page = PAGES[name] ?? Overview;
  const isOld = Boolean(lost) || daemon?.answers === false;
  useTitle(view, isOld);
  return html`
    <a class="skip" href="#main" onClick=${skip}>Skip to the content</a>
    <header>
      <a class="brand" href="#/"><img src="/static/icon.svg" alt="" width="20" height="20" />tunnelctl</a>
      <nav aria-label="Pages">${LINKS.map(([to, text]) => html`<a href=${`#/${to}`} key=${to}
        aria-current=${name === to ? "page" : null}>${text}</a>`)}</nav>
      ${daemon?.read_only && html`<span class="badge">read-only</span>`}
    </header>
    <${Said} daemon=${daemon} lost=${lost} view=${view} />
    <main id="main" tabindex="-1" class=${isOld ? "old" : ""}>
      ${view ? html`<${Page} key=${words.join("/")} words=${words.slice(1)} />`
        : html`<p class="first">${isOld ? "Nothing is known yet." : "Waiting for the daemon…"}</p>`}
    </main>
    <${CommandLine} />
    <${Notices} />
    <${Dialog} />`;
}

// Who does not answer, or is another one than this page was made for; and what the daemon warns of.
function Said({ daemon, lost, view }) {
  if (lost === "refused") {
    return html`<${Banner} text="This page is not logged in any more: another dashboard listens here."
      command="tunnelctl dashboard" />`;
  }
  if (lost) {
    return html`<${Banner} text="The dashboard does not answer; it may have ended."
      command="tunnelctl dashboard" />`;
  }
  if (daemon && !daemon.answers) {
    return html`<${Banner} text=${`${sentence(daemon.message)}. What you see is from before.`}
      hint=${daemon.hint} />`;
  }
  const isOther = daemon?.version && daemon.version !== daemon.dashboard_version;
  return html`
    ${isOther && html`<p class="banner mild" role="status">The daemon is version ${daemon.version}, this
      dashboard is ${daemon.dashboard_version}.</p>`}
    ${view?.warnings.map((text) => html`<p class="banner mild" role="status" key=${text}>${text}</p>`)}`;
}

const Banner = ({ text, hint, command }) => html`<div class="banner" role="alert"><p>${text}
  ${hint && html`<span class="hint"> (${hint})</span>`}</p>${command && html`<${Copy} text=${command} />`}</div>`;

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);

function skip(event) {
  event.preventDefault(); // the address after # is the page's
  document.getElementById("main").focus();
}

// The words of the address after #: `#/host/dev/bastion`.
function useAddress() {
  const read = () => location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  const [words, setWords] = useState(read);
  useEffect(() => {
    const look = () => {
      setWords(read());
      document.getElementById("main").focus();
      scrollTo(0, 0);
    };
    addEventListener("hashchange", look);
    return () => removeEventListener("hashchange", look);
  }, []);
  return words;
}

// A tab that is not looked at says what is broken.
function useTitle(view, isOld) {
  const count = view?.broken.length ?? 0;
  useEffect(() => {
    document.title = isOld ? "tunnelctl: no answer" : count ? `(${count}) tunnelctl` : "tunnelctl";
  }, [isOld, count]);
}

document.addEventListener("click", closeMenus);
document.addEventListener("keydown", closeMenus);
start();
const root = document.getElementById("page");
root.replaceChildren();
render(html`<${App} />`, root);
