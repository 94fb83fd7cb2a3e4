// A forward without a profile: the page runs the command that it shows.
import { html, useState } from "./vendor/htm-preact.js";
import { Copy } from "./actions.js";
import { order } from "./api.js";
import { store, takesOrders } from "./store.js";
import { commandLine } from "./words.js";

const KINDS = [
  ["-L", "Local", "a port here leads to a target behind the host"],
  ["-R", "Remote", "a port on the host leads to a target here"],
  ["-D", "SOCKS", "a SOCKS proxy here; its clients name the targets"],
];

export function Add() {
  const [form, setForm] = useState({ option: "-L", listen: "", target: "", host: "" });
  const [result, setResult] = useState(null);
  const [busy, setBusy] = useState(false);
  const set = (name) => (event) => setForm({ ...form, [name]: event.target.value.trim() });
  const hasTarget = form.option !== "-D";
  const spec = hasTarget ? `${form.listen || "PORT"}:${form.target || "HOST:PORT"}` : form.listen || "PORT";
  const command = commandLine(["tunnelctl", "up", "-d", form.option, spec, form.host || "HOST"]);
  const submit = async (event) => {
    event.preventDefault();
    setBusy(true);
    setResult(null);
    const body = { forwards: [[form.option, spec]], host: form.host };
    setResult(await order("/v1/adhoc", body).catch(({ message }) => ({ said: [message] })));
    setBusy(false);
  };
  const hosts = [...new Set(store.view.hosts.map(({ name }) => name))];
  return html`
    <h1>Add a forward</h1>
    <form class="add" onSubmit=${submit} autocomplete="off">
      <fieldset><legend>Kind</legend>
        ${KINDS.map(([option, name, text]) => html`<label key=${option}>
          <input type="radio" name="kind" value=${option} checked=${form.option === option}
            onChange=${set("option")} /> ${name} <small>${text}</small></label>`)}
      </fieldset>
      <label>Listen on <input required placeholder="5432" onInput=${set("listen")} />
        <small>a port, or ADDRESS:PORT</small></label>
      ${hasTarget && html`<label>Target <input required placeholder="db.internal:5432"
        onInput=${set("target")} /> <small>HOST:PORT, as ${form.option === "-R" ? "this machine" : "the host"} reaches it</small></label>`}
      <label>Host <input required list="hosts" placeholder="bastion" onInput=${set("host")} />
        <small>a name in ssh_config, or user@host</small></label>
      <datalist id="hosts">${hosts.map((name) => html`<option key=${name} value=${name} />`)}</datalist>
      <p><${Copy} text=${command} /></p>
      <p><button class="main" data-command=${command} disabled=${busy || !takesOrders()}>
        ${busy ? "Opening…" : "Open"}</button></p>
    </form>
    ${result && html`<div role="status" class=${result.exit_code === 0 ? "fine" : "trouble"}>
      <p>${said(result.exit_code)}</p>
      <pre>${result.said.join("\n")}</pre></div>`}`;
}

// What became of the command, which does not run if the dashboard refuses it.
const said = (code) => (code === undefined ? "Refused" : code ? `Not ready (exit code ${code})` : "Open");
