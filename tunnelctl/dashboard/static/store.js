// What the page knows, from the one stream, and the hook that renders it. Decides nothing.
import { useState } from "./vendor/htm-preact.js";
import { follow } from "./stream.js";

const LINES = 1000; // of the log
let render = () => {};

export const store = {
  view: null, // the view model's document (tunnelctl/view)
  daemon: null, // whether the daemon answers, and which version it is
  lost: "", // why the dashboard itself does not answer: "", "away" or "refused"
  log: [], // the last lines, oldest first
  notices: [],
};

export function start() {
  if (!window.SharedWorker) return follow(take);
  const worker = new SharedWorker("/static/worker.js", { type: "module", name: "tunnelctl" });
  worker.onerror = () => follow(take);
  worker.port.onmessage = ({ data: [kind, text] }) => take(kind, text);
  addEventListener("pagehide", () => worker.port.postMessage("closed"));
  addEventListener("pageshow", (event) => event.persisted && location.reload());
}

// Renders the caller, which has all others, again whenever the page knows something new.
export function useStore() {
  const [, again] = useState();
  render = () => again({});
  return store;
}

export function addLines(lines) {
  const known = new Set(store.log.map(identity));
  const older = lines.filter((line) => !known.has(identity(line)));
  change({ log: [...older, ...store.log].slice(-LINES) });
}

function take(kind, text) {
  const what = kind === "lost" ? text : JSON.parse(text);
  change({ [kind]: kind === "log" ? [...store.log, what].slice(-LINES) : what });
}

export function change(members) {
  Object.assign(store, members);
  render();
}

export const takesOrders = () => store.daemon?.answers && !store.daemon.read_only;

const identity = (line) => `${line.at} ${line.message}`;
