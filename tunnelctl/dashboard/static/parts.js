// What several pages are made of: states, tables, filters, small curves.
import { html, useEffect, useState } from "./vendor/htm-preact.js";
import { ask } from "./api.js";
import { Button, Menu } from "./actions.js";
import { amount } from "./words.js";

const ROWS = 200; // of a table, until all are asked for

const link = (page) => (place, text = place) =>
  html`<a href=${`#/${page}/${place.split("/").map(encodeURIComponent).join("/")}`}>${text}</a>`;
export const profileLink = link("profile");
const hostLink = link("host");

// A state in words, with a mark whose shape differs too.
export const Status = ({ row }) =>
  html`<span class="status" data-condition=${row.condition}>${row.status}</span>`;

export const Part = ({ name, children }) => html`<section><h2>${name}</h2>${children}</section>`;

// A table; on a narrow page each row is a block, with the names of the columns. A column is
// [name, cell, class], where cell is a function of the row or the name of its member; class `wide`
// is left out where space is short. heading(row) is above the first row of each group(row).
export function Table({ caption, columns, rows, empty, group, heading }) {
  const [isAll, setAll] = useState(false);
  if (!rows.length) return html`<p class="empty">${empty || "None."}</p>`;
  const shown = isAll ? rows : rows.slice(0, ROWS);
  return html`<table>
      <caption class="unseen">${caption}</caption>
      <thead><tr>${columns.map(([name, , kind]) =>
        html`<th scope="col" class=${kind} key=${name}>${name}</th>`)}</tr></thead>
      <tbody>${shown.map((row, at) => html`
        ${heading && group(row) !== group(shown[at - 1] ?? {}) && html`<tr key=${group(row)}
          class="heading"><th scope="rowgroup" colspan=${columns.length}>${heading(row)}</th></tr>`}
        <tr key=${row.id ?? row.place}>${columns.map(([name, cell, kind]) => html`<td key=${name}
          data-name=${name} class=${kind}>${typeof cell === "string" ? row[cell] : cell(row)}</td>`)}</tr>`)}</tbody>
    </table>
    ${shown.length < rows.length && html`<p><button onClick=${() => setAll(true)}>
      Show all ${rows.length}</button></p>`}`;
}

const status = ["Status", (row) => html`<${Status} row=${row} />`];
const target = ["Target", (row) => html`<code>${row.target}</code>`];
const rates = ["In/out per s", "rates", "number"];
const menu = ["", (row) => html`<${Menu} row=${row} />`];

export const forwardColumns = [
  ["Forward", (row) => html`<b>${row.name}</b>`],
  status,
  ["Type", "type", "wide"],
  ["Listen", (row) => html`<code>${row.listen}</code>`],
  target,
  ["Via", (row) => (row.name ? hostLink(`${row.profile}/${row.via}`, row.via) : "")],
  ["Conns", "connections", "number"],
  rates,
  ["Age", "age", "number wide"],
  menu,
];

export const hostColumns = (curves) => [
  ["Host", (row) => hostLink(row.place)],
  status,
  ["Address", (row) => html`<code>${row.address}</code>`, "wide"],
  ["Round trip", "round_trip", "number"],
  ["Cipher", "cipher", "wide"],
  ["Reconnects", "reconnects", "number"],
  rates,
  ["Ten minutes", (row) => html`<${Spark} row=${curves.get(row.place)} />`, "wide"],
  menu,
];

const client = ["Client", (row) => html`<code>${row.client}</code> ${row.process}`];
const forward = ["Forward", (row) => profileLink(row.profile, row.place)];
const moved = ["In/out", "moved", "number"];
const close = (row) => row.actions.map((action) =>
  html`<${Button} action=${action} about=${row.place} key=${action.command} />`);

export const connectionColumns = [
  client, forward, target, status, moved, rates, ["Age", "age", "number"], ["", close, "number"],
];
export const endedColumns = [client, forward, target, status, moved, ["Why", "error"]];

// Bytes a second of ten minutes, both ways together.
function Spark({ row }) {
  const values = (row?.curve_in ?? []).map((value, at) => value + (row.curve_out[at] ?? 0));
  const most = Math.max(...values, 0);
  const points = values.map((value, at) =>
    `${((at + 300 - values.length) / 3).toFixed(1)},${(19 - (value / (most || 1)) * 18).toFixed(1)}`);
  return html`<svg class="spark" viewBox="0 0 100 20" preserveAspectRatio="none" role="img"
    aria-label=${`at most ${amount(most)} bytes per second`}>
    <polyline points=${points.join(" ")} /></svg>`;
}

// A field whose words every shown row has.
export const Filter = ({ value, onInput, children }) => html`<div class="filter">
  <label>Filter <input type="search" value=${value} placeholder="press /"
    onInput=${(event) => onInput(event.target.value)} /></label>${children}</div>`;

// A document, read again every so many milliseconds while the page is seen; and why it is not there.
export function usePolled(path, every = 2000) {
  const [result, setResult] = useState({});
  useEffect(() => {
    let isOver = false;
    const look = async () => {
      const read = document.hidden ? {} : await ask(path).then(
        (found) => ({ document: found, error: null }),
        (error) => ({ error }),
      );
      if (isOver) return;
      setResult((now) => ({ ...now, ...read }));
      setTimeout(() => isOver || look(), every);
    };
    look();
    return () => (isOver = true);
  }, [path, every]);
  return result;
}

export const Trouble = ({ error }) =>
  error && html`<p class="trouble" role="alert">${error.message} <span class="hint">${error.hint}</span></p>`;
