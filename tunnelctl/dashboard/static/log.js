// The daemon's log: what it has, and each line as it comes.
import { html, useEffect, useState } from "./vendor/htm-preact.js";
import { Copy } from "./actions.js";
import { ask } from "./api.js";
import { problem } from "./notices.js";
import { Filter } from "./parts.js";
import { addLines, store } from "./store.js";
import { clock, commandLine, matches } from "./words.js";

const LINES = 500;
const LEVELS = ["DEBUG", "INFO", "WARNING", "ERROR"];
let isLoaded = false;

// The lines before the first that came by itself.
export function useLog() {
  useEffect(() => {
    if (isLoaded) return;
    isLoaded = true;
    ask(`/v1/logs?lines=${LINES}`).then(
      ({ lines }) => addLines(lines),
      (error) => {
        isLoaded = false;
        problem(error);
      },
    );
  }, []);
}

export function Log() {
  const [filter, setFilter] = useState("");
  const [level, setLevel] = useState("INFO");
  const [profile, setProfile] = useState("");
  useLog();
  const least = LEVELS.indexOf(level);
  const lines = store.log.filter(
    (line) => matches(line, filter) && LEVELS.indexOf(line.level) >= least &&
      [line.profile, ""].includes(profile),
  );
  const names = store.view.profiles.map(({ name }) => name);
  return html`
    <h1>Log</h1>
    <${Filter} value=${filter} onInput=${setFilter}>
      <${Choice} name="Profile" value=${profile} choose=${setProfile} among=${["", ...names]} />
      <${Choice} name="Level" value=${level} choose=${setLevel} among=${LEVELS} />
      <${Copy} text=${commandLine(["tunnelctl", "logs", ...(profile ? [profile] : []), "-f"])} />
    </${Filter}>
    <${LogLines} lines=${lines} />`;
}

const Choice = ({ name, value, choose, among }) => html`<label>${name} <select value=${value}
  onChange=${(event) => choose(event.target.value)}>
  ${among.map((one) => html`<option key=${one} value=${one}>${one || "all"}</option>`)}</select></label>`;

// The newest at the top, where it is seen.
export function LogLines({ lines }) {
  if (!lines.length) return html`<p class="empty">No lines.</p>`;
  return html`<ol class="log">${lines.toReversed().map((line, at) => html`<li
    key=${lines.length - at} data-level=${line.level}>
    <time datetime=${line.at}>${clock(line.at)}</time>
    <span class="level">${line.level}</span> <span>${line.message}</span></li>`)}</ol>`;
}
