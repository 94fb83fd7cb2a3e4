// What several pages are made of: states, tables, filters, small curves.
import { html, useEffect, useRef, useState } from "./vendor/htm-preact.js";
import { ask } from "./api.js";
import { Menu } from "./actions.js";
import { amount } from "./words.js";

const ROWS = 200; // of a table, until all are asked for

export const profileLink = (name) => `#/profile/${encodeURIComponent(name)}`;
export const hostLink = (place) => `#/host/${place.split("/").map(encodeURIComponent).join("/")}`;

// A state in words, with a mark whose shape differs too.
export const Status = ({ row }) =>
  html`<span class="status" data-condition=${row.condition}>${row.status}</span>`;

// A table; on a narrow page each row is a block, with the names of the columns. A column is
// { name, cell(row), number, wide }; `wide` columns are left out where space is short. `heading` of
// a row, if given, is above the first of the rows that have the same `group`.
export function Table({ caption, columns, rows, keyOf = place, empty, group, heading }) {
  const [isAll, setAll] = useState(false);
  if (!rows.length) return html`<p class="empty">${empty}</p>`;
  const shown = isAll ? rows : rows.slice(0, ROWS);
  return html`<table>
      <caption class="unseen">${caption}</caption>
      <thead><tr>${columns.map(({ name, number, wide }) =>
        html`<th scope="col" class=${classes(number, wide)} key=${name}>${name}</th>`)}</tr></thead>
      <tbody>${shown.map((row, at) => html`
        ${heading && group(row) !== group(shown[at - 1] ?? {}) && html`<tr key=${group(row)}
          class="heading"><th scope="rowgroup" colspan=${columns.length}>${heading(row)}</th></tr>`}
        <tr key=${keyOf(row)}>${columns.map(({ name, cell, number, wide }) => html`<td key=${name}
          data-name=${name} class=${classes(number, wide)}>${cell(row)}</td>`)}</tr>`)}</tbody>
    </table>
    ${shown.length < rows.length && html`<p><button type="button" onClick=${() => setAll(true)}>
      Show all ${rows.length}</button></p>`}`;
}

const place = (row) => row.place;

const classes = (number, wide) => [number && "number", wide && "wide"].filter(Boolean).join(" ");

const menu = { name: "", cell: (row) => row.actions.length > 0 && html`<${Menu} row=${row} />` };

export const forwardColumns = [
  { name: "Forward", cell: (row) => html`<b>${row.name}</b>` },
  { name: "Status", cell: (row) => html`<${Status} row=${row} />` },
  { name: "Type", cell: (row) => row.type, wide: true },
  { name: "Listen", cell: (row) => html`<code>${row.listen}</code>` },
  { name: "Target", cell: (row) => html`<code>${row.target}</code>` },
  { name: "Via", cell: via },
  { name: "Conns", cell: (row) => row.connections, number: true },
  { name: "In/out per s", cell: (row) => row.rates, number: true },
  { name: "Age", cell: (row) => row.age, number: true, wide: true },
  menu,
];

function via(row) {
  return row.name ? html`<a href=${hostLink(`${row.profile}/${row.via}`)}>${row.via}</a>` : row.via;
}

export const hostColumns = (curves) => [
  { name: "Host", cell: (row) => html`<a href=${hostLink(row.place)}>${row.place}</a>` },
  { name: "Status", cell: (row) => html`<${Status} row=${row} />` },
  { name: "Address", cell: (row) => html`<code>${row.address}</code>`, wide: true },
  { name: "Round trip", cell: (row) => row.round_trip, number: true },
  { name: "Cipher", cell: (row) => row.cipher, wide: true },
  { name: "Reconnects", cell: (row) => row.reconnects, number: true },
  { name: "In/out per s", cell: (row) => row.rates, number: true },
  { name: "Ten minutes", cell: (row) => html`<${Spark} row=${curves.get(row.place)} />`, wide: true },
  menu,
];

export const connectionColumns = (close) => [
  { name: "Client", cell: (row) => html`<code>${row.client}</code> ${row.process}` },
  { name: "Forward", cell: (row) => html`<a href=${profileLink(row.profile)}>${row.place}</a>` },
  { name: "Target", cell: (row) => html`<code>${row.target}</code>` },
  { name: "Status", cell: (row) => html`<${Status} row=${row} />` },
  { name: "In/out", cell: (row) => row.moved, number: true },
  { name: "In/out per s", cell: (row) => row.rates, number: true },
  { name: "Age", cell: (row) => row.age, number: true },
  { name: "", cell: close },
];

// Bytes a second of ten minutes, both ways together.
function Spark({ row }) {
  const values = (row?.curve_in ?? []).map((value, at) => value + (row.curve_out[at] ?? 0));
  if (values.length < 2) return null;
  const highest = Math.max(...values, 1);
  const points = values.map((value, at) =>
    `${((at + 300 - values.length) / 3).toFixed(1)},${(19 - (value / highest) * 18).toFixed(1)}`);
  return html`<svg class="spark" viewBox="0 0 100 20" preserveAspectRatio="none" role="img"
    aria-label=${`at most ${amount(highest)} bytes per second`}>
    <polyline points=${points.join(" ")} /></svg>`;
}

// A field whose words every shown row has; `/` leads to it.
export function Filter({ value, onInput, children }) {
  const field = useRef(null);
  useEffect(() => {
    const look = (event) => {
      if (event.key !== "/" || event.target.closest("input, textarea, select, dialog")) return;
      event.preventDefault();
      field.current.focus();
    };
    document.addEventListener("keydown", look);
    return () => document.removeEventListener("keydown", look);
  }, []);
  return html`<div class="filter"><label>Filter <input type="search" ref=${field} value=${value}
    placeholder="press /" onInput=${(event) => onInput(event.target.value)} /></label>${children}</div>`;
}

// A document, read again every so many milliseconds while the page is seen; and why it is not there.
export function usePolled(path, every) {
  const [result, setResult] = useState({ document: null, error: null });
  useEffect(() => {
    let timer;
    let ended = false;
    const look = async () => {
      if (!document.hidden) {
        const read = await ask(path).then(
          (found) => ({ document: found, error: null }),
          (error) => ({ document: null, error }),
        );
        if (ended) return;
        setResult((now) => (read.error ? { ...now, error: read.error } : read));
      }
      timer = setTimeout(look, every);
    };
    setResult({ document: null, error: null });
    look();
    return () => {
      ended = true;
      clearTimeout(timer);
    };
  }, [path, every]);
  return result;
}

export const Trouble = ({ error }) =>
  error && html`<p class="trouble" role="alert">${error.message}${error.hint && html`
    <span class="hint"> (${error.hint})</span>`}</p>`;
