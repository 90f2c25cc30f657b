// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// The page of a display: a connection, a screen, and ways to act on it.

import { Bar } from "./bar.js";
import { connect } from "./connection.js";
import { Keyboard } from "./keyboard.js";
import { Pointer } from "./pointer.js";
import { Screen } from "./screen.js";

/** How long a window keeps its size before the guest is asked to follow. */
const SETTLED = 250;

const canvas = document.getElementById("screen");
const stage = document.getElementById("stage");
const text = document.getElementById("text");

const screen = new Screen(canvas);
const keyboard = new Keyboard(canvas, () => bar.enter());
const pointer = new Pointer(canvas);
const bar = new Bar(canvas, {
  attention() {
    keyboard.chord("ControlLeft", "AltLeft", "Delete");
    canvas.focus();
  },
  typing: () => text.focus(),
});

let rfb = null;
let status = null;
let asked = "";
let timer = 0;

/** Asks for the window's size, once. */
function followWindow() {
  clearTimeout(timer);
  timer = setTimeout(() => {
    const { clientWidth: width, clientHeight: height } = stage;
    const wish = `${width}x${height}`;
    const other = width !== screen.width || height !== screen.height;
    if (!rfb || !status?.resizable || wish === asked || !other || !width || !height) return;
    asked = wish;
    rfb.setSize(width, height);
  }, SETTLED);
}

/** Who acts on the guest: the connection that there is, unless only looking is allowed. */
function settle() {
  const through = status?.viewOnly === false ? rfb : null;
  if (keyboard.rfb !== through) {
    keyboard.release();
    pointer.release();
    keyboard.rfb = pointer.rfb = through;
  }
  followWindow();
}

new ResizeObserver(followWindow).observe(stage);

text.addEventListener("input", (event) => {
  if (event.inputType === "deleteContentBackward") keyboard.erase();
  else if (event.inputType === "insertLineBreak") keyboard.type("\n");
  else if (event.data && !event.isComposing) keyboard.type(event.data);
  // Something to erase, or no phone would tell that it was.
  if (!event.isComposing) text.value = " ";
});
text.addEventListener("compositionend", (event) => keyboard.type(event.data));
text.addEventListener("focus", () => {
  text.value = " ";
  document.getElementById("typing").setAttribute("aria-pressed", "true");
});
text.addEventListener("blur", () => {
  document.getElementById("typing").setAttribute("aria-pressed", "false");
});

bar.notice("connecting");
canvas.focus();
connect(screen, {
  connected(through) {
    rfb = through;
    asked = "";
    settle();
  },
  status(told) {
    status = told;
    bar.status(told);
    bar.notice(told.signal ? null : "no signal");
    settle();
  },
  lost(seconds) {
    rfb = status = null;
    settle();
    bar.notice(`reconnecting in ${seconds} s`);
  },
  over(why) {
    bar.notice(why);
  },
  resized: (width, height) => bar.mode(width, height),
  updated: () => bar.frame(),
  pointer(cursor) {
    canvas.style.cursor = cursor;
  },
});
