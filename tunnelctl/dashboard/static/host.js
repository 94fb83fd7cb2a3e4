// One host: its link, and the curves of ten minutes.
import { html, useEffect, useRef, useState } from "./vendor/htm-preact.js";
import { ActionList } from "./actions.js";
import { Status, Table, forwardColumns, usePolled } from "./parts.js";
import { store } from "./store.js";
import { amount, clock } from "./words.js";

const EVERY = 2000; // milliseconds
const STEP = 2; // seconds between two samples
const SAMPLES = 300;
const HEIGHT = 160;

export function Host({ words: [profile, name] }) {
  const place = `${profile}/${name}`;
  const { document: whole } = usePolled("/v1/view", EVERY);
  const { view } = store;
  const row = view.hosts.find((one) => one.place === place);
  if (!row) return html`<h1>${place}</h1><p class="empty">The daemon has no host of this name.</p>`;
  const curves = whole?.hosts.find((one) => one.place === place);
  const facts = {
    Address: row.address, "Round trip": row.round_trip, Server: row.server, Cipher: row.cipher,
    "Key exchange": row.kex, Links: row.links, Reconnects: row.reconnects,
    "Failed attempts": row.attempts, Fallback: row.fallback, "In this state for": row.age,
  };
  return html`
    <h1>${place} <${Status} row=${row} /></h1>
    ${row.error && html`<p class="trouble">${row.error}</p>`}
    <dl class="facts">${Object.entries(facts).filter(([, value]) => value !== "").map(
      ([term, value]) => html`<div key=${term}><dt>${term}</dt><dd>${value}</dd></div>`)}</dl>
    <section><h2>Actions</h2><${ActionList} row=${row} /></section>
    <section><h2>Traffic <small>${row.rates} bytes per second, in/out</small></h2>
      <${Curve} at=${whole?.at} unit="B/s" names=${["in", "out"]}
        values=${[curves?.curve_in ?? [], curves?.curve_out ?? []]} /></section>
    <section><h2>Round trip <small>${row.round_trip}</small></h2>
      <${Curve} at=${whole?.at} unit="ms" names=${["round trip"]}
        values=${[curves?.curve_rtt ?? []]} /></section>
    <section><h2>Forwards</h2><${Table} caption="Forwards" columns=${forwardColumns}
      rows=${view.forwards.filter((one) => one.profile === profile && one.via === name)}
      empty="No forwards." /></section>
    ${row.said.length > 0 && html`<section><h2>The server says</h2>
      <pre>${row.said.join("\n")}</pre></section>`}`;
}

// Values of ten minutes that end at `at`, drawn by uPlot.
function Curve({ at, unit, names, values }) {
  const box = useRef(null);
  const plot = useRef(null);
  const [isReady, setReady] = useState(Boolean(window.uPlot));
  const scheme = useScheme();
  useEffect(() => {
    loadPlot().then(() => setReady(true));
  }, []);
  useEffect(() => {
    if (!isReady) return undefined;
    plot.current = new window.uPlot(options(box.current, unit, names), [[], ...names.map(() => [])], box.current);
    const watch = new ResizeObserver(() => plot.current.setSize(sizeOf(box.current)));
    watch.observe(box.current);
    return () => {
      watch.disconnect();
      plot.current.destroy();
    };
  }, [isReady, scheme]);
  useEffect(() => {
    if (!isReady || !at) return;
    const end = Date.parse(at) / 1000;
    const times = Array.from({ length: SAMPLES }, (_, index) => end - (SAMPLES - 1 - index) * STEP);
    const padded = values.map((curve) => [...Array(SAMPLES - curve.length).fill(null), ...curve]);
    plot.current.setData([times, ...padded]);
  }, [isReady, scheme, at]);
  const known = values.flat().filter((value) => value != null);
  const most = known.length ? `at most ${written(Math.max(...known), unit)} ${unit}` : "no values yet";
  return html`<div class="curve" ref=${box} role="img"
    aria-label=${`${names.join(" and ")} in ten minutes, ${most}`}></div>`;
}

function options(box, unit, names) {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const text = (value) => (value == null ? "-" : `${written(value, unit)} ${unit}`);
  const axis = {
    stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false },
    font: "11px system-ui, sans-serif",
  };
  const strokes = [colour("--accent"), colour("--warn")];
  return {
    ...sizeOf(box),
    cursor: { drag: { x: false, y: false } },
    scales: { y: { range: (_, low, high) => [0, Math.max(1.1 * (high ?? 0), 1)] } },
    axes: [{ ...axis, space: 80, values: (_, ticks) => ticks.map(timeOf) }, { ...axis, size: 64, values: (_, ticks) => ticks.map(text) }],
    series: [{ value: (_, seconds) => (seconds == null ? "-" : timeOf(seconds)) }, ...names.map((label, index) => ({
      label, stroke: strokes[index], width: 1.5, points: { show: false }, value: (_, value) => text(value),
    }))],
  };
}

const written = (value, unit) => (unit === "ms" ? value.toFixed(1) : amount(value));

const timeOf = (seconds) => clock(seconds * 1000);

const sizeOf = (box) => ({ width: Math.max(box.clientWidth, 200), height: HEIGHT });

let loading = null;

// uPlot is no module; it is loaded where the first curve is.
function loadPlot() {
  loading ??= new Promise((resolve) => {
    const script = document.createElement("script");
    script.src = "/static/vendor/uPlot.js";
    script.onload = resolve;
    document.head.append(script);
  });
  return loading;
}

// Dark or light: a canvas has its own colours.
function useScheme() {
  const [isDark, setDark] = useState(matchMedia("(prefers-color-scheme: dark)").matches);
  useEffect(() => {
    const query = matchMedia("(prefers-color-scheme: dark)");
    const look = () => setDark(query.matches);
    query.addEventListener("change", look);
    return () => query.removeEventListener("change", look);
  }, []);
  return isDark;
}
