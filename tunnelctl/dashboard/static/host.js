// One host: its link, and the curves of ten minutes.
import { html, useEffect, useRef, useState } from "./vendor/htm-preact.js";
import { ActionList } from "./actions.js";
import { Part, Status, Table, forwardColumns, usePolled } from "./parts.js";
import { store } from "./store.js";
import { amount, clock } from "./words.js";

const STEP = 2; // seconds between two samples
const SAMPLES = 300;
const HEIGHT = 160;
const dark = matchMedia("(prefers-color-scheme: dark)");

export function Host({ words }) {
  const place = words.join("/");
  const { document: whole } = usePolled("/v1/view");
  const { view } = store;
  const here = (one) => one.place === place;
  const row = view.hosts.find(here);
  if (!row) return html`<h1>${place}</h1><p class="empty">The daemon has no host of this name.</p>`;
  const curves = whole?.hosts.find(here);
  const facts = {
    Address: row.address, "Round trip": row.round_trip, Server: row.server, Cipher: row.cipher,
    "Key exchange": row.kex, Links: row.links, Reconnects: row.reconnects,
    "Failed attempts": row.attempts, Fallback: row.fallback, "In this state for": row.age,
  };
  const forwards = view.forwards.filter((one) => `${one.profile}/${one.via}` === place);
  return html`<h1>${place} <${Status} row=${row} /></h1>
    ${row.error && html`<p class="trouble">${row.error}</p>`}
    <dl class="facts">${Object.entries(facts).map(([term, value]) =>
      value !== "" && html`<div key=${term}><dt>${term}</dt><dd>${value}</dd></div>`)}</dl>
    <${Part} name="Actions"><${ActionList} row=${row} /></${Part}>
    <${Part} name="Traffic"><${Curve} at=${whole?.at} unit="B/s" names=${["in", "out"]}
      values=${[curves?.curve_in ?? [], curves?.curve_out ?? []]} /></${Part}>
    <${Part} name="Round trip"><${Curve} at=${whole?.at} unit="ms" names=${["round trip"]}
      values=${[curves?.curve_rtt ?? []]} /></${Part}>
    <${Part} name="Forwards"><${Table} caption="Forwards" columns=${forwardColumns} rows=${forwards} /></${Part}>
    ${row.said.length > 0 && html`<${Part} name="The server says"><pre>${row.said.join("\n")}</pre></${Part}>`}`;
}

// Values of ten minutes that end at `at`, drawn by uPlot.
function Curve({ at, unit, names, values }) {
  const box = useRef(null);
  const plot = useRef(null);
  const [drawn, setDrawn] = useState(0);
  useEffect(() => {
    const draw = () => {
      if (!box.current) return;
      plot.current?.destroy();
      plot.current = new uPlot(options(box.current, unit, names), [[]], box.current);
      setDrawn((count) => count + 1);
    };
    loaded().then(draw);
    // A canvas knows neither the page's colours nor its width.
    dark.addEventListener("change", draw);
    addEventListener("resize", draw);
    return () => {
      dark.removeEventListener("change", draw);
      removeEventListener("resize", draw);
    };
  }, []);
  useEffect(() => {
    if (!drawn || !at) return;
    const end = Date.parse(at) / 1000;
    const times = Array.from({ length: SAMPLES }, (_, index) => end - (SAMPLES - 1 - index) * STEP);
    const padded = values.map((curve) => [...Array(SAMPLES - curve.length).fill(null), ...curve]);
    plot.current.setData([times, ...padded]);
  }, [drawn, at]);
  const most = Math.max(0, ...values.flat());
  return html`<div class="curve" ref=${box} role="img"
    aria-label=${`${names.join(" and ")} in ten minutes, at most ${written(most, unit)}`}></div>`;
}

function options(box, unit, names) {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name);
  const axis = { stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
  const time = (seconds) => clock(seconds * 1000);
  const text = (value) => (value == null ? "-" : written(value, unit));
  const series = names.map((label, at) => ({
    label, stroke: colour(at ? "--warn" : "--accent"), points: { show: false }, value: (_, value) => text(value),
  }));
  return {
    width: Math.max(box.clientWidth - 12, 200),
    height: HEIGHT,
    cursor: { drag: { x: false } },
    scales: { y: { range: (_, low, high) => [0, Math.max(1.1 * (high ?? 0), 1)] } },
    axes: [
      { ...axis, space: 80, values: (_, ticks) => ticks.map(time) },
      { ...axis, size: 64, values: (_, ticks) => ticks.map(text) },
    ],
    series: [{ value: (_, seconds) => (seconds == null ? "-" : time(seconds)) }, ...series],
  };
}

const written = (value, unit) => `${unit === "ms" ? value.toFixed(1) : amount(value)} ${unit}`;

let loading;

// uPlot is no module; it is loaded where the first curve is.
const loaded = () => (loading ??= new Promise((onload) => {
  const script = document.createElement("script");
  document.head.append(Object.assign(script, { src: "/static/vendor/uPlot.js", onload }));
}));
