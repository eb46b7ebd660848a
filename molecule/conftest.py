# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What the tests of all scenarios share: questions to a live host, and runs of site.yml as a user would start them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tarfile
import threading
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import callers
import pytest
import testinfra

ROOT = Path(__file__).resolve().parents[1]

CACHE = Path(os.environ["FLEET_CACHE"])
ANSWERS = CACHE / "lab/www/models"

# Asked on the host itself: the servers listen to nobody else.
REQUEST = """
import sys, urllib.error, urllib.request
url, body = sys.argv[1], sys.argv[2].encode() or None
try:
    print(urllib.request.urlopen(url, body, 30).read().decode())
except urllib.error.HTTPError as error:
    print(error.read().decode())
"""


class Serving:
    """One instance as its callers see it."""

    def __init__(self, host, name: str, port: int) -> None:
        self.host, self.name, self.port = host, name, port

    @property
    def unit(self) -> str:
        return f"tfserving@{self.name}.service"

    @property
    def pid(self) -> int:
        return int(self.show("MainPID"))

    def show(self, unit_property: str) -> str:
        return self.host.check_output("systemctl show --value -p %s %s", unit_property, self.unit)

    def ask(self, path: str, body: dict | None = None):
        text = json.dumps(body) if body is not None else ""
        url = f"http://127.0.0.1:{self.port}{path}"
        answer = self.host.check_output("python3 -c %s %s %s", REQUEST, url, text)
        return json.loads(answer) if answer.startswith("{") else answer

    def predict(self, model: str, body: dict, where: str = ""):
        return self.ask(f"/v1/models/{model}{where}:predict", body)

    def states(self, model: str) -> dict[str, str]:
        return {entry["version"]: entry["state"] for entry in self.ask(f"/v1/models/{model}")["model_version_status"]}

    def process(self, file: str) -> str:
        return self.host.check_output("cat /proc/%s/%s", str(self.pid), file)

    def of_all_threads(self, file: str) -> str:
        """What the threads say that have not ended meanwhile: a server's request threads come and go."""
        return self.host.run(f"cat /proc/{self.pid}/task/*/{file}").stdout

    def environment(self) -> dict[str, str]:
        return dict(pair.split("=", 1) for pair in self.process("environ").split("\0") if "=" in pair)

    def ids(self) -> tuple[int, int]:
        """The account and the group that the server runs as, as numbers."""
        found = dict(line.split(":", 1) for line in self.process("status").splitlines())
        return int(found["Uid"].split()[0]), int(found["Gid"].split()[0])

    def inside(self, program: str, *arguments: str):
        """What a Python program prints as JSON when it runs as the server does: its account, its group, its view."""
        user, group = (str(number) for number in self.ids())
        enter = f"nsenter --target {self.pid} --mount --net --root --wd --setgid {group} --setuid {user}"
        words = " ".join("%s" for _ in arguments)
        command = f"{enter} setpriv --no-new-privs python3 -I -c %s {words}"
        return json.loads(self.host.check_output(command, program, *arguments))

    def command_of_unit(self) -> str:
        return self.show("ExecStart")

    def command_line(self) -> list[str]:
        return self.process("cmdline").rstrip("\0").split("\0")


@pytest.fixture
def serving(host):
    """Name and REST port in, the instance out."""
    return lambda name, port: Serving(host, name, port)


@pytest.fixture(scope="session")
def on():
    """Return a host of the scenario by its name."""
    return lambda name: testinfra.get_host(f"docker://{name}")


@pytest.fixture(scope="session")
def gateways():
    """Return the address of each gateway, in scenarios that have some."""
    return callers.addresses(callers.GATEWAYS)


# The instances of most scenarios, at the ports that the plan gives to the first and the second one.


@pytest.fixture
def main(serving):
    return serving("main", 8501)


@pytest.fixture
def first(serving):
    return serving("first", 8501)


@pytest.fixture
def second(serving):
    return serving("second", 8511)


@pytest.fixture
def known():
    """Return the lab's sample request and answers of a model."""
    return lambda model: json.loads((ANSWERS / model / "known_answers.json").read_text())


@pytest.fixture
def next_digits(tmp_path, known):
    """Return the wish for another version of digits, to be rolled out: an archive of the lab's under any number.

    It claims to answer as the lab's version 2 does.
    """
    answers, www = known("digits"), CACHE / "lab/www"
    expected = answers["answers"]["2"]["predictions"]

    def of(version: int, rollout: dict, archive: str = "digits-2") -> dict:
        (folder,) = [name for name in ("models", "bench-models") if (www / name / f"{archive}.tar.gz").exists()]
        checksum = json.loads((www / folder / "checksums.json").read_text())[f"{archive}.tar.gz"]
        golden = tmp_path / f"digits-{version}.jsonl"
        expect = {name: [row[name] for row in expected] for name in expected[0]}
        golden.write_text(json.dumps({"instances": answers["request"]["instances"], "expect": expect}) + "\n")
        source = {"type": "path", "uri": str(www / folder / f"{archive}.tar.gz"), "sha256": checksum}
        return {"name": "digits", "version": version, "source": source, "golden": str(golden), "rollout": rollout}

    return of


