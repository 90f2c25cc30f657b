// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Mouse, pen and fingers on the canvas. A finger's tap is a click, a long press the right button, two
// fingers are the wheel.

const LEFT = 1;
const MIDDLE = 2;
const RIGHT = 4;
const WHEEL = { up: 8, down: 16, left: 32, right: 64 };

/** What a wheel or two fingers have to move for one step, in CSS pixels. */
const STEP = 40;
const LINE = 20;
/** A finger that moves less than this, and stays shorter, taps. */
const STILL = 10;
const LONG_PRESS = 550;

export class Pointer {
  rfb = null;
  #canvas;
  #mask = 0;
  #at = { x: 0, y: 0 };
  #turned = { x: 0, y: 0 };
  /** Fingers that are down, by id: where they came, and where they are. */
  #fingers = new Map();
  /** What the fingers do: null, "wait", "drag", "wheel" or "done". */
  #gesture = null;
  #timer = 0;

  constructor(canvas) {
    this.#canvas = canvas;
    const on = (name, act) => canvas.addEventListener(name, act, { passive: false });
    on("pointerdown", (event) => this.#down(event));
    on("pointermove", (event) => this.#moved(event));
    on("pointerup", (event) => this.#up(event));
    on("pointercancel", (event) => this.#up(event));
    on("contextmenu", (event) => event.preventDefault());
    on("wheel", (event) => {
      event.preventDefault();
      const unit = event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? 1 : LINE;
      this.#place(event);
      this.#turn(event.deltaX * unit, event.deltaY * unit);
    });
    window.addEventListener("blur", () => this.release());
  }

  /** Lets go of everything. */
  release() {
    clearTimeout(this.#timer);
    this.#fingers.clear();
    this.#gesture = null;
    if (this.#mask) this.#send(0);
  }

  #down(event) {
    event.preventDefault();
    // A phone's keyboard stays open while one points.
    if (document.activeElement?.id !== "text") this.#canvas.focus({ preventScroll: true });
    this.#canvas.setPointerCapture(event.pointerId);
    if (event.pointerType !== "touch") return this.#mouse(event);
    const at = { x: event.clientX, y: event.clientY };
    this.#fingers.set(event.pointerId, { from: at, at });
    if (this.#fingers.size === 1) {
      this.#place(event);
      this.#gesture = "wait";
      this.#timer = setTimeout(() => this.#pressed(), LONG_PRESS);
    } else if (this.#gesture === "wait") {
      clearTimeout(this.#timer);
      this.#gesture = "wheel";
    }
  }

  #moved(event) {
    event.preventDefault();
    if (event.pointerType !== "touch") return this.#mouse(event);
    const finger = this.#fingers.get(event.pointerId);
    if (!finger) return;
    const before = finger.at;
    finger.at = { x: event.clientX, y: event.clientY };
    const way = Math.hypot(finger.at.x - finger.from.x, finger.at.y - finger.from.y);
    if (this.#gesture === "wait" && way > STILL) {
      clearTimeout(this.#timer);
      this.#gesture = "drag";
      // Where the finger came down, not where it is by now.
      this.#send(LEFT);
    }
    if (this.#gesture === "drag") {
      this.#place(event);
      this.#send(this.#mask);
    } else if (this.#gesture === "wheel") {
      // Both fingers move, and each tells half of it; what they push goes with them.
      this.#turn((before.x - finger.at.x) / 2, (before.y - finger.at.y) / 2);
    }
  }

  #up(event) {
    if (event.pointerType !== "touch") return this.#mouse(event);
    if (!this.#fingers.delete(event.pointerId)) return;
    clearTimeout(this.#timer);
    if (this.#gesture === "wait" && event.type === "pointerup") this.#click(LEFT);
    if (this.#gesture === "drag") this.#send(0);
    this.#gesture = this.#fingers.size ? "done" : null;
  }

  #pressed() {
    this.#gesture = "done";
    this.#click(RIGHT);
  }

  #click(button) {
    this.#send(0);
    this.#send(button);
    this.#send(0);
  }

  #mouse(event) {
    this.#place(event);
    const { buttons } = event;
    this.#send((buttons & 1 ? LEFT : 0) | (buttons & 2 ? RIGHT : 0) | (buttons & 4 ? MIDDLE : 0));
  }

  #turn(x, y) {
    this.#turned.x += x;
    this.#turned.y += y;
    this.#steps("x", WHEEL.left, WHEEL.right);
    this.#steps("y", WHEEL.up, WHEEL.down);
  }

  #steps(axis, less, more) {
    // A flick is many steps, and none of them is worth a minute.
    const steps = Math.max(-20, Math.min(20, Math.trunc(this.#turned[axis] / STEP)));
    this.#turned[axis] -= Math.trunc(this.#turned[axis] / STEP) * STEP;
    for (let i = 0; i < Math.abs(steps); i++) {
      this.#send(this.#mask | (steps < 0 ? less : more));
      this.#send(this.#mask & (LEFT | MIDDLE | RIGHT));
    }
  }

  /** From the page's pixels to the guest's. */
  #place(event) {
    const { width, height } = this.#canvas;
    const box = this.#canvas.getBoundingClientRect();
    const scale = (at, start, shown, side) =>
      Math.max(0, Math.min(side - 1, Math.floor(((at - start) * side) / shown)));
    this.#at = {
      x: scale(event.clientX, box.left, box.width, width),
      y: scale(event.clientY, box.top, box.height, height),
    };
  }

  #send(mask) {
    this.#mask = mask;
    this.rfb?.pointer(mask, this.#at.x, this.#at.y);
  }
}
