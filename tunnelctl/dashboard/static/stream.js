// The stream of the dashboard: one EventSource, and what is known when it breaks.

const KINDS = ["daemon", "view", "log"];
const AGAIN = 2000; // milliseconds after the dashboard refused

// Calls tell(kind, text) for each message; of kind "lost" it is "away" or "refused", or "" again.
export function follow(tell) {
  const source = new EventSource("/v1/view");
  for (const kind of KINDS) {
    source.addEventListener(kind, (event) => tell(kind, event.data));
  }
  source.onopen = () => tell("lost", "");
  source.onerror = async () => {
    // A browser tries again by itself, unless the answer was an error.
    if (source.readyState !== EventSource.CLOSED) {
      tell("lost", "away");
      return;
    }
    const answer = await fetch("/v1/version").catch(() => null);
    tell("lost", answer?.status === 401 ? "refused" : "away");
    setTimeout(follow, AGAIN, tell);
  };
}
