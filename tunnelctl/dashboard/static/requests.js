// What went through a forward with `inspect: http`: a list, one exchange, and sending it again.
import { html, useEffect, useState } from "./vendor/htm-preact.js";
import { Copy } from "./actions.js";
import { order, requestsPath } from "./api.js";
import { run } from "./notices.js";
import { Filter, Table, Trouble, usePolled } from "./parts.js";
import { store, takesOrders } from "./store.js";
import { amount, clock, commandLine, matches, took } from "./words.js";

const EVERY = 3000; // milliseconds, for what was not inspected
const LAST = 100; // exchanges

export function Requests({ words }) {
  const places = store.view.forwards.flatMap((row) => (row.is_inspected && row.is_wanted ? row.place : []));
  const place = words.join("/") || places[0];
  if (!places.includes(place)) {
    return html`<h1>Requests</h1><p class="empty">${place ? `${place} is not inspected, or is down.` :
      "No forward is inspected."} With <code>inspect: http</code> in the profile its requests are
      shown here, or of a local service: <code>tunnelctl expose PORT --via HOST --inspect</code></p>`;
  }
  return html`<h1>Requests</h1><nav class="facts" aria-label="Inspected forwards">
    ${places.map((one) => html`<a key=${one} href=${`#/requests/${one}`}
      aria-current=${one === place ? "page" : null}>${one}</a>`)}</nav>
    <${Exchanges} key=${place} place=${place} />`;
}

function Exchanges({ place }) {
  const [filter, setFilter] = useState("");
  const [chosen, setChosen] = useState("");
  const exchanges = useExchanges(place);
  const { document: summary, error } = usePolled(`${requestsPath(place)}?n=0`, EVERY);
  const rows = exchanges.filter((one) => matches(one, filter)).reverse();
  const one = exchanges.find(({ id }) => id === chosen);
  const columns = [
    ["Path", (row) => html`<button class="link" aria-pressed=${row.id === chosen}
      onClick=${() => setChosen(row.id)}>${row.method} ${row.path}</button>`],
    ["Status", (row) => html`<span class=${`code${String(row.status)[0]}`}>${row.status ?? "…"}</span>`],
    ["Took", (row) => took(row.duration_ms), "number"],
    ["Size", (row) => amount(row.response?.size ?? 0), "number"],
    ["At", (row) => clock(row.started_at), "number"],
  ];
  return html`<${Trouble} error=${error} />
    <${Filter} value=${filter} onInput=${setFilter}>
      <${Copy} text=${commandLine(["tunnelctl", "requests", place, "-f"])} /></${Filter}>
    ${summary && html`<${NotInspected} summary=${summary} />`}
    <div class=${one && "beside"}>
      <div><${Table} caption="Requests, the newest first" columns=${columns} rows=${rows} /></div>
      ${one && html`<${Exchange} key=${one.id} one=${one} place=${place} />`}
    </div>`;
}

// The last exchanges, each as it is now. A tab that nobody sees gives its stream back.
function useExchanges(place) {
  const [exchanges, setExchanges] = useState([]);
  useEffect(() => {
    let source, timer;
    const look = () => {
      source?.close();
      if (document.hidden) return;
      const found = new Map();
      source = new EventSource(`${requestsPath(place)}?follow=1&n=${LAST}`);
      source.addEventListener("request", ({ data }) => {
        const exchange = JSON.parse(data);
        found.set(exchange.id, exchange);
        if (found.size > LAST) found.delete(found.keys().next().value);
        setExchanges([...found.values()]);
      });
      // Refused, as while there is no daemon: the browser does not try again.
      source.onerror = () => source.readyState === 2 && (timer = setTimeout(look, EVERY));
    };
    look();
    document.addEventListener("visibilitychange", look);
    return () => {
      document.removeEventListener("visibilitychange", look);
      clearTimeout(timer);
      source?.close();
    };
  }, [place]);
  return exchanges;
}

function NotInspected({ summary }) {
  const { connections, bytes, reasons } = summary.not_inspected;
  const why = Object.entries(reasons).filter(([, count]) => count).map((pair) => pair.join(" "));
  return html`<p class="hint">${summary.dropped > 0 && `${summary.dropped} requests dropped. `}
    ${connections > 0 && `Not inspected: ${connections} connections, ${amount(bytes)} bytes (${why.join(", ")}).`}</p>`;
}

function Exchange({ one, place }) {
  const [answer, setAnswer] = useState();
  const command = commandLine(["tunnelctl", "requests", place, "--replay", one.id]);
  const replay = async () => {
    const path = `${requestsPath(place)}/${encodeURIComponent(one.id)}/replay`;
    setAnswer(await run(order(path), command, "Sent again"));
  };
  return html`<article class="exchange" aria-label=${`Request ${one.id}`}>
    <h2>${one.method} ${one.path}</h2>
    <p class="row"><button data-command=${command} disabled=${!takesOrders()}
      onClick=${replay}>Send again</button><${Copy} text=${command} /></p>
    ${answer?.left_out.length > 0 && html`<p class="hint">Sent without ${answer.left_out.join(", ")}</p>`}
    ${answer && html`<${Message} title=${`Answer ${answer.status}`} message=${answer} />`}
    <${Message} title="Request" message=${one.request} />
    ${one.response && html`<${Message} title=${`Response ${one.status}`} message=${one.response} />`}
    ${one.websocket?.length > 0 && html`<h3>Websocket frames</h3><pre>${one.websocket.map(
      (frame) => `${clock(frame.at)} ${frame.from} ${frame.kind} ${frame.size}\n`)}</pre>`}
  </article>`;
}

function Message({ title, message }) {
  const body = message.body ?? message.body_base64;
  return html`<h3>${title} <small>${amount(message.size)} bytes${message.body_base64 && ", base64"}</small></h3>
    <dl class="headers">${message.headers.map(([name, value], at) => html`<div key=${at}>
      <dt>${name}</dt><dd>${value}</dd></div>`)}</dl>
    ${body && html`<pre tabindex="0">${body}</pre>`}
    ${message.truncated && html`<p class="hint">Only the first part of the body was kept.</p>`}`;
}
