// Texts that the view model has not: of requests, curves and command lines.

const UNITS = ["", "k", "M", "G", "T"];

// 340k, 1.2M (powers of 1000), as the view model writes them.
export function amount(value) {
  let unit = 0;
  for (; value >= 999.5 && unit < UNITS.length - 1; unit += 1) value /= 1000;
  return `${unit > 0 && value < 9.95 ? value.toFixed(1) : Math.round(value)}${UNITS[unit]}`;
}

export function took(milliseconds) {
  if (milliseconds == null) return "…";
  if (milliseconds < 1000) return `${milliseconds.toFixed(milliseconds < 10 ? 1 : 0)} ms`;
  return `${(milliseconds / 1000).toFixed(1)} s`;
}

// The time of day, of an RFC 3339 time or of milliseconds since 1970.
export const clock = (moment) =>
  moment ? new Date(moment).toLocaleTimeString([], { hour12: false }) : "";

// A word of a command line as a shell reads it.
const quoted = (word) =>
  /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`;

export const commandLine = (words) => words.map(quoted).join(" ");

// Whether a row has every word of a filter somewhere.
export function matches(row, text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length) return true;
  const values = Object.values(row).filter((value) => typeof value !== "object");
  const all = values.join(" ").toLowerCase();
  return words.every((word) => all.includes(word));
}
