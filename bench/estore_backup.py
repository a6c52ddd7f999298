# SPDX-License-Identifier: MIT
"""What runs inside the measured processes of a backup: our engine into a file, and a careful Python program."""

from __future__ import annotations

import hashlib
import zlib
from typing import Any

from estore_contenders import DATABASE, content_on_path

BACKUP_MODULE = "mend_mongo_backup"
_BATCH = 1000


def dump_to_file(uri: str, path: str) -> None:
    """Survey and dump as the module does, with the SHA-256 that its upload computes."""
    content_on_path()
    from ansible.module_utils.mendbook import mongo_dump
    from ansible.module_utils.mendbook.mongo import connect

    params = {"uri": uri, "connect_timeout_seconds": 5, "operation_timeout_seconds": 60}
    digest = hashlib.sha256()
    with connect(params) as deployment, open(path, "wb") as file:

        def write(data: bytes) -> None:
            file.write(data)
            digest.update(data)

        survey = mongo_dump.survey(deployment, DATABASE, params)
        dumped = mongo_dump.dump(deployment, DATABASE, survey, write)
    print(dumped.documents, dumped.bytes, digest.hexdigest())


def find_and_gzip(uri: str, path: str) -> None:
    """What a careful Python program would do: find, encode again, one block after the other, gzip as mongodump's."""
    content_on_path()
    import bson
    import pymongo
    from bson import Int64, json_util
    from bson.codec_options import CodecOptions
    from fastcrc.crc64 import xz as crc64

    terminator = b"\xff\xff\xff\xff"
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    with pymongo.MongoClient(uri) as client, open(path, "wb") as file:
        database = client.get_database(DATABASE, codec_options=CodecOptions(tz_aware=False))

        def write(data: bytes) -> None:
            file.write(packer.compress(data))

        def header(name: str, end: bool, crc: int) -> bytes:
            signed = crc - (1 << 64) if crc >> 63 else crc
            return bson.encode({"db": DATABASE, "collection": name, "EOF": end, "CRC": Int64(signed)})

        collections = [one for one in database.list_collections() if one["type"] == "collection"]
        versions = {"server_version": client.server_info()["version"], "tool_version": "bench"}
        write(b"\x6d\xe2\x99\x81" + bson.encode({"concurrent_collections": 4, "version": "0.1", **versions}))
        for one in collections:
            indexes = list(database[one["name"]].list_indexes())
            metadata: dict[str, Any] = {"options": one["options"], "indexes": indexes, "type": "collection"}
            entry = {"db": DATABASE, "collection": one["name"], "metadata": json_util.dumps(metadata)}
            write(bson.encode({**entry, "size": 0, "type": "collection"}))
        write(terminator)
        for one in collections:
            name, crc, batch = one["name"], 0, []
            for document in database[name].find(batch_size=_BATCH):
                batch.append(bson.encode(document))
                if len(batch) == _BATCH:
                    data, batch = b"".join(batch), []
                    crc = crc64(data, crc)
                    write(header(name, False, 0) + data + terminator)
            data = b"".join(batch)
            crc = crc64(data, crc)
            write(header(name, False, 0) + data + terminator + header(name, True, crc) + terminator)
        file.write(packer.flush())
