// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// RFB 3.8 (RFC 6143, and rfbproto for what is newer), as much of it as vfio-display's server speaks.

import { Reader, message, view } from "./bytes.js";
import { Tight } from "./tight.js";
import { cursor } from "./screen.js";

const RAW = 0;
const TIGHT = 7;
const DESKTOP_SIZE = -223;
const LAST_RECT = -224;
const QEMU_EXTENDED_KEY = -258;
const EXTENDED_DESKTOP_SIZE = -308;
const FENCE = -312;
const CONTINUOUS_UPDATES = -313;
const CURSOR_WITH_ALPHA = -314;

const FENCE_REQUEST = 1 << 31;
const FENCE_KNOWN = 0b111;

/**
 * A viewer on a WebSocket. `heard` is told what the server says: `connected(this)` when keys and more
 * may be sent, `resized(width, height)`, `updated()` when pixels have changed, `pointer(cursor)` with
 * a CSS cursor.
 */
export class Rfb {
  #send;
  #screen;
  #heard;
  #reader = new Reader();
  #tight = new Tight();

  constructor(send, screen, heard) {
    this.#send = send;
    this.#screen = screen;
    this.#heard = heard;
  }

  received(bytes) {
    this.#reader.push(bytes);
  }

  /** The connection is gone: `run` ends with this. */
  closed(why) {
    this.#reader.end(why);
  }

  /** Speaks until the connection ends or makes no sense, which it throws. */
  async run() {
    try {
      await this.#shakeHands();
      this.#heard.connected(this);
      for (;;) await this.#receive();
    } finally {
      this.#tight.close();
    }
  }

  key(scancode, keysym, down) {
    this.#send(message([1, 255], [1, 0], [2, down], [4, keysym], [4, scancode]));
  }

  /** A character, whatever keys make it. */
  keysym(keysym, down) {
    this.#send(message([1, 4], [1, down], [2, 0], [4, keysym]));
  }

  pointer(mask, x, y) {
    this.#send(message([1, 5], [1, mask], [2, x], [2, y]));
  }

  setSize(width, height) {
    const screen = [[4, 0], [2, 0], [2, 0], [2, width], [2, height], [4, 0]];
    this.#send(message([1, 251], [1, 0], [2, width], [2, height], [1, 1], [1, 0], ...screen));
  }

  async #shakeHands() {
    const reader = this.#reader;
    const text = async (length) => new TextDecoder().decode(await reader.take(length));
    const version = await text(12);
    if (!version.startsWith("RFB 003.")) throw new Error("this is not RFB");
    this.#send(new TextEncoder().encode("RFB 003.008\n"));
    const types = await reader.take(await reader.u8());
    if (!types.includes(1)) throw new Error("no security type but None is known here");
    this.#send(message([1, 1]));
    if ((await reader.u32()) !== 0) throw new Error(await text(await reader.u32()));
    // Others may look as well.
    this.#send(message([1, 1]));
    const width = await reader.u16();
    const height = await reader.u16();
    await reader.take(16);
    await text(await reader.u32());
    this.#resize(width, height);

    const shifts = [[1, 16], [1, 8], [1, 0]];
    const maxima = [[2, 255], [2, 255], [2, 255]];
    const format = [[1, 32], [1, 24], [1, 0], [1, 1], ...maxima, ...shifts, [1, 0], [2, 0]];
    this.#send(message([4, 0], ...format));
    const encodings = [TIGHT, RAW, DESKTOP_SIZE, LAST_RECT, QEMU_EXTENDED_KEY,
      EXTENDED_DESKTOP_SIZE, FENCE, CONTINUOUS_UPDATES, CURSOR_WITH_ALPHA];
    this.#send(message([1, 2], [1, 0], [2, encodings.length], ...encodings.map((e) => [4, e])));
    this.#request(0);
  }

  async #receive() {
    const reader = this.#reader;
    const kind = await reader.u8();
    if (kind === 0) return this.#update();
    if (kind === 2) return; // Bell
    if (kind === 3) { // ServerCutText
      await reader.take(3);
      return void (await reader.take(await reader.u32()));
    }
    if (kind === 150) { // EndOfContinuousUpdates: they are known here
      this.#continuous();
      return;
    }
    if (kind === 248) return this.#fence();
    throw new Error(`a message of type ${kind}`);
  }

  async #fence() {
    await this.#reader.take(3);
    const flags = await this.#reader.u32();
    const payload = await this.#reader.take(await this.#reader.u8());
    if (!(flags & FENCE_REQUEST)) return;
    const bytes = Array.from(payload, (byte) => [1, byte]);
    this.#send(message([4, 248 << 24], [4, flags & FENCE_KNOWN], [1, bytes.length], ...bytes));
  }

  async #update() {
    await this.#reader.take(1);
    const count = await this.#reader.u16();
    for (let i = 0; i < count; i++) {
      const head = view(await this.#reader.take(12));
      const [x, y, width, height] = [0, 2, 4, 6].map((at) => head.getUint16(at));
      const encoding = head.getInt32(8);
      if (encoding === LAST_RECT) break;
      await this.#rectangle(encoding, x, y, width, height);
    }
    if (this.#screen.show()) this.#heard.updated();
    this.#request(1);
  }

  async #rectangle(encoding, x, y, width, height) {
    const reader = this.#reader;
    const screen = this.#screen;
    switch (encoding) {
      case TIGHT:
        screen.check(x, y, width, height);
        return this.#tight.decode(reader, screen, x, y, width, height);
      case RAW: {
        screen.check(x, y, width, height);
        const bytes = view(await reader.take(width * height * 4));
        screen.draw(x, y, width, height, (i) => {
          const pixel = bytes.getUint32(i * 4, true);
          return (0xff000000 | (pixel & 0xff) << 16 | pixel & 0xff00 | (pixel >> 16) & 0xff) >>> 0;
        });
        return;
      }
      case DESKTOP_SIZE:
        return this.#resize(width, height);
      case EXTENDED_DESKTOP_SIZE: {
        const [screens] = await reader.take(4);
        await reader.take(screens * 16);
        // Where x is 1 it answers this viewer's wish; a wish that was passed on has no size yet.
        if (x !== 1 || y === 0) this.#resize(width, height);
        return;
      }
      case QEMU_EXTENDED_KEY:
        return;
      case CURSOR_WITH_ALPHA: {
        if ((await reader.i32()) !== RAW) throw new Error("a pointer that is not raw");
        const bytes = await reader.take(width * height * 4);
        this.#heard.pointer(cursor(x, y, width, height, bytes));
        return;
      }
      default:
        throw new Error(`encoding ${encoding}`);
    }
  }

  #resize(width, height) {
    if (width === this.#screen.width && height === this.#screen.height) return;
    this.#screen.resize(width, height);
    this.#heard.resized(width, height);
  }

  #request(incremental) {
    const { width, height } = this.#screen;
    this.#send(message([1, 3], [1, incremental], [2, 0], [2, 0], [2, width], [2, height]));
  }

  #continuous() {
    const { width, height } = this.#screen;
    this.#send(message([1, 150], [1, 1], [2, 0], [2, 0], [2, width], [2, height]));
  }
}
