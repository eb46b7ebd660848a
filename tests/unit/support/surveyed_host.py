# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A host as files of /proc, with servers that somebody has set up, and the answers of programs recorded from real ones.

The records in tests/unit/module_utils/survey/recorded were made with Docker 28.2, Podman 4.3.1, systemd 252 and
supervisor 4.2.5; names of images, hosts and folders were changed, and secrets planted.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ansible_collections.tfserving.fleet.plugins.module_utils.host.sysfs import Tree
from repository import REPOSITORY

RECORDED = REPOSITORY / "tests/unit/module_utils/survey/recorded"
BOOTED = 1_700_000_000
SERVER = "/usr/bin/tensorflow_model_server"
SESSION = "/user.slice/user-1000.slice/session-3.scope"
LIMITS = """Limit                     Soft Limit           Hard Limit           Units
Max processes             500000               500000               processes
Max open files            1024                 524288               files
Max locked memory         unlimited            unlimited            bytes
"""
MAPS = "7f00-7f01 r-xp 0 00:00 1 /usr/lib/x86_64-linux-gnu/libc.so.6\n"
TCP = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
HOST_MOUNTS = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
CGROUP = "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n"


def recorded(name: str) -> str:
    """Return what a program has answered."""
    return (RECORDED / name).read_text(encoding="utf-8")


class Host:
    """The host; its root is a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.tree = Tree(str(root))
        self.write("proc/stat", f"btime {BOOTED}\n")
        self.write("proc/mounts", CGROUP)
        self.process(1, ["/lib/systemd/systemd"], comm="systemd", ppid=0, group="/init.scope")

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def link(self, path: str, target: str | os.PathLike[str]) -> None:
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        place.symlink_to(target)

    def process(
        self, pid: int, argv: Sequence[str], *, comm: str = "", exe: str = "", ppid: int = 1, group: str = SESSION,
        environment: Sequence[str] = (), cwd: str = "/", root: Path | None = None, mounts: str = HOST_MOUNTS,
        listening: Mapping[int, str] | None = None, uid: int = 0, started: int = 5000,
    ) -> None:  # fmt: skip
        """Add a process; ``listening`` has an address of the kernel's by port."""
        home = f"proc/{pid}"
        name = (comm or os.path.basename(argv[0]))[:15]
        fields = ["S", ppid, pid, pid, 0, -1, 0, 0, 0, 0, 0, 7, 7, 0, 0, 20, 0, 3, 0, started, 0, 9]
        self.write(f"{home}/stat", f"{pid} ({name}) {' '.join(map(str, fields))}\n")
        self.write(f"{home}/statm", "2000 1000 1 1 0 1 0\n")
        self.write(f"{home}/comm", f"{name}\n")
        self.write(f"{home}/cmdline", "".join(f"{word}\0" for word in argv))
        self.write(f"{home}/environ", "".join(f"{pair}\0" for pair in environment))
        self.write(f"{home}/cgroup", f"0::{group}\n")
        self.write(f"{home}/limits", LIMITS)
        self.write(f"{home}/maps", MAPS)
        self.write(f"{home}/mountinfo", mounts)
        status = f"Name:\t{name}\nUmask:\t0022\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\nGid:\t0\t0\t0\t0\nGroups:\t0 \n"
        self.write(f"{home}/status", f"{status}VmRSS:\t  409600 kB\nThreads:\t24\nCpus_allowed_list:\t0-3\n")
        self.link(f"{home}/exe", exe or argv[0])
        self.link(f"{home}/cwd", cwd)
        self.link(f"{home}/root", root or self.root)
        rows = ""
        self.link(f"{home}/fd/0", "/dev/null")
        for number, (port, address) in enumerate((listening or {}).items(), 3):
            self.link(f"{home}/fd/{number}", f"socket:[{pid}{number}]")
            rows += f"   0: {address}:{port:04X} 00000000:0000 0A 0:0 00:0 0 0 0 {pid}{number} 1 0 100 0 0 10 0\n"
        self.write(f"{home}/net/tcp", TCP + rows)

    def ends(self, pid: int) -> None:
        """Take a process away."""
        shutil.rmtree(self.root / f"proc/{pid}")

    def version(self, folder: str, content: str = "graph") -> None:
        """Add a version of a model."""
        self.write(f"{folder}/saved_model.pb", content)
        self.write(f"{folder}/variables/variables.index", "index")


class Programs:
    """Programs by the beginning of their command line: an answer, an ending, or what is called for one."""

    def __init__(self, answers: Mapping[str, object]) -> None:
        self.answers = dict(answers)
        self.asked: list[str] = []

    def __call__(self, arguments: list[str]) -> tuple[int, str, str] | None:
        line = " ".join(arguments)
        self.asked.append(line)
        known = [begin for begin in self.answers if line.startswith(begin)]
        if not known:
            return None
        answer = self.answers[max(known, key=len)]
        if isinstance(answer, Callable):  # type: ignore[arg-type]
            answer = answer(line)  # type: ignore[operator]
        return (0, answer, "") if isinstance(answer, str) else answer  # type: ignore[return-value]
