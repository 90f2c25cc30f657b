# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Prints what org.qemu on a bus says of itself, a line for each thing, in an order of its own.

introspect.py ADDRESS
"""

import sys
import time

import gi

gi.require_version("Gio", "2.0")
from gi.repository import Gio, GLib

ROOT = "/org/qemu/Display1"


def arguments(infos):
    return ", ".join(f"{info.signature} {info.name}" for info in infos)


def describe(path, node):
    for interface in node.interfaces:
        yield f"{path} {interface.name}"
        for method in interface.methods:
            # What an answer's parts are called is for people: zbus gives them no names.
            answer = "".join(info.signature for info in method.out_args)
            yield f"{path} {interface.name} method {method.name}({arguments(method.in_args)}) -> ({answer})"
        for signal in interface.signals:
            yield f"{path} {interface.name} signal {signal.name}({arguments(signal.args)})"
        for prop in interface.properties:
            access = "r" * bool(prop.flags & 1) + "w" * bool(prop.flags & 2)
            yield f"{path} {interface.name} property {prop.signature} {prop.name} {access}"


def main():
    flags = Gio.DBusConnectionFlags
    bus = Gio.DBusConnection.new_for_address_sync(
        sys.argv[1], flags.AUTHENTICATION_CLIENT | flags.MESSAGE_BUS_CONNECTION, None, None)

    def call(path, method, arguments=None):
        return bus.call_sync("org.qemu", path, *method.rsplit(".", 1), arguments, None, 0, -1, None).unpack()[0]

    for _ in range(300):
        try:
            objects = call(ROOT, "org.freedesktop.DBus.ObjectManager.GetManagedObjects")
            break
        except GLib.Error:
            # A QEMU takes a while to be there.
            time.sleep(0.1)
    paths = [ROOT] + [path for path in objects]
    lines = [line for path in paths
             for line in describe(path, Gio.DBusNodeInfo.new_for_xml(
                 call(path, "org.freedesktop.DBus.Introspectable.Introspect")))]
    lines += [f"{path} {interface} managed {name}"
              for path, interfaces in objects.items()
              for interface, properties in interfaces.items()
              for name in properties]
    print("\n".join(sorted(lines)))


main()
