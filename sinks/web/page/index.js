// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// The list of displays. It is asked for again while somebody looks at it.

const PERIOD = 2000;

const list = document.getElementById("displays");
const none = document.getElementById("none");

function entry({ name, title, width, height, viewers, viewOnly }) {
  const link = document.createElement("a");
  link.href = `./?${new URLSearchParams({ display: name })}`;
  const label = document.createElement("strong");
  label.textContent = title;
  const facts = document.createElement("span");
  const people = viewers === 1 ? "1 viewer" : `${viewers} viewers`;
  const size = width ? `${width}×${height}, ` : "";
  facts.textContent = `${size}${people}${viewOnly ? ", view only" : ""}`;
  link.append(label, facts);
  const item = document.createElement("li");
  item.append(link);
  return item;
}

let shown = "";

async function refresh() {
  if (document.hidden) return;
  let displays;
  try {
    const response = await fetch("displays.json", { cache: "no-store" });
    if (response.status === 401 || response.status === 403) return location.reload();
    displays = await response.json();
  } catch {
    none.textContent = "The server does not answer.";
    none.hidden = false;
    return;
  }
  none.textContent = "Nothing is shown now.";
  none.hidden = displays.length > 0;
  // Only what changes is made anew: a focus would be lost.
  const now = JSON.stringify(displays);
  if (now !== shown) {
    const at = [...list.querySelectorAll("a")].indexOf(document.activeElement);
    list.replaceChildren(...displays.map(entry));
    list.querySelectorAll("a")[at]?.focus();
  }
  shown = now;
}

refresh();
setInterval(refresh, PERIOD);
document.addEventListener("visibilitychange", refresh);
