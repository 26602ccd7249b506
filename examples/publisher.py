#!/usr/bin/env python3
"""Publishes telemetry to a Sightline server: an example of docs/protocol.md in Python's standard library alone.

    python3 examples/publisher.py --url ws://127.0.0.1:8080/ws/telemetry --topic example/python --rate 50 --count 500

Speaks the subprotocol `sightline.v1.binary`: control messages are JSON text, data goes in binary batches. Publishing is
reliable: every message is numbered, kept until the server has confirmed it, and sent again over a new connection when the
old one is lost; the server removes duplicates by the numbers.
"""

import argparse
import base64
import collections
import hashlib
import json
import math
import os
import random
import select
import socket
import struct
import sys
import time
import urllib.parse

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
MESSAGE_BYTES_MAX = 1 << 20
BATCH_MESSAGES_MAX = 50
UNCONFIRMED_MAX = 10_000
ALIAS = 1
NORMAL = 1
# Refusals that pass: everything else is for good.
PASSING = ("RATE_EXCEEDED", "PUBLISH_SEQUENCE_BAD")


class Closed(Exception):
    """The connection is gone; the text says why."""


class WebSocket:
    """As much of RFC 6455 as a client needs."""

    def __init__(self, url, subprotocol, token=None, timeout_s=5.0):
        parts = urllib.parse.urlsplit(url)
        if parts.scheme != "ws":
            raise ValueError(f"the scheme of {url} is not ws")
        host, port = parts.hostname, parts.port or 80
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket = socket.create_connection((host, port), timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        lines = [
            f"GET {path} HTTP/1.1",
            f"Host: {parts.netloc}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Protocol: {subprotocol}",
            *([f"Authorization: Bearer {token}"] if token else []),
        ]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        while b"\r\n\r\n" not in self.buffer:
            self._read()
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        status, *fields = head.decode("latin-1").split("\r\n")
        if " 101 " not in f"{status} ":
            raise Closed(f"the server answered {status}")
        headers = {name.lower(): value.strip() for name, value in (field.split(":", 1) for field in fields)}
        guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1((key + guid).encode()).digest()).decode()
        if headers.get("sec-websocket-accept") != accept:
            raise Closed("the server's answer belongs to another question")
        if headers.get("sec-websocket-protocol") != subprotocol:
            raise Closed(f"the server does not speak {subprotocol}")

    def send(self, opcode, payload):
        """One frame; those of a client are masked."""
        length = len(payload)
        if length < 126:
            head = struct.pack("!BB", 0x80 | opcode, 0x80 | length)
        elif length < 1 << 16:
            head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, length)
        else:
            head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, length)
        mask = os.urandom(4)
        # The exclusive or of two long integers masks all bytes at once.
        pad = (mask * (length // 4 + 1))[:length]
        masked = (int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")).to_bytes(length, "big")
        try:
            self.socket.sendall(head + mask + masked)
        except OSError as error:
            raise Closed(str(error)) from error

    def receive(self, wait_s):
        """The next text or binary message, or None when none came in time. Pings are answered on the way."""
        until = time.monotonic() + wait_s
        message = b""
        while True:
            frame = self._frame()
            if frame is None:
                left = until - time.monotonic()
                if left <= 0 and not message:
                    return None
                if select.select([self.socket], [], [], max(left, 0.001))[0]:
                    self._read()
                continue
            final, opcode, payload = frame
            if opcode == PING:
                self.send(PONG, payload)
            elif opcode == CLOSE:
                code = struct.unpack("!H", payload[:2])[0] if len(payload) >= 2 else 1005
                raise Closed(f"the server closed with {code} {payload[2:].decode(errors='replace')}")
            elif opcode != PONG:
                message += payload
                if len(message) > MESSAGE_BYTES_MAX:
                    raise Closed("a message is too large")
                if final:
                    return message

    def close(self):
        try:
            self.send(CLOSE, struct.pack("!H", 1000))
        except Closed:
            pass
        self.socket.close()

    def _frame(self):
        data = self.buffer
        if len(data) < 2:
            return None
        length, at = data[1] & 0x7F, 2
        if length == 126:
            if len(data) < 4:
                return None
            length, at = struct.unpack_from("!H", data, 2)[0], 4
        elif length == 127:
            if len(data) < 10:
                return None
            length, at = struct.unpack_from("!Q", data, 2)[0], 10
        if length > MESSAGE_BYTES_MAX:
            raise Closed("a message is too large")
        if len(data) < at + length:
            return None
        self.buffer = data[at + length :]
        return bool(data[0] & 0x80), data[0] & 0x0F, data[at : at + length]

    def _read(self):
        try:
            data = self.socket.recv(65536)
        except OSError as error:
            raise Closed(str(error)) from error
        if not data:
            raise Closed("the server is gone")
        self.buffer += data


def batch(first_seq, messages):
    """A binary batch (docs/protocol.md, "Binary batches"): one section, JSON, not compressed; epoch 0 from a client."""
    body = b""
    for time_ms, data in messages:
        payload = json.dumps(data, separators=(",", ":"), allow_nan=False).encode()
        body += struct.pack("<dBI", time_ms, NORMAL, len(payload)) + payload
    header = struct.pack("<II", len(messages), len(body))
    envelope = struct.pack("<BBBBHHI", 0xB1, 1, 0, 0, 0, 1, len(header) + len(body))
    section = struct.pack("<IIdI", ALIAS, 0, float(first_seq), len(messages))
    return envelope + section + header + body


class Publisher:
    """Numbers its messages from 1 and keeps each until the server has confirmed it."""

    def __init__(self, url, topic, token=None):
        self.url, self.topic, self.token = url, topic, token
        self.client = None  # name and token, for taking the session up again
        self.socket = None
        self.offset_ms = 0.0
        self.seq = 0
        self.sent = 0
        self.confirmed = 0
        self.base = 0  # messages that earlier sessions have confirmed: each session counts from 1
        self.kept = collections.deque()  # (seq, time, data), not confirmed yet

    def now_ms(self):
        """On the server's clock."""
        return time.time() * 1000 + self.offset_ms

    def publish(self, data):
        if len(self.kept) >= UNCONFIRMED_MAX:
            raise Closed(f"{UNCONFIRMED_MAX} messages wait for the server")
        self.seq += 1
        self.kept.append((self.seq, self.now_ms(), data))

    def connect(self):
        query = f"?{urllib.parse.urlencode(self.client)}" if self.client else ""
        self.socket = WebSocket(self.url + query, "sightline.v1.binary", self.token)
        welcome = self._expect("welcome")
        self.client = {"client_id": welcome["client_id"], "token": welcome["token"]}
        best_ms = math.inf
        for _ in range(5):
            t0 = time.time() * 1000
            self._tell({"type": "clock", "t0": t0})
            clock = self._expect("clock")
            t3 = time.time() * 1000
            round_trip_ms = (t3 - t0) - (clock["t2"] - clock["t1"])
            if round_trip_ms < best_ms:
                best_ms = round_trip_ms
                self.offset_ms = ((clock["t1"] - t0) + (clock["t2"] - t3)) / 2
        self._tell({"type": "advertise", "alias": ALIAS, "topic": self.topic})
        if not welcome["resumed"]:
            self.base = self.confirmed
        self.sent = self.confirmed  # what was not confirmed goes again
        return welcome["resumed"], best_ms

    def flush(self):
        """Sends what was not sent on this connection, in batches."""
        waiting = [entry for entry in self.kept if entry[0] > self.sent]
        for start in range(0, len(waiting), BATCH_MESSAGES_MAX):
            part = waiting[start : start + BATCH_MESSAGES_MAX]
            self.socket.send(BINARY, batch(part[0][0] - self.base, [(time_ms, data) for _, time_ms, data in part]))
            self.sent = part[-1][0]

    def listen(self, wait_s):
        """Takes what the server says for so long at most."""
        until = time.monotonic() + wait_s
        while True:
            text = self.socket.receive(max(0.0, until - time.monotonic()))
            if text is None:
                return
            self._take(json.loads(text))

    def repeat(self):
        """Nothing was confirmed for too long: everything kept goes again."""
        self.sent = self.confirmed

    def _take(self, message):
        if message["type"] == "published":
            self.confirmed = max(self.confirmed, self.base + message["seq"])
            while self.kept and self.kept[0][0] <= self.confirmed:
                self.kept.popleft()
        elif message["type"] in ("error", "notice"):
            print(json.dumps(message), file=sys.stderr)
            if message.get("topic") == self.topic and message.get("code") not in PASSING:
                sys.exit(f"refused: {message['message']}")

    def _tell(self, message):
        self.socket.send(TEXT, json.dumps(message).encode())

    def _expect(self, kind, wait_s=5.0):
        until = time.monotonic() + wait_s
        while time.monotonic() < until:
            text = self.socket.receive(until - time.monotonic())
            if text is not None:
                message = json.loads(text)
                if message["type"] == kind:
                    return message
                self._take(message)
        raise Closed(f"no {kind} came within {wait_s} s")


def reading(i):
    """Something that moves: a vehicle on a circle."""
    angle = i / 100
    return {
        "pose": {"x": round(5 * math.cos(angle), 3), "y": round(5 * math.sin(angle), 3), "heading": round(angle, 4)},
        "battery": {"volt": round(24 + 0.1 * math.sin(i / 50), 2), "cells": [3.98, 3.97, round(3.9 + i % 3 / 100, 2)]},
        "mode": "circle",
    }


def main():
    arguments = argparse.ArgumentParser(description="Publishes telemetry to a Sightline server.")
    arguments.add_argument("--url", default="ws://127.0.0.1:8080/ws/telemetry")
    arguments.add_argument("--topic", default="example/python")
    arguments.add_argument("--rate", type=float, default=50, help="messages a second")
    arguments.add_argument("--count", type=int, default=500, help="messages in all")
    arguments.add_argument(
        "--token",
        default=os.environ.get("SIGHTLINE_TOKEN"),
        help="the key, where the server asks for one (default: $SIGHTLINE_TOKEN)",
    )
    options = arguments.parse_args()

    publisher = Publisher(options.url, options.topic, options.token)
    failures, quiet_since, confirmed = 0, time.monotonic(), 0
    began = time.monotonic()
    while publisher.confirmed < options.count:
        try:
            if publisher.socket is None:
                resumed, round_trip_ms = publisher.connect()
                print(f"connected, resumed: {resumed}, round trip {round_trip_ms:.1f} ms", file=sys.stderr)
                quiet_since = time.monotonic()
            due = min(options.count, int((time.monotonic() - began) * options.rate) + 1)
            while publisher.seq < due:
                publisher.publish(reading(publisher.seq))
            publisher.flush()
            publisher.listen(1 / options.rate)
            if publisher.confirmed > confirmed or not publisher.kept:
                confirmed, quiet_since, failures = publisher.confirmed, time.monotonic(), 0
            elif time.monotonic() - quiet_since > 0.5 * 2**failures:
                publisher.repeat()
                failures, quiet_since = failures + 1, time.monotonic()
        except (Closed, OSError) as error:
            if publisher.socket is not None:
                publisher.socket.socket.close()
                publisher.socket = None
            failures += 1
            if failures > 8:
                sys.exit(f"given up: {error}")
            # Exponential backoff with full jitter, so that many publishers do not come back at the same instant.
            wait_s = random.uniform(0, min(10, 0.25 * 2**failures))
            print(f"{error}; again in {wait_s:.1f} s", file=sys.stderr)
            time.sleep(wait_s)
    publisher.socket.close()
    seconds = time.monotonic() - began
    print(json.dumps({"topic": options.topic, "published": publisher.confirmed, "seconds": round(seconds, 2)}))


if __name__ == "__main__":
    main()
