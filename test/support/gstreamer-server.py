"""Cameras of GStreamer's RTSP server, each with coded pictures of ours in a loop.

usage: gstreamer-server.py <rate, frames/s> <name> <codec: h264 or h265> <file> [<name> <codec> <file> ...]

A file holds one access unit after the other in Annex B, each behind its length in four bytes, big-endian. Says two ports when it takes connections:
one for everybody, and one that asks for me:hidden1 by Digest.
"""

import struct
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

DIGEST = 2


def units_of(path):
    units = []
    with open(path, "rb") as file:
        while head := file.read(4):
            (length,) = struct.unpack(">I", head)
            units.append(file.read(length))
    return units


class Camera(GstRtspServer.RTSPMediaFactory):
    def __init__(self, codec, units, rate):
        super().__init__()
        self.units, self.frame_ns = units, int(Gst.SECOND / rate)
        number = codec[1:]
        self.set_shared(True)
        self.set_launch(
            f"( appsrc name=src is-live=true format=time caps=video/x-{codec},stream-format=byte-stream,alignment=au"
            f" ! h{number}parse ! rtph{number}pay name=pay0 pt=96 config-interval=-1 )"
        )

    def do_configure(self, media):
        source = media.get_element().get_by_name_recurse_up("src")
        sent = 0

        def send(_source, _length):
            nonlocal sent
            buffer = Gst.Buffer.new_wrapped(self.units[sent % len(self.units)])
            buffer.pts = sent * self.frame_ns
            buffer.duration = self.frame_ns
            sent += 1
            source.emit("push-buffer", buffer)

        source.connect("need-data", send)


def open_server():
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service("0")
    return server


def lock(server):
    auth = GstRtspServer.RTSPAuth()
    auth.set_supported_methods(DIGEST)
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "user")
    auth.add_digest("me", "hidden1", token)
    server.set_auth(auth)


def allow_user(camera):
    permissions = GstRtspServer.RTSPPermissions()
    for what in ("access", "construct"):
        permissions.add_permission_for_role("user", f"media.factory.{what}", True)
    camera.set_permissions(permissions)


def main(rate, *cameras):
    Gst.init(None)
    public, locked = open_server(), open_server()
    lock(locked)
    for name, codec, path in zip(*[iter(cameras)] * 3):
        units = units_of(path)
        public.get_mount_points().add_factory(f"/{name}", Camera(codec, units, float(rate)))
        camera = Camera(codec, units, float(rate))
        allow_user(camera)
        locked.get_mount_points().add_factory(f"/{name}", camera)
    for server in (public, locked):
        server.attach(None)
    print(public.get_bound_port(), locked.get_bound_port(), flush=True)
    GLib.MainLoop().run()


main(*sys.argv[1:])
