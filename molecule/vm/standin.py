#!/usr/bin/python3 -I
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Stands in for tensorflow_model_server where importing TensorFlow would take minutes, for tests only.

It starts as many threads as the server's pools would have, keeps some memory, and answers what the role asks before it
believes that an instance serves. It predicts nothing: every instance comes back as it went in.
"""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

# Enough for every thread to be seen on its CPUs, little enough to leave an emulated machine some time of its own.
BUSY_S, IDLE_S = 0.005, 0.5
MEMORY_MB = 32


def main() -> None:
    flags = dict(argument[2:].split("=", 1) for argument in sys.argv[1:])
    pools = ("tensorflow_intra_op_parallelism", "tensorflow_inter_op_parallelism")
    for _ in range(sum(int(flags.get(name, 1)) for name in pools)):
        threading.Thread(target=work_in_bursts, daemon=True).start()
    weights = bytearray(b"\1") * (MEMORY_MB << 20)
    Answers.models = models(Path(flags["model_config_file"]).read_text())
    # On every address, as the server: who may talk to it is up to the unit's address rules.
    ThreadingHTTPServer(("", int(flags["rest_api_port"])), Answers).serve_forever()
    del weights


def work_in_bursts() -> None:
    while True:
        end = time.monotonic() + BUSY_S
        while time.monotonic() < end:
            pass
        time.sleep(IDLE_S)


def models(config: str) -> dict[str, Path]:
    """Names and folders of the models in a ModelServerConfig."""
    names = re.findall(r'^\s*name: "(.*)"$', config, re.MULTILINE)
    folders = re.findall(r'^\s*base_path: "(.*)"$', config, re.MULTILINE)
    return dict(zip(names, map(Path, folders)))


# One tensor in, one out, each with a free first dimension: a model that can be served in batches.
TENSOR = {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [{"size": "-1"}, {"size": "1"}]}, "name": "x:0"}
SIGNATURES = {"serving_default": {"inputs": {"x": TENSOR}, "outputs": {"y": TENSOR}, "method_name": "predict"}}
ASKED = re.compile(r"/v1/models/([^/]+)(?:/versions/[0-9]+)?(/metadata)?")


class Answers(BaseHTTPRequestHandler):
    """The status and the metadata of a model's newest version, and predictions that are no predictions."""

    models: dict[str, Path] = {}

    def do_GET(self) -> None:
        name, metadata = (ASKED.fullmatch(self.path) or ASKED.fullmatch("/v1/models/-")).groups()
        folder = self.models.get(name)
        if folder is None:
            self.answer({"error": "the stand-in does not know this"}, 404)
            return
        version = max(entry.name for entry in folder.iterdir() if entry.name.isdigit())
        if metadata:
            spec = {"name": name, "signature_name": "", "version": version}
            self.answer({"model_spec": spec, "metadata": {"signature_def": {"signature_def": SIGNATURES}}})
            return
        status = {"error_code": "OK", "error_message": ""}
        self.answer({"model_version_status": [{"version": version, "state": "AVAILABLE", "status": status}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.answer({"predictions": body["instances"]})

    def answer(self, body: dict, code: int = 200) -> None:
        data = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing: the journal is read by tests."""


if __name__ == "__main__":
    main()
