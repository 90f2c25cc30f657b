# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A client of org.qemu.Display1 on GDBus, that does what QEMU's own qemu-vnc does, in that order.

gdbus.py bus:ADDRESS|peer:PATH copy|map|dmabuf|dmabuf2

Orders come as lines on standard input, each is answered by a line:
  capture FILE         the screen, 4 bytes a pixel; answers WxH
  press|release N      a key, by QEMU's number
  down|up N            a button
  abs X Y, rel X Y     the pointer
  size MM MM W H       SetUIInfo
  calls                how often each method was called
  cursor FILE          the pointer's shape; answers WxH+X+Y at X,Y ON
  buffer               the dma-buf: its inode, size and what was told of it
  get NAME             a property of the console
  changed NAME VALUE   waits until a signal said so
An order that fails is answered by "error NAME".
"""

import mmap
import os
import socket
import sys
import threading

import gi

gi.require_version("Gio", "2.0")
from gi.repository import Gio, GLib

ROOT = "/org/qemu/Display1"
XML = """<node>
<interface name="org.qemu.Display1.Listener">
 <method name="Scanout"><arg type="u"/><arg type="u"/><arg type="u"/><arg type="u"/><arg type="ay"/></method>
 <method name="Update"><arg type="i"/><arg type="i"/><arg type="i"/><arg type="i"/><arg type="u"/>
  <arg type="u"/><arg type="ay"/></method>
 <method name="ScanoutDMABUF"><arg type="h"/><arg type="u"/><arg type="u"/><arg type="u"/><arg type="u"/>
  <arg type="t"/><arg type="b"/></method>
 <method name="UpdateDMABUF"><arg type="i"/><arg type="i"/><arg type="i"/><arg type="i"/></method>
 <method name="Disable"/>
 <method name="MouseSet"><arg type="i"/><arg type="i"/><arg type="i"/></method>
 <method name="CursorDefine"><arg type="i"/><arg type="i"/><arg type="i"/><arg type="i"/><arg type="ay"/></method>
 <property name="Interfaces" type="as" access="read"/>
</interface>
<interface name="org.qemu.Display1.Listener.Unix.Map">
 <method name="ScanoutMap"><arg type="h"/><arg type="u"/><arg type="u"/><arg type="u"/><arg type="u"/>
  <arg type="u"/></method>
 <method name="UpdateMap"><arg type="i"/><arg type="i"/><arg type="i"/><arg type="i"/></method>
</interface>
<interface name="org.qemu.Display1.Listener.Unix.ScanoutDMABUF2">
 <method name="ScanoutDMABUF2"><arg type="ah"/><arg type="u"/><arg type="u"/><arg type="u"/><arg type="u"/>
  <arg type="au"/><arg type="au"/><arg type="u"/><arg type="u"/><arg type="u"/><arg type="u"/><arg type="t"/>
  <arg type="b"/></method>
