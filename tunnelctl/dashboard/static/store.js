// What the page knows, from the one stream, and the hook that renders it. Decides nothing.
import { useEffect, useState } from "./vendor/htm-preact.js";
import { follow } from "./stream.js";

const LINES = 1000; // of the log
const readers = new Set();

export const store = {
  view: null, // the view model's document (tunnelctl/view)
  daemon: null, // whether the daemon answers, and which version it is
  lost: "", // why the dashboard itself does not answer: "", "away" or "refused"
  log: [], // the last lines, oldest first
};

export function start() {
  if (typeof SharedWorker === "undefined") {
    follow(take);
    return;
  }
  const worker = new SharedWorker("/static/worker.js", { type: "module", name: "tunnelctl" });
  worker.onerror = () => follow(take);
  worker.port.onmessage = ({ data: [kind, text] }) => take(kind, text);
  addEventListener("pagehide", () => worker.port.postMessage("closed"));
  addEventListener("pageshow", (event) => event.persisted && location.reload());
}

// Renders the caller again whenever the page knows something new.
export function useStore() {
  const [, again] = useState(0);
  useEffect(() => {
    const reader = () => again((count) => count + 1);
    readers.add(reader);
    return () => readers.delete(reader);
  }, []);
  return store;
}

export function addLines(lines) {
  const known = new Set(store.log.map(identity));
  const older = lines.filter((line) => !known.has(identity(line)));
  store.log = [...older, ...store.log].slice(-LINES);
  tell();
}

function take(kind, text) {
  if (kind === "log") {
    store.log = [...store.log, JSON.parse(text)].slice(-LINES);
  } else {
    store[kind] = kind === "lost" ? text : JSON.parse(text);
  }
  tell();
}

function tell() {
  for (const reader of readers) reader();
}

const identity = (line) => `${line.at} ${line.message}`;
