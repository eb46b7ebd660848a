# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A registry like MLflow's and a bucket like S3's on loopback, as recorded from the real ones, to be bent by tests.

lab/sources/ has tests with the real servers.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, quote_plus, unquote, urlsplit
from xml.sax.saxutils import escape

from http_double import Server
from saved_models import MODEL

API = "/api/2.0"
RUN = "fe8bf03633724556b642b7bdeba2234a"
ROOT = f"mlflow-artifacts:/1/{RUN}/artifacts/model"
MLMODEL = b"artifact_path: model\nflavors:\n  tensorflow:\n    saved_model_dir: tf2model\n    model_type: tf2-module\n"
LOGGED = {"MLmodel": MLMODEL, "conda.yaml": b"x", **{f"tf2model/{name}": content for name, content in MODEL.items()}}


def answer(handler: BaseHTTPRequestHandler, status: int, body: bytes, **headers: str) -> None:
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def send_file(handler: BaseHTTPRequestHandler, content: bytes, etag: str) -> None:
    """Answer as both servers do: the whole file, or what Range asks for."""
    headers = {"ETag": etag} if etag else {}
    if handler.headers.get("If-Match", etag) != etag:
        answer(handler, 412, b"<Error><Code>PreconditionFailed</Code></Error>")
        return
    asked = re.fullmatch(r"bytes=([0-9]+)-([0-9]*)", handler.headers.get("Range", ""))
    if not asked:
        answer(handler, 200, content, **headers)
        return
    begin, end = int(asked[1]), int(asked[2] or len(content) - 1)
    part = content[begin : end + 1]
    answer(handler, 206, part, Content_Range=f"bytes {begin}-{end}/{len(content)}", **headers)


class Registry:
    """One model with some versions; each call may be replaced in `calls` by what returns (status, body)."""

    def __init__(self, server: Server, files: Mapping[str, bytes] = LOGGED) -> None:
        self.server, self.files = server, dict(files)
        self.aliases = {"champion": "8"}
        self.source: dict[str, Any] = {"8": ROOT}
        self.calls: dict[str, Any] = {}
        for name, call in {
            "mlflow/registered-models/alias": self._alias,
            "mlflow/model-versions/get": self._version,
            "mlflow/model-versions/get-download-uri": self._uri,
            "mlflow-artifacts/artifacts": self._list,
        }.items():
            self.json(name, call)
        for path in files:
            self.serve(path)

    def json(self, name: str, call: Any) -> None:
        """Answer a call of the API by what `call` returns for its query: (status, mapping), or bytes instead."""

        def handle(handler: BaseHTTPRequestHandler) -> None:
            query = {key: values[0] for key, values in parse_qs(urlsplit(handler.path).query).items()}
            status, found = self.calls.get(name, call)(query)
            answer(handler, status, found if isinstance(found, bytes) else json.dumps(found).encode())

        self.server.answers[f"{API}/{name}"] = handle

    def serve(self, path: str) -> None:
        place = f"{API}/mlflow-artifacts/artifacts{ROOT.partition(':')[2]}/{path}"
        self.server.answers[place] = lambda handler: send_file(handler, self.files[path], "")

    def asked(self, name: str) -> int:
        """Return how often a call came."""
        return sum(path.partition("?")[0] == f"{API}/{name}" for path, _headers in self.server.requests)

    def wish(self, **changes: Any) -> dict[str, Any]:
        return {"type": "mlflow", "uri": self.server.url, "model": "ranker", **changes}

    def _alias(self, query: Mapping[str, str]) -> tuple[int, Any]:
        version = self.aliases.get(query["alias"])
        if version is None:
            return 400, {"error_code": "INVALID_PARAMETER_VALUE", "message": "Registered model alias not found."}
        return 200, {"model_version": {"name": query["name"], "version": version, "status": "READY"}}

    def _version(self, query: Mapping[str, str]) -> tuple[int, Any]:
        if query["version"] not in self.source:
            return 404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "Model Version not found"}
        return 200, {"model_version": {"name": query["name"], "version": query["version"], "status": "READY"}}

    def _uri(self, query: Mapping[str, str]) -> tuple[int, Any]:
        return 200, {"artifact_uri": self.source[query["version"]]}

    def _list(self, query: Mapping[str, str]) -> tuple[int, Any]:
        inner = query["path"].removeprefix(ROOT.partition(":/")[2]).strip("/")
        below = [path[len(inner) :].lstrip("/") for path in self.files if path.startswith(f"{inner}/" if inner else "")]
        folders = sorted({path.partition("/")[0] for path in below if "/" in path})
        entries = [{"path": name, "is_dir": True} for name in folders]
        entries += [
            {"path": path, "is_dir": False, "file_size": len(self.files[f"{inner}/{path}".lstrip("/")])}
            for path in below
            if "/" not in path
        ]
        return 200, {"files": entries}


class Bucket:
    """A bucket named models; `objects` are its contents, `page` is how many keys a listing has."""

    def __init__(self, server: Server, objects: Mapping[str, bytes], page: int = 2) -> None:
        self.server, self.objects, self.page = server, dict(objects), page
        server.answers["/models/"] = self._list
        for key in objects:
            self.serve(key)

    def serve(self, key: str) -> None:
        def handle(handler: BaseHTTPRequestHandler) -> None:
            send_file(handler, self.objects[key], etag(self.objects[key]))

        self.server.answers[f"/models/{key}"] = handle

    def wish(self, **changes: Any) -> dict[str, Any]:
        return {"type": "s3", "uri": "s3://models/ranker/{version}/", "endpoint": self.server.url, **changes}

    def _list(self, handler: BaseHTTPRequestHandler) -> None:
        query = {key: values[0] for key, values in parse_qs(urlsplit(handler.path).query).items()}
        keys = sorted(key for key in self.objects if key.startswith(query["prefix"]))
        begin = int(query.get("continuation-token", 0))
        answer(handler, 200, listing(keys[begin : begin + self.page], self.objects, begin + self.page, len(keys)))


def etag(content: bytes) -> str:
    return f'"{hashlib.md5(content).hexdigest()}"'


def listing(keys: list[str], objects: Mapping[str, bytes], following: int, count: int) -> bytes:
    """Return a page as S3 writes it."""
    entries = "".join(
        f"<Contents><Key>{escape(quote_plus(key, safe='/'))}</Key><ETag>{escape(etag(objects[key]))}</ETag>"
        f"<Size>{len(objects[key])}</Size></Contents>"
        for key in keys
    )
    more = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{following}</NextContinuationToken>"
    rest = more if following < count else "<IsTruncated>false</IsTruncated>"
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<EncodingType>url</EncodingType>{rest}{entries}</ListBucketResult>"
    ).encode()


def asked_for(server: Server) -> list[str]:
    """Return the paths that were asked for, without queries."""
    return [unquote(path.partition("?")[0]) for path, _headers in server.requests]
