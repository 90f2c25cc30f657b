// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
// The WebSocket: opened, and opened again, later each time, for as long as that can help.

import { Rfb } from "./rfb.js";

const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 8000;

const display = new URLSearchParams(location.search).get("display");

/**
 * Keeps a viewer connected. `heard` is told `connected(rfb)`, `lost(seconds)`, `over(why)` when there
 * is no use in trying, `status({title, viewOnly, resizable, signal})`, and what Rfb tells.
 */
export async function connect(screen, heard) {
  let pause = FIRST_PAUSE;
  for (;;) {
    const why = await refused();
    if (why) return heard.over(why);
    const since = performance.now();
    await view(screen, heard);
    if (performance.now() - since > LONGEST_PAUSE) pause = FIRST_PAUSE;
    heard.lost(pause / 1000);
    await sleep(pause);
    pause = Math.min(pause * 2, LONGEST_PAUSE);
  }
}

/** One connection, from its beginning to its end. */
function view(screen, heard) {
  return new Promise((resolve) => {
    const url = new URL("websockify", location.href);
    url.protocol = url.protocol.replace("http", "ws");
    if (display !== null) url.searchParams.set("display", display);
    const socket = new WebSocket(url, ["rfb.vfio-display", "binary"]);
    socket.binaryType = "arraybuffer";
    const send = (bytes) => {
      if (socket.readyState === WebSocket.OPEN) socket.send(bytes);
    };
    const rfb = new Rfb(send, screen, heard);
    socket.onmessage = ({ data }) => {
      if (typeof data === "string") heard.status(JSON.parse(data));
      else rfb.received(new Uint8Array(data));
    };
    socket.onclose = () => rfb.closed(new Error("the connection was closed"));
    rfb.run().catch((error) => {
      // A server that stops makes no noise; one that makes no sense should be heard of.
      if (socket.readyState === WebSocket.OPEN) console.error(error);
      socket.close();
      resolve();
    });
  });
}

/** Why there is no use in trying, which a WebSocket would not tell. */
async function refused() {
  let response;
  try {
    response = await fetch("displays.json", { cache: "no-store" });
  } catch {
    return null; // It may be back soon.
  }
  if (response.status === 401 || response.status === 403) {
    return "This page was opened by a link that is over. Open the newest one that the server printed.";
  }
  return null;
}

function sleep(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
