// A SharedWorker: one stream for all tabs of a browser, which allows six connections to a server.
import { follow } from "./stream.js";

const ports = new Set();
const latest = new Map(); // of what is a state, for a tab that comes later

follow((kind, text) => {
  if (kind !== "log") latest.set(kind, text);
  for (const port of ports) port.postMessage([kind, text]);
});

self.onconnect = ({ ports: [port] }) => {
  ports.add(port);
  port.onmessage = () => ports.delete(port); // its tab is closed
  for (const message of latest) port.postMessage(message);
};
