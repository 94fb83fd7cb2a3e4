// What went through a forward with `inspect: http`: a list, one exchange, and sending it again.
import { html, useState } from "./vendor/htm-preact.js";
import { Copy } from "./actions.js";
import { order, requestsPath } from "./api.js";
import { notice, problem } from "./notices.js";
import { Filter, Trouble, usePolled } from "./parts.js";
import { store } from "./store.js";
import { amount, clock, commandLine, matches, took } from "./words.js";

const EVERY = 1000; // milliseconds
const LAST = 200; // exchanges

export function Requests({ words }) {
  const places = store.view.forwards.filter(({ name }) => name).map(({ place }) => place);
  const place = words.join("/");
  const choose = (event) => {
    location.hash = `#/requests/${event.target.value}`;
  };
  return html`
    <h1>Requests</h1>
    <div class="filter"><label>Forward <select value=${place} onChange=${choose}>
      <option value="">choose one with inspect: http</option>
      ${places.map((one) => html`<option key=${one} value=${one}>${one}</option>`)}
    </select></label></div>
    ${place && html`<${Exchanges} key=${place} place=${place} />`}`;
}

function Exchanges({ place }) {
  const [filter, setFilter] = useState("");
  const [chosen, setChosen] = useState("");
  const { document: found, error } = usePolled(`${requestsPath(place)}?n=${LAST}`, EVERY);
  if (!found) return html`<${Trouble} error=${error} />`;
  const rows = found.requests.filter((one) => matches(one, filter)).toReversed();
  const one = found.requests.find(({ id }) => id === chosen);
  return html`
    <${Trouble} error=${error} />
    <${Filter} value=${filter} onInput=${setFilter}>
      <${Copy} text=${commandLine(["tunnelctl", "requests", place, "-f"])} /></${Filter}>
    <${NotInspected} found=${found} />
    <div class="beside">
      <table class="requests">
        <caption class="unseen">Requests, the newest first</caption>
        <thead><tr><th scope="col">Time</th><th scope="col">Method</th><th scope="col">Path</th>
          <th scope="col" class="number">Status</th><th scope="col" class="number">Took</th>
          <th scope="col" class="number">Size</th></tr></thead>
        <tbody>${rows.map((row) => html`<tr key=${row.id} class=${row.id === chosen ? "chosen" : ""}>
          <td data-name="Time">${clock(row.started_at)}</td>
          <td data-name="Method">${row.method}</td>
          <td data-name="Path"><button type="button" class="link" aria-pressed=${row.id === chosen}
            onClick=${() => setChosen(row.id)}>${row.path}</button></td>
          <td data-name="Status" class="number"><span class=${`code c${String(row.status ?? "")[0] ?? ""}`}>${row.status ?? "…"}</span></td>
          <td data-name="Took" class="number">${took(row.duration_ms)}</td>
          <td data-name="Size" class="number">${amount(row.response?.size ?? 0)}</td>
        </tr>`)}</tbody>
      </table>
      ${one && html`<${Exchange} key=${one.id} one=${one} place=${place} />`}
    </div>
    ${!rows.length && html`<p class="empty">No requests yet.</p>`}`;
}

function NotInspected({ found }) {
  const { connections, bytes, reasons } = found.not_inspected;
  const why = Object.entries(reasons).filter(([, count]) => count).map(([name, count]) => `${name} ${count}`);
  const dropped = found.dropped ? `${found.dropped} older requests dropped. ` : "";
  if (!connections && !dropped) return null;
  return html`<p class="hint">${dropped}${connections > 0 && html`Not inspected: ${connections}
    connections, ${amount(bytes)} bytes (${why.join(", ")}).`}</p>`;
}

function Exchange({ one, place }) {
  const [answer, setAnswer] = useState(null);
  const command = commandLine(["tunnelctl", "requests", place, "--replay", one.id]);
  const replay = async () => {
    try {
      setAnswer(await order(`${requestsPath(place)}/${encodeURIComponent(one.id)}/replay`));
      notice("Sent again", command);
    } catch (error) {
      problem(error, command);
    }
  };
  return html`<article class="exchange" aria-label=${`Request ${one.id}`}>
    <h2>${one.method} ${one.path}</h2>
    <p class="facts"><span>${clock(one.started_at)}</span><span>${took(one.duration_ms)}</span>
      <span>${one.client}</span></p>
    <p class="row"><button type="button" data-command=${command} title=${command}
      disabled=${store.daemon?.read_only} onClick=${replay}>Send again</button>
      <${Copy} text=${command} /></p>
    <${Message} title="Request" message=${one.request} />
    ${one.response && html`<${Message} title=${`Response ${one.status ?? ""}`} message=${one.response} />`}
    ${one.websocket?.length > 0 && html`<${Frames} frames=${one.websocket} />`}
    ${answer && html`<${Message} title="Answer to the request that was sent again"
      message=${answer.response ?? answer} />`}
  </article>`;
}

function Message({ title, message }) {
  const body = message.body ?? (message.body_base64 && `(binary, base64)\n${message.body_base64}`);
  return html`<section><h3>${title} <small>${message.version} · ${amount(message.size)} bytes</small></h3>
    <dl class="headers">${message.headers.map(([name, value], at) => html`<div key=${at}>
      <dt>${name}</dt><dd>${value}</dd></div>`)}</dl>
    ${body && html`<pre tabindex="0">${body}</pre>`}
    ${message.truncated && html`<p class="hint">Only the first part of the body was kept.</p>`}
  </section>`;
}

const Frames = ({ frames }) => html`<section><h3>Websocket frames <small>${frames.length}</small></h3>
  <ol class="frames">${frames.map(({ from, kind, size, at }, index) => html`<li key=${index}>
    <time>${clock(at)}</time> <span>${from}</span> <span>${kind}</span> <span>${amount(size)} bytes</span></li>`)}
  </ol></section>`;
