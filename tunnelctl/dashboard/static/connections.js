// Every open connection, with the process of its client, and the last that ended.
import { html, useState } from "./vendor/htm-preact.js";
import { Copy } from "./actions.js";
import { Filter, Part, Table, Trouble, connectionColumns, endedColumns, usePolled } from "./parts.js";
import { store } from "./store.js";
import { matches } from "./words.js";

export function Connections() {
  const [filter, setFilter] = useState("");
  // The daemon looks for the processes only when it is asked for them.
  const { document: whole, error } = usePolled("/v1/view");
  const processes = new Map(whole?.connections.map((row) => [row.id, row.process]));
  const open = store.view.connections.map((row) => ({ ...row, process: processes.get(row.id) }));
  const table = (caption, columns, rows) => html`<${Table} caption=${caption} columns=${columns}
    rows=${rows.filter((row) => matches(row, filter))} />`;
  return html`<h1>Connections <small>${open.length}</small></h1>
    <${Trouble} error=${error} />
    <${Filter} value=${filter} onInput=${setFilter}><${Copy} text="tunnelctl connections" /></${Filter}>
    ${table("Open connections", connectionColumns, open)}
    <${Part} name="Ended">${table("Ended connections", endedColumns, store.view.ended)}</${Part}>`;
}
