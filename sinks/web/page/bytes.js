// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// Bytes that come in pieces and are wanted in others; RFB is big-endian.

export class Reader {
  #pieces = [];
  #length = 0;
  #waiting = null;
  #ended = null;

  push(bytes) {
    this.#pieces.push(bytes);
    this.#length += bytes.length;
    this.#serve();
  }

  end(why) {
    this.#ended = why;
    this.#serve();
  }

  /** So many bytes, once they are there. One at a time may wait. */
  take(count) {
    return new Promise((resolve, reject) => {
      this.#waiting = { count, resolve, reject };
      this.#serve();
    });
  }

  async u8() { return (await this.take(1))[0]; }
  async u16() { return view(await this.take(2)).getUint16(0); }
  async u32() { return view(await this.take(4)).getUint32(0); }
  async i32() { return view(await this.take(4)).getInt32(0); }

  #serve() {
    if (!this.#waiting) return;
    const { count, resolve, reject } = this.#waiting;
    if (count <= this.#length) {
      this.#waiting = null;
      resolve(this.#cut(count));
    } else if (this.#ended) {
      this.#waiting = null;
      reject(this.#ended);
    }
  }

  #cut(count) {
    this.#length -= count;
    const first = this.#pieces[0];
    // Most of what is wanted lies in one piece, and need not be copied.
    if (count < (first?.length ?? 0)) {
      this.#pieces[0] = first.subarray(count);
      return first.subarray(0, count);
    }
    const whole = new Uint8Array(count);
    let at = 0;
    while (at < count) {
      const piece = this.#pieces[0];
      const part = piece.subarray(0, count - at);
      whole.set(part, at);
      at += part.length;
      if (part.length === piece.length) this.#pieces.shift();
      else this.#pieces[0] = piece.subarray(part.length);
    }
    return whole;
  }
}

/** A message: numbers as [size in bytes, value]. */
export function message(...fields) {
  const bytes = view(new Uint8Array(fields.reduce((sum, [size]) => sum + size, 0)));
  let at = 0;
  for (const [size, value] of fields) {
    if (size === 1) bytes.setUint8(at, value);
    else if (size === 2) bytes.setUint16(at, value);
    else bytes.setInt32(at, value | 0);
    at += size;
  }
  return new Uint8Array(bytes.buffer);
}

export function view(bytes) {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
