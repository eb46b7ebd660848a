# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What the health unit's program tells systemd of a server, and when it gives a server up."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

import jinja2
import pytest
from patience import LONG_S
from ports import free_port
from repository import REPOSITORY
from serving_double import FakeServer, Handler, HostileServer, Model

ROLE = REPOSITORY / "roles/tfserving"
HOST = ROLE / "templates/host"
TEMPLATE = HOST / "usr/local/lib/tfserving-fleet/tfserving-health.j2"
# Longer than any test waits for something else.
FOR_EVER = "600"


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The program as it stands on a host."""
    path = tmp_path_factory.mktemp("health") / "tfserving-health"
    values = {"ansible_managed": "Ansible managed", "role_path": str(ROLE), "lookup": lambda _file, path: text_of(path)}
    path.write_text(jinja2.Environment(keep_trailing_newline=True).from_string(TEMPLATE.read_text()).render(values))
    return path


STOOD_CLOCK = """
class time:
    from time import sleep

    def monotonic():
        with open(os.environ["CLOCK"]) as clock:
            return float(clock.read())
"""


@pytest.fixture(scope="module")
def patient(program):
    """The same program with as much time for each request as a machine may stand still."""
    return changed(program, "patient", ("REQUEST_S = 5.0", "REQUEST_S = 500.0"), ("ROUND_S = 10.0", "ROUND_S = 1000.0"))


@pytest.fixture(scope="module")
def timed(patient):
    """That with a clock that shows what stands in a file."""
    return changed(patient, "timed", ("import time\n", STOOD_CLOCK))


def changed(program, name, *changes):
    text = program.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    program.with_name(name).write_text(text)
    return program.with_name(name)


def text_of(path):
    """What the file lookup returns."""
    return Path(path).read_text().rstrip()


@pytest.fixture(scope="module")
def hurried(program):
    """The same program with less time for each request."""
    return changed(program, "hurried", ("REQUEST_S = 5.0", "REQUEST_S = 1.0"))


def get_or_hang(self):
    """Answer, or wait until the one who asked has gone, as a server whose threads are stuck."""
    if self.silent:
        self.connection.settimeout(LONG_S)
        self.connection.recv(1)
    else:
        self._dispatch()


class Systemd:
    """Listens where systemd would, runs the program and waits for what it says."""

    def __init__(self, program, address):
        self.program = program
        self.environment = {"NOTIFY_SOCKET": str(address).replace("\0", "@")}
        self.inbox = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.inbox.bind(str(address))
        self.process = None
        self.told = []

    def start(self, port, models, **options):
        options = {"interval": "0.02", "patience": FOR_EVER, **options}
        words = [f"--rest-port={port}", f"--models={models}", *(f"--{key}={value}" for key, value in options.items())]
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-B", self.program, *words], env=self.environment, stderr=subprocess.PIPE, text=True
        )
        return self

    def hear(self):
        """Return the next notification."""
        assert select.select([self.inbox], [], [], LONG_S)[0], f"nothing came after {self.told[-1:]}"
        lines = self.inbox.recv(65536).decode().split("\n")
        self.told.append(dict(line.split("=", 1) for line in lines))
        return self.told[-1]

    def await_status(self, wanted):
        """Wait until the status holds ``wanted``; return all of it."""
        while wanted not in (status := self.hear().get("STATUS", "")):
            pass  # a test that hangs is ended from outside
        return status

    def await_rounds(self, count):
        """Wait until ``count`` whole rounds have begun and ended from now on; the first one heard may be an old one."""
        self.forget()
        heard = len(self.told)
        while sum("WATCHDOG" in each for each in self.told[heard:]) <= count:
            self.hear()
        return self.told[heard:]

    def forget(self):
        """Drop what has come until now."""
        while select.select([self.inbox], [], [], 0)[0]:
            self.inbox.recv(65536)

    @property
    def ready(self):
        return any("READY" in each for each in self.told)

    def end(self):
        """Wait for the end; return the exit status and what stands on stderr."""
        _out, err = self.process.communicate(timeout=LONG_S)
        return self.process.returncode, err


@pytest.fixture
def systemd(patient, tmp_path):
    listening = Systemd(patient, tmp_path / "notify")
    yield listening
    if listening.process:
        listening.process.kill()
        listening.process.communicate()
    listening.inbox.close()


@contextlib.contextmanager
def answering(status, body):
    """A server that answers everything with ``body``."""

    class Fixed(Handler):
        def do_GET(self):  # noqa: N802
            self._send(status, body)

    with FakeServer() as server:
        server.http.RequestHandlerClass = Fixed
        yield server


def test_it_is_ready_only_when_every_model_has_a_version_available(systemd):
    with FakeServer(digits=Model({1: "AVAILABLE"}), ranker=Model({3: "LOADING"})) as server:
        systemd.start(server.port, "digits,ranker")
        assert systemd.await_status("waiting") == "waiting for ranker: LOADING"
        systemd.await_rounds(3)
        assert not systemd.ready
        server.models["ranker"].versions[3] = "AVAILABLE"
        assert systemd.await_status("available") == "digits 1, ranker 3 available"
        assert systemd.ready


def test_readiness_is_told_once_and_before_anything_is_said_to_be_available(systemd):
    with FakeServer(digits=Model({1: "AVAILABLE"})) as server:
        systemd.start(server.port, "digits")
        systemd.await_status("available")
        systemd.await_rounds(3)
    assert [each for each in systemd.told if "READY" in each] == systemd.told[:1]


def test_every_round_feeds_the_watchdog_before_readiness_and_after_it(systemd):
    with FakeServer(digits=Model({1: "START"})) as server:
        systemd.start(server.port, "digits")
        assert all(each["WATCHDOG"] == "1" for each in systemd.await_rounds(2))
        server.models["digits"].versions[1] = "AVAILABLE"
        systemd.await_status("available")
        assert all(each["WATCHDOG"] == "1" for each in systemd.await_rounds(2))


def test_each_model_that_is_waited_for_is_named_with_its_state(systemd):
    failed = ("NOT_FOUND", "no saved_model.pb\nREADY=1")
    with FakeServer(a=Model({1: "START"}), b=Model({2: failed}), c=Model({4: "AVAILABLE"})) as server:
        systemd.start(server.port, "a,b,c,d")
        status = systemd.await_status("waiting")
        assert status == "waiting for a: START, b: END (NOT_FOUND: no saved_model.pb READY=1), d: unknown to the server"
        systemd.await_rounds(1)
        # What a server writes into its message is no notification of ours.
        assert not systemd.ready


def test_a_server_that_loads_a_new_version_beside_an_available_one_is_healthy(systemd):
    with FakeServer(digits=Model({1: "AVAILABLE"})) as server:
        systemd.start(server.port, "digits", patience="0.01")
        systemd.await_status("digits 1 available")
        server.models["digits"].versions[2] = "LOADING"
        assert {each["STATUS"] for each in systemd.await_rounds(3)} == {"digits 1 available"}
        server.models["digits"].versions[2] = "AVAILABLE"
        assert systemd.await_status("+") == "digits 1+2 available"
        server.models["digits"].versions[1] = "END"
        assert systemd.await_status("digits 2") == "digits 2 available"


def test_a_load_in_progress_never_uses_up_the_patience(systemd):
    with FakeServer(digits=Model({1: "AVAILABLE"})) as server:
        systemd.start(server.port, "digits", patience="0.01")
        systemd.await_status("available")
        server.models["digits"].versions = {1: "END", 2: "LOADING"}
        assert systemd.await_status("waiting") == "waiting for digits: LOADING"
        systemd.await_rounds(3)
        assert systemd.process.poll() is None


def test_it_waits_for_a_server_that_is_not_there_yet_whatever_the_patience(systemd):
    port = free_port()
    systemd.start(port, "digits", patience="0.01")
    assert (
        systemd.await_status("waiting") == f"waiting for the server: port {port} does not answer (Connection refused)"
    )
    systemd.await_rounds(3)
    assert systemd.process.poll() is None
    assert not systemd.ready


def test_a_server_that_stays_away_after_readiness_is_given_up_in_one_sentence(systemd):
    with FakeServer(digits=Model({1: "AVAILABLE"})) as server:
        systemd.start(server.port, "digits", patience="0.1")
        systemd.await_status("available")
    reason = f"the server: port {server.port} does not answer (Connection refused)"
    assert systemd.end() == (1, f"tfserving-health: waited 0.1 s in vain for {reason}; the server is given up\n")


def test_a_server_that_takes_the_call_and_never_answers_is_no_better_than_none(systemd, hurried):
    systemd.program = hurried
    with FakeServer(digits=Model({1: "AVAILABLE"})) as server:
        stuck = server.http.RequestHandlerClass = type("Stuck", (Handler,), {"silent": False, "do_GET": get_or_hang})
        systemd.start(server.port, "digits", patience="0.01")
        systemd.await_status("available")
        stuck.silent = True
        status, sentence = systemd.end()
    assert status == 1
    assert f"the server: port {server.port} does not answer (timed out)" in sentence


def test_a_model_that_is_gone_for_longer_than_the_patience_is_reason_enough(systemd):
    with FakeServer(digits=Model({1: "AVAILABLE"}), ranker=Model({3: "AVAILABLE"})) as server:
        systemd.start(server.port, "digits,ranker", patience="0.1")
        systemd.await_status("available")
        del server.models["ranker"]
        reason = "waited 0.1 s in vain for ranker: unknown to the server; the server is given up"
        assert systemd.end() == (1, f"tfserving-health: {reason}\n")


def test_a_shorter_outage_is_forgiven_and_the_next_one_has_all_the_patience_again(systemd, timed, tmp_path):
    clock, now = tmp_path / "clock", 0
    clock.write_text("0")
    systemd.program = timed
    systemd.environment["CLOCK"] = str(clock)
    with FakeServer(digits=Model({1: "AVAILABLE"})) as server:
        systemd.start(server.port, "digits", patience="60")
        systemd.await_status("available")
        # Together longer than the patience, each of them below it.
        for _ in range(3):
            versions, server.models["digits"].versions = server.models["digits"].versions, {}
            systemd.await_status("waiting for digits")
            now += 50
            write_at_once(clock, str(now))
            systemd.await_rounds(1)
            server.models["digits"].versions = versions
            systemd.await_status("available")
        assert systemd.process.poll() is None
        server.models["digits"].versions = {}
        systemd.await_status("waiting for digits")
        write_at_once(clock, str(now + 60))
        assert systemd.end()[0] == 1
    assert len([each for each in systemd.told if "READY" in each]) == 1


def write_at_once(path, text):
    """Write a file that is read meanwhile."""
    path.with_name("new").write_text(text)
    path.with_name("new").rename(path)


@pytest.mark.parametrize("interval", ["0.02", FOR_EVER], ids=["between two looks", "in a long pause"])
def test_sigterm_ends_it_at_once_and_without_a_complaint(systemd, interval):
    with FakeServer(digits=Model({1: "AVAILABLE"})) as server:
        systemd.start(server.port, "digits", interval=interval)
        systemd.await_status("available")
        systemd.process.send_signal(signal.SIGTERM)
        assert systemd.end() == (0, "")


def test_sigterm_ends_it_while_the_server_keeps_it_waiting(systemd):
    with socket.socket() as stuck:
        stuck.bind(("127.0.0.1", 0))
        stuck.listen()
        stuck.settimeout(LONG_S)
        systemd.start(stuck.getsockname()[1], "digits")
        call, _address = stuck.accept()
        with call:
            call.recv(1)
            systemd.process.send_signal(signal.SIGTERM)
            # The request alone would wait longer than a test may take.
            assert systemd.end() == (0, "")


@pytest.mark.parametrize(
    ("status", "body", "text"),
    [
        (200, b"<html>It works!</html>", "answered 200 with something else than the status of a model"),
        (200, b"[]", "answered 200 with something else than the status of a model"),
        (200, b"{}", "answered 200 with something else than the status of a model"),
        (200, b'{"model_version_status": [7]}', "answered 200 with something else than the status of a model"),
        (200, b'{"model_version_status": [{"version": "x", "state": "AVAILABLE"}]}', "answered 200 with something"),
        (200, b"\xff", "answered 200 with something else than the status of a model"),
        (404, b"<html>Not Found</html>", "answered 404 with something else than the status of a model"),
        (503, b'{"error": "busy"}', "answered 503 (busy)"),
    ],
)
def test_an_answer_that_is_no_status_is_told_and_makes_nothing_ready(systemd, status, body, text):
    with answering(status, body) as server:
        systemd.start(server.port, "digits")
        assert systemd.await_status("waiting").startswith(f"waiting for the server: port {server.port} {text}")
        assert not systemd.ready


def test_what_does_not_speak_http_is_told(systemd):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        other.settimeout(LONG_S)
        port = other.getsockname()[1]
        systemd.start(port, "digits", interval=FOR_EVER)
        call, _address = other.accept()
        with call:
            call.sendall(b"220 mail ready\r\n")
        assert systemd.await_status("waiting").startswith(f"waiting for the server: port {port} does not ")


def test_a_long_message_of_the_server_is_cut(systemd):
    with answering(500, b'{"error": "' + b"x" * 5000 + b'"}') as server:
        status = systemd.start(server.port, "digits").await_status("waiting")
        assert len(status) == 200
        assert status.endswith("x…")


def test_what_would_act_in_a_terminal_is_spelt_out(systemd):
    with answering(500, b'{"error": "\\u001b[2J\\u202e"}') as server:
        status = systemd.start(server.port, "digits").await_status("waiting")
        assert status == rf"waiting for the server: port {server.port} answered 500 (\x1b[2J\u202e)"


def test_an_answer_without_an_end_is_not_waited_for(systemd):
    with HostileServer([b"HTTP/1.1 200 OK\r\n\r\n", *[b"x" * 65536] * 20]) as server:
        status = systemd.start(server.port, "digits", interval=FOR_EVER).await_status("waiting")
        assert status == f"waiting for the server: port {server.port} sends more than 1024 KiB"


def test_a_model_is_asked_for_by_its_own_name_and_nothing_else(systemd):
    with FakeServer(**{"a.b-c_1": Model({1: "AVAILABLE"})}) as server:
        systemd.start(server.port, "a.b-c_1").await_status("available")
        assert {call[:2] for call in server.calls} == {("GET", "/v1/models/a.b-c_1")}


def test_a_proxy_of_the_environment_has_no_place_on_loopback(systemd):
    systemd.environment |= {"http_proxy": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
    with FakeServer(digits=Model({1: "AVAILABLE"})) as server:
        assert systemd.start(server.port, "digits").await_status("digits") == "digits 1 available"


def test_a_socket_without_a_file_is_reached_too(patient):
    listening = Systemd(patient, f"\0tfserving-health-{os.getpid()}")
    with listening.inbox, FakeServer(digits=Model({1: "AVAILABLE"})) as server:
        listening.start(server.port, "digits").await_status("available")
        listening.process.send_signal(signal.SIGTERM)
        assert listening.end() == (0, "")


def run(program, *words, **environment):
    done = subprocess.run(
        [sys.executable, "-I", "-B", program, *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=LONG_S,
        check=False,
    )
    return done.returncode, done.stderr


NO_PORT = "is not a port, 1 to 65535"
NO_NAMES = "does not name models, with a comma between two"
NO_TIME = "is not a number of seconds above 0"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--models=a"], "the following arguments are required: --rest-port"),
        (["--rest-port=1"], "the following arguments are required: --models"),
        (["--rest-port=0", "--models=a"], f"argument --rest-port: '0' {NO_PORT}"),
        (["--rest-port=http", "--models=a"], f"argument --rest-port: 'http' {NO_PORT}"),
        (["--rest-port=1", "--models="], f"argument --models: '' {NO_NAMES}"),
        (["--rest-port=1", "--models=a,,b"], f"argument --models: 'a,,b' {NO_NAMES}"),
        (["--rest-port=1", "--models=a", "--interval=0"], f"argument --interval: '0' {NO_TIME}"),
        (["--rest-port=1", "--models=a", "--patience=x"], f"argument --patience: 'x' {NO_TIME}"),
        (["--rest-port=1", "--models=a", "--patience=nan"], f"argument --patience: 'nan' {NO_TIME}"),
        (["--rest-port=1", "--models=a", "--interval=inf"], f"argument --interval: 'inf' {NO_TIME}"),
        (["--rest-port=1", "--models=a", "--port=2"], "unrecognized arguments: --port=2"),
    ],
)
def test_wrong_arguments_are_refused_in_one_sentence(program, words, sentence):
    assert run(program, *words) == (2, f"tfserving-health: {sentence}; --help tells what there is\n")


def test_an_interval_that_the_watchdog_of_the_unit_would_not_survive_is_refused(program):
    words = ["--rest-port=1", "--models=a", "--interval=40"]
    text = "argument --interval: 40 s and a look of up to 20 s do not fit into WatchdogSec=60"
    refusal = f"tfserving-health: {text}; --help tells what there is\n"
    assert run(program, *words, WATCHDOG_USEC="60000000") == (2, refusal)


def test_a_notification_that_reaches_nobody_is_its_own_fault_and_not_the_servers(program, tmp_path):
    path = tmp_path / "gone"
    sentence = f"tfserving-health: systemd's {path} cannot be written to (No such file or directory)\n"
    assert run(program, f"--rest-port={free_port()}", "--models=a", NOTIFY_SOCKET=str(path)) == (2, sentence)
