# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A stand-in for amtool, with what it answered in Debian 12 (0.25.0) and 13 (0.28.1): silences in a file."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

PROGRAM = r"""
import json, pathlib, re, sys

def options(words):
    pairs = (word[2:].partition("=") for word in words if word.startswith("--"))
    return {name: value for name, _equals, value in pairs}

here = pathlib.Path(__file__).parent
place = here / "silences.json"
found = json.loads(place.read_text())
given, words = options(sys.argv[1:]), [word for word in sys.argv[1:] if not word.startswith("--")]
with (here / "calls").open("a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\n")
if (here / "answer").exists():
    status, out, err = json.loads((here / "answer").read_text())
    sys.stdout.write(out), sys.stderr.write(err)
    sys.exit(status)
command, rest = words[1], words[2:]
if command == "query":
    mine = [each for each in found if each["createdBy"] == given["created-by"] and each["status"]["state"] != "expired"]
    print(json.dumps(mine))
elif command == "add":
    made = [re.fullmatch(r'(\w+)=~"([^"\\]*)"', word).groups() for word in rest]
    silence = {
        "id": f"id-{len(found) + 1}", "status": {"state": "active"}, "comment": given["comment"],
        "createdBy": given["author"], "endsAt": given["end"].replace("Z", ".000Z"),
        "matchers": [{"isEqual": True, "isRegex": True, "name": name, "value": value} for name, value in made],
    }
    found.append(silence)
    print(silence["id"])
else:
    (silence,) = [each for each in found if each["id"] == rest[0]]
    if command == "update":
        silence["endsAt"] = given["end"].replace("Z", ".000Z")
    else:
        silence["status"] = {"state": "expired"}
place.write_text(json.dumps(found))
"""


class Amtool:
    """A folder for PATH with the program, and what it knows."""

    def __init__(self, folder: Path, *silences: dict[str, Any]) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "amtool").write_text(f"#!{sys.executable}\n{PROGRAM}")
        (folder / "amtool").chmod(0o755)
        (folder / "silences.json").write_text(json.dumps(silences))

    def silences(self) -> list[dict[str, Any]]:
        """Return all silences, those that have ended included."""
        found: list[dict[str, Any]] = json.loads((self.folder / "silences.json").read_text())
        return found

    def calls(self) -> list[list[str]]:
        """Return the arguments of each call."""
        return [json.loads(line) for line in (self.folder / "calls").read_text().splitlines()]

    def answers(self, status: int, out: str = "", err: str = "") -> None:
        """Let every call end like this."""
        (self.folder / "answer").write_text(json.dumps([status, out, err]))