</interface>
</node>"""
X8R8G8B8 = 0x20020888
INTERFACES = {
    "copy": [],
    "map": ["org.qemu.Display1.Listener.Unix.Map"],
    "dmabuf": [],
    "dmabuf2": ["org.qemu.Display1.Listener.Unix.ScanoutDMABUF2"],
}


class Screen:
    """What a viewer would show."""

    def __init__(self):
        self.lock = threading.Lock()
        self.size = (0, 0)
        self.pixels = bytearray()
        self.source = None
        self.calls = {}
        self.cursor = (0, 0, 0, 0, b"")
        self.mouse = (0, 0, 0)
        self.buffer = None
        self.properties = {}
        self.changed = threading.Condition(self.lock)

    def resize(self, width, height):
        self.size = (width, height)
        self.pixels = bytearray(width * height * 4)

    def copy(self, x, y, width, height, data, start, stride):
        for row in range(height):
            at = ((y + row) * self.size[0] + x) * 4
            begin = start + row * stride
            self.pixels[at : at + width * 4] = data[begin : begin + width * 4]

    def call(self, method, arguments, fds):
        self.calls[method] = self.calls.get(method, 0) + 1
        if method == "Scanout":
            width, height, stride, pixel_format = (arguments.get_child_value(n).get_uint32() for n in range(4))
            data = arguments.get_child_value(4).get_data_as_bytes().get_data()
            assert pixel_format == X8R8G8B8 and len(data) == stride * height
            self.source = None
            self.resize(width, height)
            self.copy(0, 0, width, height, data, 0, stride)
        elif method == "Update":
            x, y, width, height = (arguments.get_child_value(n).get_int32() for n in range(4))
            stride = arguments.get_child_value(4).get_uint32()
            data = arguments.get_child_value(6).get_data_as_bytes().get_data()
            assert self.source is None and self.inside(x, y, width, height)
            assert len(data) == stride * height
            self.copy(x, y, width, height, data, 0, stride)
        elif method == "ScanoutMap":
            handle, offset, width, height, stride, pixel_format = arguments.unpack()
            assert pixel_format == X8R8G8B8
            fd = fds.steal_fds()[handle]
            # As qemu-vnc does: private and read-only.
            memory = mmap.mmap(fd, height * stride, mmap.MAP_PRIVATE, mmap.PROT_READ, offset=offset)
            os.close(fd)
            self.source = (memory, stride)
            self.resize(width, height)
        elif method == "UpdateMap":
            x, y, width, height = arguments.unpack()
            memory, stride = self.source
            assert self.inside(x, y, width, height)
            self.copy(x, y, width, height, memory, y * stride + x * 4, stride)
        elif method == "ScanoutDMABUF":
            handle, width, height, stride, fourcc, modifier, y0_top = arguments.unpack()
            self.take_dmabuf(fds.steal_fds()[handle], width, height, 0, stride, fourcc, modifier, y0_top)
        elif method == "ScanoutDMABUF2":
            (handles, x, y, width, height, offsets, strides, planes, fourcc, backing_width,
             backing_height, modifier, y0_top) = arguments.unpack()
            assert (x, y, planes, len(handles)) == (0, 0, 1, 1)
            assert (backing_width, backing_height) == (width, height)
            self.take_dmabuf(
                fds.steal_fds()[handles[0]], width, height, offsets[0], strides[0], fourcc, modifier, y0_top)
        elif method == "UpdateDMABUF":
            x, y, width, height = arguments.unpack()
            assert self.inside(x, y, width, height)
            self.read_dmabuf(x, y, width, height)
        elif method == "Disable":
            self.drop_dmabuf()
        elif method == "MouseSet":
            self.mouse = arguments.unpack()
        elif method == "CursorDefine":
            width, height, hot_x, hot_y = (arguments.get_child_value(n).get_int32() for n in range(4))
            data = arguments.get_child_value(4).get_data_as_bytes().get_data()
            assert len(data) == width * height * 4
            self.cursor = (width, height, hot_x, hot_y, data)

    def inside(self, x, y, width, height):
        return x >= 0 and y >= 0 and x + width <= self.size[0] and y + height <= self.size[1]

    def take_dmabuf(self, fd, width, height, offset, stride, fourcc, modifier, y0_top):
        self.drop_dmabuf()
        status = os.fstat(fd)
        length = os.lseek(fd, 0, os.SEEK_END)
        name = fourcc.to_bytes(4, "little").decode()
        self.buffer = (fd, f"{status.st_ino} {length} {name} {width}x{height} stride {stride} "
                       f"offset {offset} modifier {modifier:#x} y0_top {int(y0_top)}")
        try:
            memory = mmap.mmap(fd, length, mmap.MAP_SHARED, mmap.PROT_READ)
        except OSError:
            memory = None
        self.source = (memory, stride)
        self.resize(width, height)

    def read_dmabuf(self, x, y, width, height):
        memory, stride = self.source
        if memory is not None:
            self.copy(x, y, width, height, memory, y * stride + x * 4, stride)

    def drop_dmabuf(self):
        if self.buffer is not None:
            os.close(self.buffer[0])
            self.buffer = None
            self.source = None


def listen(connection, destination, screen, kind):
    ours, theirs = socket.socketpair()
    fds = Gio.UnixFDList.new()
    handle = fds.append(theirs.fileno())
    theirs.close()
    made = {}

    def authenticate():
        stream = Gio.Socket.new_from_fd(ours.detach()).connection_factory_create_connection()
        flags = Gio.DBusConnectionFlags
        made["connection"] = Gio.DBusConnection.new_sync(
            stream, None, flags.AUTHENTICATION_CLIENT | flags.DELAY_MESSAGE_PROCESSING, None, None)

    thread = threading.Thread(target=authenticate)
    thread.start()
    connection.call_with_unix_fd_list_sync(
        destination, ROOT + "/Console_0", "org.qemu.Display1.Console", "RegisterListener",
        GLib.Variant("(h)", (handle,)), None, Gio.DBusCallFlags.NONE, -1, fds, None)
    thread.join()
    peer = made["connection"]

    def called(_peer, _sender, _path, _interface, method, arguments, invocation):
        try:
            with screen.lock:
                screen.call(method, arguments, invocation.get_message().get_unix_fd_list())
        except BaseException as error:
            # A test that goes on after this proves nothing.
            print(f"{method}: {error!r}", file=sys.stderr, flush=True)
            os._exit(1)
        invocation.return_value(None)

    def get(_peer, _sender, _path, _interface, _name):
        return GLib.Variant("as", INTERFACES[kind])

    node = Gio.DBusNodeInfo.new_for_xml(XML)
    names = ["org.qemu.Display1.Listener"] + INTERFACES[kind]
    for interface in node.interfaces:
        if interface.name in names:
            peer.register_object(ROOT + "/Listener", interface, called, get, None)
    peer.start_message_processing()
    return peer


def obey(line, console, keyboard, mouse, screen):
    order, *words = line.split()
    call = lambda proxy, method, arguments: proxy.call_sync(method, arguments, 0, -1, None)
    numbers = [int(word) for word in words if word.lstrip("-").isdigit()]
    if order == "capture":
        with screen.lock:
            with open(words[0], "wb") as file:
                file.write(screen.pixels)
            return "%dx%d" % screen.size
    if order in ("press", "release"):
        call(keyboard, order.title(), GLib.Variant("(u)", numbers))
    elif order in ("down", "up"):
        call(mouse, {"down": "Press", "up": "Release"}[order], GLib.Variant("(u)", numbers))
    elif order == "abs":
        call(mouse, "SetAbsPosition", GLib.Variant("(uu)", numbers))
    elif order == "rel":
        call(mouse, "RelMotion", GLib.Variant("(ii)", numbers))
    elif order == "size":
        call(console, "SetUIInfo", GLib.Variant("(qqiiuu)", numbers[:2] + [0, 0] + numbers[2:]))
    elif order == "calls":
        with screen.lock:
            return " ".join(f"{name}={count}" for name, count in sorted(screen.calls.items()))
    elif order == "cursor":
        with screen.lock:
            width, height, x, y, data = screen.cursor
            with open(words[0], "wb") as file:
                file.write(data)
            return f"{width}x{height}+{x}+{y} at %d,%d %d" % screen.mouse
    elif order == "buffer":
        with screen.lock:
            return screen.buffer[1] if screen.buffer else "none"
    elif order == "get":
        arguments = GLib.Variant("(ss)", ("org.qemu.Display1.Console", words[0]))
        value = call(console, "org.freedesktop.DBus.Properties.Get", arguments)
        return str(value.unpack()[0])
    elif order == "changed":
        with screen.lock:
            seen = screen.changed.wait_for(
                lambda: str(screen.properties.get(words[0])) == words[1], timeout=20)
        return "ok" if seen else "not in time"
    return "ok"


def main():
    (way, where), kind = sys.argv[1].split(":", 1), sys.argv[2]
    flags = Gio.DBusConnectionFlags
    if way == "bus":
        connection = Gio.DBusConnection.new_for_address_sync(
            where, flags.AUTHENTICATION_CLIENT | flags.MESSAGE_BUS_CONNECTION, None, None)
        destination = "org.qemu"
    else:
        connection = Gio.DBusConnection.new_for_address_sync(
            "unix:path=" + where, flags.AUTHENTICATION_CLIENT, None, None)
        destination = None
    managed = connection.call_sync(
        destination, ROOT, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", None, None, 0, -1, None)
    objects = managed.unpack()[0]
    assert "org.qemu.Display1.VM" in objects[ROOT + "/VM"]
    consoles = [path for path in objects if "org.qemu.Display1.Console" in objects[path]]
    assert consoles == [ROOT + "/Console_0"]
    proxies = [
        Gio.DBusProxy.new_sync(connection, 0, None, destination, consoles[0], "org.qemu.Display1." + name, None)
        for name in ("Console", "Keyboard", "Mouse")
    ]
    screen = Screen()
    loop = GLib.MainLoop()

    def properties_changed(_proxy, changed, _invalidated):
        with screen.lock:
            screen.properties.update(changed.unpack())
            screen.changed.notify_all()

    proxies[0].connect("g-properties-changed", properties_changed)
    peer = listen(connection, destination, screen, kind)
    peer.connect("closed", lambda *_: print("closed", flush=True))

    def orders():
        print("ready", flush=True)
        for line in sys.stdin:
            try:
                answer = obey(line, *proxies, screen)
            except GLib.Error as error:
                answer = f"error {Gio.DBusError.get_remote_error(error)}"
            print(answer, flush=True)
        os._exit(0)

    threading.Thread(target=orders, daemon=True).start()
    loop.run()


main()
