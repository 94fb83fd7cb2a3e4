// One profile: what is broken in it, what can be done, its forwards, hosts, connections and log.
import { html } from "./vendor/htm-preact.js";
import { ActionList } from "./actions.js";
import { LogLines, useLog } from "./log.js";
import { Broken, closing } from "./overview.js";
import {
  Status, Table, connectionColumns, forwardColumns, hostColumns, usePolled,
} from "./parts.js";
import { store } from "./store.js";

const EVERY = 2000; // milliseconds
const LINES = 30;

export function Profile({ words: [name] }) {
  const { document: whole } = usePolled("/v1/view", EVERY);
  useLog();
  const { view, log } = store;
  const row = view.profiles.find((one) => one.name === name);
  if (!row) return html`<h1>${name}</h1><p class="empty">The daemon has no profile of this name.</p>`;
  const ours = (rows) => rows.filter((one) => one.profile === name);
  const curves = new Map((whole?.hosts ?? []).map((one) => [one.place, one]));
  return html`
    <h1>${name} <${Status} row=${row} /></h1>
    <p class="facts"><code>${row.source}</code><span>held by ${row.holders}</span>
      <span>for ${row.age}</span></p>
    <${Broken} view=${{ ...view, broken: ours(view.broken), summary: "" }} />
    <section><h2>Actions</h2><${ActionList} row=${row} /></section>
    <section><h2>Forwards</h2><${Table} caption="Forwards" columns=${forwardColumns}
      rows=${ours(view.forwards)} empty="No forwards." /></section>
    <section><h2>Hosts</h2><${Table} caption="Hosts" columns=${hostColumns(curves)}
      rows=${ours(view.hosts)} empty="No hosts." /></section>
    <section><h2>Connections</h2><${Table} caption="Connections"
      columns=${connectionColumns(closing)} keyOf=${(one) => one.id} rows=${ours(view.connections)}
      empty="No connections." /></section>
    <section><h2>Log</h2>
      <${LogLines} lines=${log.filter((line) => line.profile === name).slice(-LINES)} /></section>`;
}
