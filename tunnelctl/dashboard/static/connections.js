// Every open connection, with the process of its client, and the last that ended.
import { html, useState } from "./vendor/htm-preact.js";
import { closing } from "./overview.js";
import { Filter, Table, Trouble, connectionColumns, usePolled } from "./parts.js";
import { store } from "./store.js";
import { clock, matches } from "./words.js";

const EVERY = 2000; // milliseconds

export function Connections() {
  const [filter, setFilter] = useState("");
  // The daemon looks for the processes only when it is asked for them.
  const { document: whole, error } = usePolled("/v1/view", EVERY);
  const processes = new Map((whole?.connections ?? []).map((row) => [row.id, row.process]));
  const { view } = store;
  const open = view.connections.map((row) => ({ ...row, process: processes.get(row.id) ?? "" }));
  const having = (rows) => rows.filter((row) => matches(row, filter));
  const ended = connectionColumns((row) => row.error).map((column) =>
    column.name === "" ? { ...column, name: "Why" } : column,
  );
  return html`
    <h1>Connections <small>${open.length}</small></h1>
    <${Trouble} error=${error} />
    <${Filter} value=${filter} onInput=${setFilter}>
      <code class="equal">tunnelctl connections</code></${Filter}>
    <${Table} caption="Open connections" columns=${connectionColumns(closing)}
      keyOf=${(row) => row.id} rows=${having(open)} empty="No connections." />
    <section><h2>Ended <small>${view.ended.length}</small></h2>
      <${Table} caption="Ended connections" keyOf=${(row) => row.id} rows=${having(view.ended)}
        columns=${ended.map((column) => (column.name === "Age" ? until : column))}
        empty="None has ended yet." /></section>`;
}

const until = { name: "Ended at", cell: (row) => clock(row.until), number: true };
