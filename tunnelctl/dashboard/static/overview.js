// The first page: what is broken, then forwards by profile, hosts, connections, and the log.
import { html, useState } from "./vendor/htm-preact.js";
import { Button, Copy, Menu } from "./actions.js";
import { LogLines, useLog } from "./log.js";
import {
  Filter, Status, Table, connectionColumns, forwardColumns, hostColumns, profileLink, usePolled,
} from "./parts.js";
import { store } from "./store.js";
import { matches } from "./words.js";

const EVERY = 4000; // milliseconds between two looks at the curves
const FEW = 8; // connections and log lines

export function Overview() {
  const [filter, setFilter] = useState("");
  const { document: whole } = usePolled("/v1/view", EVERY);
  useLog();
  const { view, log } = store;
  const curves = new Map((whole?.hosts ?? []).map((row) => [row.place, row]));
  const having = (rows) => rows.filter((row) => matches(row, filter));
  const connections = having(view.connections);
  return html`
    <${Broken} view=${view} />
    <${Filter} value=${filter} onInput=${setFilter} />
    <section><h2>Forwards</h2><${Forwards} rows=${having(view.forwards)} view=${view} /></section>
    <section><h2>Hosts</h2>
      <${Table} caption="Hosts" columns=${hostColumns(curves)} rows=${having(view.hosts)}
        empty="No hosts." /></section>
    <section><h2><a href="#/connections">Connections</a> <small>${connections.length}</small></h2>
      <${Table} caption="Connections" columns=${connectionColumns(closing)} keyOf=${(row) => row.id}
        rows=${connections.slice(0, FEW)} empty="No connections." /></section>
    <section><h2><a href="#/log">Log</a></h2><${LogLines} lines=${log.slice(-FEW)} /></section>`;
}

export const closing = (row) =>
  row.actions.map((action) => html`<${Button} action=${action} about=${row.place}
    key=${action.command} />`);

export function Broken({ view }) {
  if (!view.broken.length) {
    return html`<p class="fine"><span class="status" data-condition="up">Nothing is broken.</span>
      ${view.summary}</p>`;
  }
  return html`<section class="broken" aria-label="Broken">
    <h2>Broken <small>${view.broken.length}</small></h2>
    ${view.broken.map((one) => html`<${Cause} one=${one} key=${one.place + one.code} />`)}
  </section>`;
}

function Cause({ one }) {
  return html`<article class=${one.has_failed ? "cause failed" : "cause"}>
    <h3><a href=${profileLink(one.profile)}>${one.place}</a></h3>
    <p>${one.serves && `${one.serves} serves. `}${one.why}</p>
    ${one.also.length > 0 && html`<p class="hint">The same for ${one.also.join(", ")}</p>`}
    ${one.hint && one.hint !== one.mend.command && html`<p class="hint">${one.hint}</p>`}
    ${one.again && html`<p class="hint">${one.again.startsWith("in ") ? "Tried again " : ""}${one.again}</p>`}
    <div class="row">
      ${one.actions.map((action) => html`<span class="row" key=${action.command}>
        <${Button} action=${action} about=${one.place} main />
        <${Copy} text=${action.command} /></span>`)}
    </div>
  </article>`;
}

// By profile; the profile with the first row comes first, as what is broken is at the top.
function Forwards({ rows, view }) {
  const profiles = new Map(view.profiles.map((row) => [row.name, row]));
  const order = [...new Set(rows.map(({ profile }) => profile))];
  const sorted = order.flatMap((name) => rows.filter(({ profile }) => profile === name));
  return html`<${Table} caption="Forwards by profile" columns=${forwardColumns} rows=${sorted}
    group=${(row) => row.profile}
    heading=${(row) => html`<${ProfileLine} row=${profiles.get(row.profile)} />`}
    empty=${html`No forwards. <a href="#/add">Add one</a>, or bring a profile up:
      <code>tunnelctl up PROFILE -d</code>`} />`;
}

function ProfileLine({ row }) {
  return html`<div class="profile-line">
    <h3><a href=${profileLink(row.name)}>${row.name}</a></h3>
    <${Status} row=${row} />
    <span>${row.forwards_up} of ${row.forwards} up</span>
    <span class="wide">${row.holders}</span>
    <${Menu} row=${row} />
  </div>`;
}
