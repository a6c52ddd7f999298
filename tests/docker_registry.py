"""A registry inside the network of an engine of the lab, with images made on the spot: what is pulled has digests."""

from __future__ import annotations

import ctypes
import hashlib
import io
import json
import os
import socket
import tarfile
import threading
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# nobody else is in the engine's network
_PORT = 5000
_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG = "application/vnd.docker.container.image.v1+json"
_LAYER = "application/vnd.docker.image.rootfs.diff.tar"


def layer(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE) -> bytes:
    """The tar of a layer with one file of this name and size; with a size of 0, a folder."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as tar:
        entry = tarfile.TarInfo(name)
        entry.size, entry.type, entry.mode = size, kind if size else tarfile.DIRTYPE, 0o755
        tar.addfile(entry, io.BytesIO(name.encode() * (size // len(name) + 1)))
    return output.getvalue()


def config(layers: Sequence[bytes], labels: Mapping[str, str], created: str) -> bytes:
    """The configuration of an image of these layers: a step for each, and one that makes none."""
    steps = [{"created": created, "created_by": "RUN something"} for _ in layers]
    return json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "created": created,
            "config": {"Cmd": ["sleep", "infinity"], "Labels": dict(labels)},
            "rootfs": {"type": "layers", "diff_ids": [digest(one) for one in layers]},
            "history": [*steps, {"created": created, "created_by": "ENV A=b", "empty_layer": True}],
        }
    ).encode()


def archive(tags: Sequence[str], layers: Sequence[bytes], described: bytes) -> bytes:
    """The same image as ``docker save`` writes it, for ``docker load``."""
    output = io.BytesIO()
    names = [f"{number}.tar" for number in range(len(layers))]
    manifest = [{"Config": "config.json", "RepoTags": list(tags) or None, "Layers": names}]
    files = {
        "config.json": described,
        "manifest.json": json.dumps(manifest).encode(),
        **dict(zip(names, layers, strict=True)),
    }
    with tarfile.open(fileobj=output, mode="w") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return output.getvalue()


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Registry:
    """Answers pulls at ``address`` as the engine sees it; ``put`` gives it an image."""

    def __init__(self, netns: str) -> None:
        self._blobs: dict[str, tuple[str, bytes]] = {}
        listening = _socket_in(netns)
        self.address = f"127.0.0.1:{_PORT}"
        blobs = self._blobs

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                kind, data = blobs.get(self.path, ("application/json", b"{}"))
                self.send_response(200 if self.path in blobs or self.path == "/v2/" else 404)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(data)))
                self.send_header("Docker-Content-Digest", digest(data))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(data)

            do_HEAD = do_GET

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
        self._server.socket.close()
        self._server.socket = listening
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def put(self, name: str, tag: str, layers: Sequence[bytes], described: bytes) -> str:
        """An image under ADDRESS/NAME:TAG, which is returned."""
        entries = [{"mediaType": _LAYER, "size": len(one), "digest": digest(one)} for one in layers]
        first = {"mediaType": _CONFIG, "size": len(described), "digest": digest(described)}
        manifest = json.dumps({"schemaVersion": 2, "mediaType": _MANIFEST, "config": first, "layers": entries}).encode()
        for data in (described, *layers):
            self._blobs[f"/v2/{name}/blobs/{digest(data)}"] = ("application/octet-stream", data)
        for reference in (tag, digest(manifest)):
            self._blobs[f"/v2/{name}/manifests/{reference}"] = (_MANIFEST, manifest)
        return f"{self.address}/{name}:{tag}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _socket_in(netns: str) -> socket.socket:
    """A listening socket in another network namespace: it stays in that of the thread that has made it."""
    made: list[socket.socket] = []

    def make() -> None:
        file = os.open(netns, os.O_RDONLY)
        try:
            if ctypes.CDLL(None, use_errno=True).setns(file, 0):
                raise OSError(ctypes.get_errno(), "setns")
        finally:
            os.close(file)
        made.append(socket.create_server(("127.0.0.1", _PORT), backlog=50))

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    return made[0]
