// What is broken, then forwards by profile, hosts, connections, and the log: of all profiles on the
// first page, of one on its own.
import { html, useState } from "./vendor/htm-preact.js";
import { ActionList, Button, Copy, Menu } from "./actions.js";
import { LogLines, useLog } from "./log.js";
import {
  Filter, Part, Status, Table, connectionColumns, forwardColumns, hostColumns, profileLink, usePolled,
} from "./parts.js";
import { store } from "./store.js";
import { matches } from "./words.js";

const EVERY = 4000; // milliseconds, for the curves
const FEW = 8; // connections and log lines

export function Overview() {
  const [filter, setFilter] = useState("");
  const { view } = store;
  return html`<h1 class="unseen">Overview</h1>
    <${Broken} causes=${view.broken} fine=${view.summary} />
    <${Filter} value=${filter} onInput=${setFilter} />
    <${Rows} has=${(row) => matches(row, filter)} />`;
}

export function Profile({ words: [name] }) {
  const { view } = store;
  const row = view.profiles.find((one) => one.name === name);
  if (!row) return html`<h1>${name}</h1><p class="empty">The daemon has no profile of this name.</p>`;
  const has = (one) => one.profile === name;
  return html`<h1>${name} <${Status} row=${row} /></h1>
    <p class="facts"><code>${row.source}</code><span>held by ${row.holders}</span>
      <span>for ${row.age}</span></p>
    <${Broken} causes=${view.broken.filter(has)} />
    <${Part} name="Actions"><${ActionList} row=${row} /></${Part}>
    <${Rows} has=${has} />`;
}

function Rows({ has }) {
  const { document: whole } = usePolled("/v1/view", EVERY);
  useLog();
  const { view, log } = store;
  const curves = new Map(whole?.hosts.map((row) => [row.place, row]));
  const connections = view.connections.filter(has);
  const count = html`<a href="#/connections">Connections</a> <small>${connections.length}</small>`;
  return html`
    <${Part} name="Forwards"><${Forwards} rows=${view.forwards.filter(has)} view=${view} /></${Part}>
    <${Part} name="Hosts"><${Table} caption="Hosts" columns=${hostColumns(curves)}
      rows=${view.hosts.filter(has)} /></${Part}>
    <${Part} name=${count}><${Table} caption="Connections" columns=${connectionColumns}
      rows=${connections.slice(0, FEW)} /></${Part}>
    <${Part} name=${html`<a href="#/log">Log</a>`}>
      <${LogLines} lines=${log.filter(has).slice(-FEW)} /></${Part}>`;
}

function Broken({ causes, fine }) {
  if (!causes.length) {
    return fine && html`<p class="fine"><span class="status">Nothing is broken.</span> ${fine}</p>`;
  }
  return html`<${Part} name=${html`Broken <small>${causes.length}</small>`}>
    ${causes.map((one) => html`<${Cause} one=${one} key=${one.place + one.code} />`)}</${Part}>`;
}

function Cause({ one }) {
  const hint = one.hint !== one.mend.command && one.hint;
  return html`<article class=${one.has_failed ? "cause failed" : "cause"}>
    <h3>${profileLink(one.profile, one.place)}</h3>
    <p>${one.serves && `${one.serves} serves. `}${one.why}</p>
    ${one.also.length > 0 && html`<p class="hint">The same for ${one.also.join(", ")}</p>`}
    ${hint && html`<p class="hint">${hint}</p>`}
    <p class="hint">${one.again.startsWith("in ") && "Tried again "}${one.again}</p>
    ${one.actions.map((action) => html`<p class="row" key=${action.command}>
      <${Button} action=${action} about=${one.place} main /><${Copy} text=${action.command} /></p>`)}
  </article>`;
}

// By profile; the profile with the first row comes first, as what is broken is at the top.
function Forwards({ rows, view }) {
  const sorted = [...Map.groupBy(rows, (row) => row.profile).values()].flat();
  const profiles = new Map(view.profiles.map((row) => [row.name, row]));
  return html`<${Table} caption="Forwards by profile" columns=${forwardColumns} rows=${sorted}
    group=${(row) => row.profile}
    heading=${(row) => html`<${ProfileLine} row=${profiles.get(row.profile)} />`}
    empty=${!view.forwards.length && html`None. <a href="#/add">Add one</a>, or bring a profile up:
      <code>tunnelctl up PROFILE -d</code>`} />`;
}

const ProfileLine = ({ row }) => html`<div class="profile-line">
  <h3>${profileLink(row.name)}</h3><${Status} row=${row} />
  <span>${row.forwards_up} of ${row.forwards} up</span><span class="wide">${row.holders}</span>
  <${Menu} row=${row} /></div>`;
