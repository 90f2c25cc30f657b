// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// The bar over the screen: what is shown, and what can be done. It folds itself away.

const FOLD_AFTER = 3000;

const element = (id) => document.getElementById(id);

export class Bar {
  #bar = element("bar");
  #canvas;
  #timer = 0;
  #frames = 0;

  /** `does` has what the buttons do: `attention()`, `typing()`. */
  constructor(canvas, does) {
    this.#canvas = canvas;
    element("handle").addEventListener("click", () => this.#fold(!this.#folded));
    element("full").addEventListener("click", () => this.#full());
    element("shot").addEventListener("click", () => this.#shoot());
    element("attention").addEventListener("click", () => does.attention());
    element("typing").addEventListener("click", () => does.typing());
    element("help").addEventListener("click", () => element("about").showModal());
    this.#bar.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.#back();
    });
    for (const name of ["pointermove", "pointerdown", "focusin", "focusout"]) {
      this.#bar.addEventListener(name, () => this.#stay());
    }
    document.addEventListener("fullscreenchange", () => this.#fullChanged());
    setInterval(() => this.#count(), 1000);
    this.#stay();
  }

  /** Opens it, for who has no mouse. */
  enter() {
    this.#fold(false);
    element("full").focus();
  }

  /** What the server said of the display. */
  status({ title, viewOnly }) {
    element("title").textContent = title;
    document.title = title;
    element("view-only").hidden = !viewOnly;
    element("attention").hidden = viewOnly;
    element("typing").hidden = viewOnly;
  }

  mode(width, height) {
    element("mode").textContent = `${width}×${height}`;
  }

  frame() {
    this.#frames += 1;
  }

  /** Words about what is amiss; nothing where nothing is. */
  notice(words) {
    const notice = element("notice");
    notice.hidden = !words;
    // The same words again would be read out again.
    if (notice.textContent !== words) notice.textContent = words ?? "";
  }

  get #folded() {
    return this.#bar.classList.contains("folded");
  }

  #fold(folded) {
    this.#bar.classList.toggle("folded", folded);
    element("handle").setAttribute("aria-expanded", String(!folded));
    this.#stay();
  }

  /** Stays for a while, and for as long as the focus is in it. */
  #stay() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (!this.#bar.contains(document.activeElement)) this.#fold(true);
    }, FOLD_AFTER);
  }

  #back() {
    this.#canvas.focus();
    this.#fold(true);
  }

  #count() {
    element("rate").textContent = `${this.#frames} fps`;
    this.#frames = 0;
  }

  async #full() {
    if (document.fullscreenElement) return document.exitFullscreen();
    await document.documentElement.requestFullscreen();
    // Where a browser lets it, Escape, Alt+Tab and others go to the guest as well.
    await navigator.keyboard?.lock?.().catch(() => {});
    this.#canvas.focus();
  }

  #fullChanged() {
    const full = document.fullscreenElement !== null;
    element("full").setAttribute("aria-pressed", String(full));
    if (!full) navigator.keyboard?.unlock?.();
  }

  #shoot() {
    this.#canvas.toBlob((blob) => {
      const link = document.createElement("a");
      const time = new Date().toISOString().slice(0, 19).replaceAll(":", "-");
      link.href = URL.createObjectURL(blob);
      link.download = `${document.title.replace(/[^\w.-]+/g, "-")}-${time}.png`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    });
    this.#canvas.focus();
  }
}
