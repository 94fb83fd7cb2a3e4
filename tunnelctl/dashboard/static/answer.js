// The questions of a host, as `tunnelctl answer` asks them. Must never keep an answer: it goes from
// the field to the daemon.
import { html, useEffect, useRef, useState } from "./vendor/htm-preact.js";
import { order, profilePath } from "./api.js";
import { open } from "./dialog.js";
import { notice, problem } from "./notices.js";
import { store } from "./store.js";

export const answer = (action) =>
  open((close) => html`<${Questions} action=${action} close=${close} />`);

function Questions({ action, close }) {
  const { profile, host, command } = action;
  const place = `${profile}/${host}`;
  const [questions, setQuestions] = useState([]);
  useEffect(() => {
    // Its reader answers for the host, which tries again at once.
    const words = new URLSearchParams({ answer: place, profile });
    const source = new EventSource(`/v1/events?${words}`);
    source.addEventListener("question", ({ data }) => {
      const event = JSON.parse(data);
      setQuestions((now) => [
        ...now.filter(({ id }) => id !== event.id),
        ...(event.state === "asked" ? [event] : []),
      ]);
    });
    return () => source.close();
  }, [place]);
  const row = store.view?.hosts.find((one) => one.place === place);
  useEffect(() => {
    if (row?.condition === "up" && !row.fallback) {
      notice(`${place} is up`, command);
      close(true);
    }
  }, [row?.condition, row?.fallback]);
  const [question] = questions;
  return html`<h2>${place}</h2>
    ${question
      ? html`<${Question} key=${question.id} question=${question} profile=${profile} />`
      : html`<p role="status">${row?.status.startsWith("failed") ? row.error : "No question yet."}</p>`}
    <p class="row"><button onClick=${() => close(false)}>Close</button>
      <code>${command}</code></p>`;
}

function Question({ question, profile }) {
  const field = useRef(null);
  useEffect(() => field.current.focus(), []);
  const send = (text, remember) =>
    order(profilePath(profile, "answers"), { id: question.id, answer: text, remember }).catch(problem);
  const submit = (event) => {
    event.preventDefault();
    send(field.current.value, event.target.elements.keep?.checked ?? false);
    field.current.value = "";
  };
  return html`<form onSubmit=${submit}>
    <label class="prompt" for="answer">${question.message}</label>
    <input id="answer" ref=${field} type=${question.echo ? "text" : "password"}
      autocomplete="off" autocapitalize="off" spellcheck=${false} maxlength="4096" />
    ${question.remember === false && html`<label>
      <input type="checkbox" name="keep" /> keep it in the daemon's memory until it exits</label>`}
    <p class="row"><button class="main">Answer</button>
      <button type="button" onClick=${() => send(null, false)}>Decline</button></p>
  </form>`;
}
