// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Tight encoding without JPEG (rfbproto, Tight Encoding): fill, copy and palette, the last two
// through zlib streams that last as long as the connection. A browser has zlib of its own.

const OPAQUE = 0xff000000;
const MIN_COMPRESSED = 12;

/** A zlib stream whose output is asked for by its length. */
class Inflate {
  #writer;
  #reader;
  #rest = new Uint8Array(0);

  constructor() {
    const { writable, readable } = new DecompressionStream("deflate");
    this.#writer = writable.getWriter();
    this.#reader = readable.getReader();
  }

  async take(data, length) {
    // What is wrong with it is told by the read.
    this.#writer.write(data).catch(() => {});
    if (this.#rest.length >= length) return this.#cut(length);
    const whole = new Uint8Array(length);
    let at = 0;
    while (at < length) {
      if (this.#rest.length === 0) {
        const { value, done } = await this.#reader.read();
        if (done) throw new Error("a zlib stream ended");
        this.#rest = value;
      }
      const part = this.#cut(Math.min(length - at, this.#rest.length));
      whole.set(part, at);
      at += part.length;
    }
    return whole;
  }

  #cut(length) {
    const part = this.#rest.subarray(0, length);
    this.#rest = this.#rest.subarray(length);
    return part;
  }

  close() {
    this.#writer.abort().catch(() => {});
    this.#reader.cancel().catch(() => {});
  }
}

export class Tight {
  #streams = [null, null, null, null];

  /** Reads a rectangle's data, and draws it. */
  async decode(reader, screen, x, y, width, height) {
    const control = await reader.u8();
    for (let i = 0; i < 4; i++) {
      if (control & (1 << i)) this.#reset(i);
    }
    const kind = control >> 4;
    if (kind === 8) {
      screen.fill(x, y, width, height, colour(await reader.take(3), 0));
      return;
    }
    if (kind > 7) throw new Error(`Tight of kind ${kind}`);
    const filter = kind & 4 ? await reader.u8() : 0;
    const stream = kind & 3;
    if (filter === 0) {
      const bytes = await this.#data(reader, stream, width * height * 3);
      screen.draw(x, y, width, height, (i) => colour(bytes, i * 3));
    } else if (filter === 1) {
      await this.#palette(reader, screen, stream, x, y, width, height);
    } else {
      throw new Error(`Tight's filter ${filter}`);
    }
  }

  close() {
    for (let i = 0; i < 4; i++) this.#reset(i);
  }

  async #palette(reader, screen, stream, x, y, width, height) {
    const count = (await reader.u8()) + 1;
    const packed = await reader.take(count * 3);
    const colours = Uint32Array.from({ length: count }, (_, i) => colour(packed, i * 3));
    if (count > 2) {
      const bytes = await this.#data(reader, stream, width * height);
      screen.draw(x, y, width, height, (i) => colours[bytes[i]] ?? OPAQUE);
      return;
    }
    // One bit for a pixel, each row from a byte of its own.
    const pitch = (width + 7) >> 3;
    const bytes = await this.#data(reader, stream, pitch * height);
    screen.draw(x, y, width, height, (i) => {
      const column = i % width;
      const byte = bytes[((i - column) / width) * pitch + (column >> 3)];
      return colours[(byte >> (7 - (column & 7))) & 1];
    });
  }

  async #data(reader, stream, length) {
    if (length < MIN_COMPRESSED) return reader.take(length);
    let compressed = 0;
    for (let shift = 0; shift <= 14; shift += 7) {
      const byte = await reader.u8();
      compressed |= (shift < 14 ? byte & 0x7f : byte) << shift;
      if (!(byte & 0x80)) break;
    }
    const data = await reader.take(compressed);
    this.#streams[stream] ??= new Inflate();
    return this.#streams[stream].take(data, length);
  }

  #reset(stream) {
    this.#streams[stream]?.close();
    this.#streams[stream] = null;
  }
}

/** Red, green, blue, as a canvas has them in memory. */
function colour(bytes, at) {
  return (OPAQUE | (bytes[at + 2] << 16) | (bytes[at + 1] << 8) | bytes[at]) >>> 0;
}
