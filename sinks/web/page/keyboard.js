// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Keys by where they are (KeyboardEvent.code), as XT scancodes; the high bit stands for a first byte
// of 0xe0 (rfbproto, QEMU Extended Key Event Message). The guest has the layout.

const ROWS = {
  0x01: "Escape Digit1 Digit2 Digit3 Digit4 Digit5 Digit6 Digit7 Digit8 Digit9 Digit0 Minus Equal",
  0x0e: "Backspace Tab KeyQ KeyW KeyE KeyR KeyT KeyY KeyU KeyI KeyO KeyP BracketLeft BracketRight",
  0x1c: "Enter ControlLeft KeyA KeyS KeyD KeyF KeyG KeyH KeyJ KeyK KeyL Semicolon Quote Backquote",
  0x2a: "ShiftLeft Backslash KeyZ KeyX KeyC KeyV KeyB KeyN KeyM Comma Period Slash ShiftRight",
  0x37: "NumpadMultiply AltLeft Space CapsLock F1 F2 F3 F4 F5 F6 F7 F8 F9 F10 NumLock ScrollLock",
  0x47: "Numpad7 Numpad8 Numpad9 NumpadSubtract Numpad4 Numpad5 Numpad6 NumpadAdd",
  0x4f: "Numpad1 Numpad2 Numpad3 Numpad0 NumpadDecimal",
  0x56: "IntlBackslash F11 F12 NumpadEqual",
  0x64: "F13 F14 F15 F16 F17 F18 F19 F20 F21 F22 F23",
  0x70: "KanaMode",
  0x73: "IntlRo",
  0x76: "F24",
  0x79: "Convert",
  0x7b: "NonConvert",
  0x7d: "IntlYen NumpadComma",
  0x90: "MediaTrackPrevious",
  0x99: "MediaTrackNext",
  0x9c: "NumpadEnter ControlRight",
  0xa0: "AudioVolumeMute",
  0xa2: "MediaPlayPause",
  0xa4: "MediaStop",
  0xae: "AudioVolumeDown",
  0xb0: "AudioVolumeUp",
  0xb5: "NumpadDivide",
  0xb7: "PrintScreen AltRight",
  0xc6: "Pause Home ArrowUp PageUp",
  0xcb: "ArrowLeft",
  0xcd: "ArrowRight",
  0xcf: "End ArrowDown PageDown Insert Delete",
  0xdb: "MetaLeft MetaRight ContextMenu",
};

const SCANCODES = new Map();
for (const [first, codes] of Object.entries(ROWS)) {
  codes.split(" ").forEach((code, i) => SCANCODES.set(code, Number(first) + i));
}

const SHIFT = 0xffe1;
const SHIFTED = '~!@#$%^&*()_+{}|:"<>?';
const ENTER = 0xff0d;
const BACKSPACE = 0xff08;

/** Sends what is typed at `element`. `leave` is called for Ctrl, Alt and Shift together. */
export class Keyboard {
  rfb = null;
  #down = new Map();
  #leaving = false;
  #leave;

  constructor(element, leave) {
    this.#leave = leave;
    element.addEventListener("keydown", (event) => this.#pressed(event));
    element.addEventListener("keyup", (event) => this.#released(event));
    element.addEventListener("blur", () => this.release());
    window.addEventListener("blur", () => this.release());
    document.addEventListener("visibilitychange", () => this.release());
  }

  /** Lets go of everything. */
  release() {
    for (const scancode of this.#down.values()) this.rfb?.key(scancode, 0, 0);
    this.#down.clear();
  }

  /** Presses keys in their order, and lets go of them. */
  chord(...codes) {
    const scancodes = codes.map((code) => SCANCODES.get(code));
    for (const scancode of scancodes) this.rfb?.key(scancode, 0, 1);
    for (const scancode of scancodes.reverse()) this.rfb?.key(scancode, 0, 0);
  }

  /** Types text as a US keyboard does, for keyboards that have no keys. */
  type(text) {
    for (const character of text) {
      const keysym = character === "\n" ? ENTER : character.codePointAt(0);
      const shifted = /[A-Z]/.test(character) || SHIFTED.includes(character);
      if (shifted) this.rfb?.keysym(SHIFT, 1);
      this.#tap(keysym);
      if (shifted) this.rfb?.keysym(SHIFT, 0);
    }
  }

  erase() {
    this.#tap(BACKSPACE);
  }

  #tap(keysym) {
    this.rfb?.keysym(keysym, 1);
    this.rfb?.keysym(keysym, 0);
  }

  #pressed(event) {
    const scancode = SCANCODES.get(event.code);
    if (scancode === undefined) return; // What a phone's keyboard types comes as text.
    event.preventDefault();
    const { ctrlKey, altKey, shiftKey } = event;
    const modifier = /^(Control|Alt|Shift)/.test(event.code);
    this.#leaving = modifier && ctrlKey && altKey && shiftKey;
    // Windows makes Ctrl and AltGr of AltGr.
    if (event.code === "AltRight" && event.key === "AltGraph") this.#up("ControlLeft");
    this.#down.set(event.code, scancode);
    this.rfb?.key(scancode, 0, 1);
  }

  #released(event) {
    if (!SCANCODES.has(event.code)) return;
    event.preventDefault();
    // macOS tells of no key that is let go of while Command is down.
    if (event.code.startsWith("Meta")) this.release();
    this.#up(event.code);
    if (this.#leaving) {
      this.#leaving = false;
      this.release();
      this.#leave();
    }
  }

  #up(code) {
    if (!this.#down.has(code)) return;
    this.rfb?.key(this.#down.get(code), 0, 0);
    this.#down.delete(code);
  }
}
