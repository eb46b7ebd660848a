# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The source of the server for the lab's hosts: the lab's own repository, or upstream's if wanted and reachable."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

from fleet_lab.build import hashing
from fleet_lab.build.packages import packages_key
from fleet_lab.config import PACKAGES_NAME, Lab

TIMEOUT_S = 10

UPSTREAM = {
    "name": "upstream",
    "uri": "https://storage.googleapis.com/tensorflow-serving-apt",
    "suite": "stable",
    "key_url": "https://storage.googleapis.com/tensorflow-serving-apt/tensorflow-serving.release.pub.gpg",
    "key_fingerprint": "916E2B2FEBC274930BACA9D9544B7F63BF9E4D5F",
}


def server_source(lab: Lab) -> str:
    """Write server.json, which the lab's inventory reads, and return a summary of it."""
    wanted = lab.server == "upstream"
    upstream = wanted and reachable(f"{UPSTREAM['uri']}/dists/stable/Release")
    facts = UPSTREAM if upstream else reference(lab)
    lab.server_facts.write_text(json.dumps(facts, indent=2) + "\n")
    if wanted and not upstream:
        return f"{UPSTREAM['uri']} cannot be reached: falling back to the reference server"
    return f"{facts['name']} server from {facts['uri']}"


def reference(lab: Lab) -> dict[str, str]:
    return {
        "name": "reference",
        "uri": f"http://{PACKAGES_NAME}/apt",
        "suite": "stable",
        "key_url": f"http://{PACKAGES_NAME}/apt/key.asc",
        "key_fingerprint": (lab.repository / "fingerprint").read_text().strip(),
    }


def content_key(lab: Lab) -> str:
    """Return a key for packages and models: hosts would not notice a change under an unchanged version."""
    return hashing.key_of_files([lab.server_facts, lab.models / "checksums.json"], packages_key(lab))


def reachable(url: str) -> bool:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=TIMEOUT_S) as response:
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False
