# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A make-believe host for the tests of template_tree, and the means to make it fail.

Failures are injected where the operating system is called: a child process counts its own calls that write (Python's
audit events name every one) and dies, or is told that the disk is full, at the chosen one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pickle
import re
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.tree.change import (
    Rendered,
    Rule,
    Rules,
    plan_reverted,
    plan_tree,
)
from ansible_collections.tfserving.fleet.plugins.module_utils.tree.tree import Outcome, Tree

# Hundreds of hosts are made and thrown away: in memory, where writing through to the disk costs nothing.
_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None

WRITING = {"os.rename", "os.link", "os.mkdir", "os.rmdir", "os.remove", "os.chmod", "os.chown", "os.symlink"}


class Place:
    """A host in a directory, with one tree on it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.dest = root / "host"
        self.dest.mkdir(parents=True)
        self.state = root / "state"

    def tree(self) -> Tree:
        return Tree(str(self.state), "t", str(self.dest))

    def present(
        self,
        files: Mapping[str, bytes],
        *rules: Rule,
        check: bool = False,
        prune: bool = True,
        validate: Callable[[str, str, bool], None] = lambda path, staged, secret: None,
    ) -> Outcome:
        wanted = {path: Rendered(content, path, {"unit": path.split("/")[0]}) for path, content in files.items()}
        return self.tree().run(
            lambda host, manifest: plan_tree(host, wanted, Rules(rules), manifest, prune), validate, check
        )

    def absent(self, check: bool = False) -> Outcome:
        return self.present({}, check=check)

    def reverted(self, check: bool = False) -> Outcome:
        tree = self.tree()
        return tree.run(
            lambda host, manifest: plan_reverted(host, manifest, tree.kept), lambda path, staged, secret: None, check
        )

    def write(self, files: Mapping[str, bytes], mode: int = 0o644) -> None:
        for path, content in files.items():
            full = self.dest / path
            full.parent.mkdir(parents=True, exist_ok=True)
            full.write_bytes(content)
            full.chmod(mode)

    def seen(self) -> dict[str, tuple]:
        """Everything below the host's directory, staging leftovers included."""
        return {str(path.relative_to(self.dest)): look(path) for path in sorted(self.dest.rglob("*"))}

    def records(self) -> tuple[list[str], Any, Any]:
        """What is in the state directory, and what the tree believes to have written."""
        names = sorted(re.sub("previous-.*", "previous", path.name) for path in (self.state / "t").glob("[!.]*"))
        manifest = self.tree().manifest()
        return names, manifest["files"], manifest["directories"]


def look(path: Path) -> tuple:
    info = path.lstat()
    content = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
    return stat.S_IFMT(info.st_mode), stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid, content


@contextlib.contextmanager
def places(count: int) -> Iterator[list[Place]]:
    """Fresh places for one example of a property."""
    with tempfile.TemporaryDirectory(dir=_MEMORY) as root:
        yield [Place(Path(root, str(number))) for number in range(count)]


def in_child(work: Callable[[], Any], fail_at: int = 0, kill: bool = False) -> Any:
    """Run in a child that fails at its nth writing call; return what came of it, None where it was killed."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            result = _sabotaged(work, fail_at, kill)
            os.write(writer, pickle.dumps(result))
            os._exit(0)
        finally:
            os._exit(1)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read()
    _child, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) in ((0, 9) if kill else (0,))
    return pickle.loads(said) if said else None


def _sabotaged(work: Callable[[], Any], fail_at: int, kill: bool) -> Any:
    calls = 0

    def hook(event: str, arguments: tuple) -> None:
        nonlocal calls
        writes = event in WRITING or (event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR))
        if not writes or not fail_at:
            return
        calls += 1
        if calls == fail_at:
            if kill:
                os._exit(9)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    sys.addaudithook(hook)
    try:
        return work()
    except WishError as error:
        return error
