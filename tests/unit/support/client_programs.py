# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The clients of clients/, each behind a driver that is told by lines what to call."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from real_protos import RUNTIME
from repository import REPOSITORY

CLIENTS = ("python", "python with the protos here", "go", "java")
ROOT = REPOSITORY / "clients"
DRIVERS = REPOSITORY / "tests" / "unit" / "clients" / "drivers"
# Where Debian's packages put the sources of Go's modules, and Java's archives.
GO_SOURCES, JARS = Path("/usr/share/gocode"), Path("/usr/share/java")


@contextmanager
def started(client, folders):
    """Start the driver of a client, and yield what asks it: a verb and its words, to the words of its answer."""
    command, environment = COMMANDS[client](folders.mktemp(client.replace(" ", "-")))
    driver = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )

    def ask(*words):
        driver.stdin.write(" ".join(map(str, words)) + "\n")
        driver.stdin.flush()
        line = driver.stdout.readline()
        assert line, f"the driver of {client} ended"
        return line.split()

    with driver:
        yield ask


def _python(_folder):
    return [sys.executable, str(DRIVERS / "driver.py"), str(ROOT / "python"), str(RUNTIME)], {}


def _python_by_protos(folder):
    described = folder / "protos.binpb"
    _protoc(f"--descriptor_set_out={described}", "--include_imports")
    return [*_python(folder)[0], str(described)], {}


def _go(folder):
    _needed("go", "protoc-gen-go", "protoc-gen-go-grpc")
    sources = folder / "src"
    shutil.copytree(ROOT / "go", sources / "pieces")
    shutil.copytree(DRIVERS, sources / "driver", ignore=lambda _, names: [n for n in names if n != "driver.go"])
    _protoc(f"--go_out={sources}", f"--go-grpc_out={sources}")
    # Debian's sources of Go's modules stand in a tree of the older kind.
    tree = {"GO111MODULE": "off", "GOPATH": f"{folder}:{GO_SOURCES}", "GOCACHE": str(folder / "cache"), "GOFLAGS": ""}
    subprocess.run(["go", "vet", "pieces"], check=True, env={**os.environ, **tree})
    subprocess.run(["go", "build", "-o", folder / "run", "driver"], check=True, env={**os.environ, **tree})
    return [str(folder / "run")], {}


def _java(folder):
    _needed("javac", "java", "grpc_java_plugin")
    made, classes = folder / "made", folder / "classes"
    made.mkdir()
    _protoc(
        f"--java_out={made}",
        f"--grpc-java_out={made}",
        f"--plugin=protoc-gen-grpc-java={shutil.which('grpc_java_plugin')}",
    )
    sources = [*made.rglob("*.java"), *(ROOT / "java").glob("*.java"), DRIVERS / "Driver.java"]
    path = f"{classes}:{JARS}/*"
    subprocess.run(["javac", "-nowarn", "--release", "11", "-cp", path, "-d", classes, *sources], check=True)
    return ["java", "-XX:TieredStopAtLevel=1", "-cp", path, "Driver"], {}


COMMANDS = dict(zip(CLIENTS, (_python, _python_by_protos, _go, _java)))


def _protoc(*out):
    _needed("protoc")
    protos = ROOT / "protos"
    subprocess.run(["protoc", f"-I{protos}", *out, *map(str, protos.glob("*.proto"))], check=True)


def _needed(*names):
    """Skip the tests of a language unless `make clients` runs them, which installs what they need."""
    if not os.environ.get("LAB_CLIENTS"):
        pytest.skip("needs Debian's compilers and gRPC: run `make clients`")
    missing = [name for name in names if not shutil.which(name)]
    assert not missing, f"there is no {missing[0]}"
