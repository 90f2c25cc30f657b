// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// The picture: drawn in memory, and shown when an update is whole, so that none is seen in parts.

export class Screen {
  #canvas;
  #context;
  #image;
  #pixels;
  #dirty = null;

  constructor(canvas) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d", { alpha: false });
    this.resize(1, 1);
  }

  get width() { return this.#image.width; }
  get height() { return this.#image.height; }

  resize(width, height) {
    this.#image = new ImageData(Math.max(width, 1), Math.max(height, 1));
    this.#pixels = new Uint32Array(this.#image.data.buffer).fill(0xff000000);
    this.#canvas.width = this.#image.width;
    this.#canvas.height = this.#image.height;
    this.#dirty = null;
  }

  fill(x, y, width, height, colour) {
    for (let row = y; row < y + height; row++) {
      const start = row * this.width + x;
      this.#pixels.fill(colour, start, start + width);
    }
    this.#damage(x, y, width, height);
  }

  /** `pixel(i)` is the i-th pixel of the rectangle, row by row. */
  draw(x, y, width, height, pixel) {
    const pixels = this.#pixels;
    for (let row = 0, i = 0; row < height; row++) {
      const start = (y + row) * this.width + x;
      for (let at = start; at < start + width; at++, i++) pixels[at] = pixel(i);
    }
    this.#damage(x, y, width, height);
  }

  /** Shows what was drawn; whether there was something. */
  show() {
    if (!this.#dirty) return false;
    const { left, top, right, bottom } = this.#dirty;
    this.#context.putImageData(this.#image, 0, 0, left, top, right - left, bottom - top);
    this.#dirty = null;
    return true;
  }

  /** A rectangle that lies inside; anything else is a server's mistake. */
  check(x, y, width, height) {
    if (x + width > this.width || y + height > this.height) {
      throw new Error(`${width}x${height} at ${x},${y} of ${this.width}x${this.height}`);
    }
  }

  #damage(x, y, width, height) {
    const old = this.#dirty ?? { left: x, top: y, right: x, bottom: y };
    this.#dirty = {
      left: Math.min(old.left, x),
      top: Math.min(old.top, y),
      right: Math.max(old.right, x + width),
      bottom: Math.max(old.bottom, y + height),
    };
  }
}

/** A CSS cursor out of pixels as Cursor With Alpha has them: RGBA, multiplied by alpha. */
export function cursor(x, y, width, height, bytes) {
  // A guest that hides its pointer, or draws it: where one points has to be seen all the same.
  if (width === 0 || height === 0) return "crosshair";
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const image = new ImageData(width, height);
  for (let i = 0; i < bytes.length; i += 4) {
    const alpha = bytes[i + 3];
    for (let channel = 0; channel < 3; channel++) {
      image.data[i + channel] = alpha ? (bytes[i + channel] * 255) / alpha : 0;
    }
    image.data[i + 3] = alpha;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  return `url(${canvas.toDataURL()}) ${x} ${y}, crosshair`;
}