@dataclass
class Run:
    """A run that has ended."""

    status: int
    output: str

    @property
    def message(self) -> str:
        """The output as one line, so that a sentence can be looked for wherever the terminal broke it."""
        return " ".join(self.output.split())

    @property
    def last_words(self) -> str:
        """The last line of the last message that a task failed with, as it is printed before its origin."""
        words, _origin, _rest = self.output.rpartition("[ERROR]: ")[2].partition("\nOrigin: ")
        return words.splitlines()[-1]

    @property
    def changed(self) -> bool:
        return "changed=0" not in self.output


def descendants(pid: int) -> list[int]:
    """Return the processes that a process has begun, and those that these have begun."""
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    children = [int(word) for word in found.stdout.split()]
    return [*children, *(each for child in children for each in descendants(child))]


@pytest.fixture
def site(tmp_path):
    """Run site.yml against the scenario's hosts; keyword arguments override the inventory.

    ``kill_at`` ends the run the hard way as soon as a line of its output holds that text, ``kill_after`` when it has
    run for so many seconds. ``kill`` is the signal for ansible-playbook, or ``everything``: then its workers, which
    outlive it, are killed too, as when the controller goes down. ``at`` names what to call beside the run as soon as a
    line holds a text.
    """

    def run(
        *options: str,
        kill_at: str = "",
        kill_after: float = 0,
        kill: int | str = signal.SIGKILL,
        playbook: str = "site.yml",
        at: Mapping[str, Callable[[], None]] | None = None,
        **variables,
    ) -> Run:
        overrides = tmp_path / f"overrides-{uuid.uuid4().hex}.json"
        overrides.write_text(json.dumps(variables))
        inventory = os.environ["MOLECULE_INVENTORY_FILE"]
        plain = {
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_FORCE_COLOR": "0",
            # Every task's header, which some wait for.
            "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
        }
        with subprocess.Popen(
            ["ansible-playbook", "-i", inventory, "-e", f"@{overrides}", *options, playbook],
            cwd=ROOT,
            env={**os.environ, **plain},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:

            def end() -> None:
                everything = []
                if kill == "everything":
                    # Stopped, so that no process is added meanwhile; some of those found may have ended all the same.
                    with suppress(ProcessLookupError):
                        os.kill(process.pid, signal.SIGSTOP)
                    everything = descendants(process.pid)
                for pid in everything:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL if kill == "everything" else kill)

            clock = threading.Timer(kill_after, end)
            if kill_after:
                clock.start()
            lines, waiting = [], dict(at or {})
            for line in process.stdout:
                lines.append(line)
                if kill_at and kill_at in line:
                    end()
                for text in [text for text in waiting if text in line]:
                    waiting.pop(text)()
            clock.cancel()
        return Run(process.returncode, "".join(lines))

    return run


@pytest.fixture
def apt_files(host):
    """Update the package index, which must go without a word; return the checksums of apt's files."""

    def read() -> str:
        update = host.run("apt-get update")
        assert (update.rc, update.stderr) == (0, "")
        return host.check_output("find /etc/apt -type f -exec sha256sum {} + | sort")

    return read


@pytest.fixture
def archive(tmp_path):
    """Make a model archive on the controller from file names and contents."""

    def make(name: str, files: dict[str, bytes]) -> str:
        folder = tmp_path / name
        for path, content in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        with tarfile.open(tmp_path / f"{name}.tar.gz", "w:gz") as packed:
            packed.add(folder, arcname=".")
        return str(tmp_path / f"{name}.tar.gz")

    return make


@pytest.fixture
def shown(capsys):
    """Print a figure that a test has found, also where it passes."""

    def show(line: str) -> None:
        with capsys.disabled():
            print(f"\n{line}", flush=True)

    return show


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    """Keep the results for CI: .cache/junit/SCENARIO.xml, or SCENARIO-FOLDER.xml for tests that lie in one."""
    scenario = os.environ.get("MOLECULE_SCENARIO_NAME")
    if scenario and config.option.xmlpath is None:
        _scenario, _tests, *folders = Path(config.args[0]).resolve().parent.relative_to(ROOT / "molecule").parts
        name = "-".join([scenario, *folders])
        config.option.xmlpath = str(CACHE / "junit" / f"{name}.xml")
    config.addinivalue_line("markers", "long: left to `make test-long`, where others of its kind are in `make test`")


def pytest_collection_modifyitems(config, items):
    """Leave out the long tests, unless they are asked for."""
    if os.environ.get("LAB_LONG"):
        return
    kept = [item for item in items if item.get_closest_marker("long") is None]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """Show what the servers have logged beside a test that failed."""
    report = (yield).get_result()
    if report.when == "call" and report.failed and "host" in item.funcargs:
        log = item.funcargs["host"].run("journalctl -u 'tfserving@*' -n 60 --no-pager").stdout
        report.sections.append(("the servers' journal", log))
