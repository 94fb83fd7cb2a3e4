// The requests of the page: those of the control API, and two of the dashboard's own.

export class Problem extends Error {
  constructor(document, status) {
    super(document.detail ?? `the dashboard answered ${status}`);
    this.hint = document.hint ?? "";
  }
}

export const order = (path, body = {}) =>
  ask(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });

export const profilePath = (profile, verb) =>
  `/v1/profiles/${encodeURIComponent(profile)}/${verb}`;

export const requestsPath = (place) =>
  `/v1/requests/${place.split("/").map(encodeURIComponent).join("/")}`;

export async function ask(path, options) {
  const answer = await fetch(path, options).catch(() => {
    throw new Problem({ detail: "the dashboard does not answer" });
  });
  const document = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Problem(document, answer.status);
  return document;
}
