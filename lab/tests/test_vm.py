# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The parts of the VM that decide something; what boots is tried by booting it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from fleet_lab.config import Lab
from fleet_lab.errors import Stop
from fleet_lab.vm import acceleration as vm_acceleration
from fleet_lab.vm import cli as vm_cli
from fleet_lab.vm import image as vm_image
from fleet_lab.vm.config import Files, Image, Shape
from fleet_lab.vm.machine import Machine, ended
from fleet_lab.vm.qemu import command, cpu_threads, monitor

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ["deb http://archive.example/debian bookworm main"]


@pytest.fixture
def lab(tmp_path):
    return Lab(root=ROOT, cache=tmp_path)


@pytest.fixture
def files(lab):
    return Files.of(lab)


@pytest.fixture
def image(files):
    return Image(files.folder / "image")


def options(words: list[str], name: str) -> list[str]:
    return [value for option, value in zip(words, words[1:]) if option == name]


def test_every_node_has_its_cpus_its_memory_and_a_display(files, image):
    words = command(Shape(nodes=2, cores=3, threads=2, memory_mb=512), "tcg", image, files, 2222)
    assert options(words, "-smp") == ["12,sockets=2,cores=3,threads=2"]
    assert options(words, "-m") == ["1024"]
    assert options(words, "-numa")[:2] == [
        "node,nodeid=0,cpus=0-5,memdev=memory0",
        "node,nodeid=1,cpus=6-11,memdev=memory1",
    ]
    buses = [device for device in options(words, "-device") if device.startswith("pxb-pcie")]
    assert [device.rpartition("numa_node=")[2] for device in buses] == ["0", "1"]
    assert sum(device.startswith("bochs-display") for device in options(words, "-device")) == 2


def test_disk_and_network_card_belong_to_no_node(files, image):
    devices = options(command(Shape(), "tcg", image, files, 2222), "-device")
    for name in ("virtio-blk-pci", "virtio-net-pci"):
        assert [device for device in devices if device.startswith(name) and "bus=pcie.0" in device]


def test_ssh_is_open_to_this_machine_alone(files, image):
    assert "hostfwd=tcp:127.0.0.1:2222-:22" in options(command(Shape(), "kvm", image, files, 2222), "-netdev")[0]


def test_further_disks_are_never_written_to_and_further_ports_lead_to_the_guests(files, image):
    shape = Shape(nodes=1, cores=2, threads=1, disks=(Path("/data/disk.img"),), ports=((40001, 8501), (40002, 8601)))
    words = command(shape, "tcg", image, files, 2222)
    assert "if=none,id=disk0,format=raw,readonly=on,file=/data/disk.img" in options(words, "-drive")
    devices = options(words, "-device")
    # The guest names disks in the order of the bus: its own has to be /dev/vda.
    assert devices.index("virtio-blk-pci,drive=root,bus=pcie.0") < devices.index(
        "virtio-blk-pci,drive=disk0,bus=pcie.0"
    )
    forwarded = options(words, "-netdev")[0].split(",")
    assert forwarded[2:] == [
        "hostfwd=tcp:127.0.0.1:2222-:22",
        "hostfwd=tcp:127.0.0.1:40001-:8501",
        "hostfwd=tcp:127.0.0.1:40002-:8601",
    ]


def test_the_monitor_is_named_without_its_folder_because_a_socket_has_a_short_name(files, image):
    assert options(command(Shape(), "tcg", image, files, 2222), "-qmp") == ["unix:monitor.sock,server=on,wait=off"]


def asked(folder, monkeypatch, ask, *answers):
    """What `ask` gives, given a monitor that answers its orders so, and the orders that the monitor heard."""
    folder.mkdir(exist_ok=True)
    monkeypatch.chdir(folder)
    heard: list[str] = []

    def answer() -> None:
        connection, _ = server.accept()
        with connection, connection.makefile("rw") as stream:
            stream.write('{"QMP": {}}\n')
            stream.flush()
            for line, lines in zip(stream, ('{"return": {}}', *answers)):
                heard.append(json.loads(line)["execute"])
                stream.write(f"{lines}\n")
                stream.flush()

    with socket.socket(socket.AF_UNIX) as server:
        server.bind("monitor.sock")
        server.listen()
        thread = threading.Thread(target=answer)
        thread.start()
        try:
            return ask(folder / "monitor.sock"), heard
        finally:
            thread.join(5)


def test_a_deep_cache_does_not_keep_the_monitor_from_being_asked(tmp_path, monkeypatch):
    deep, reset = tmp_path / ("deep" * 30), lambda path: monitor(path, "system_reset")
    _answer, heard = asked(deep, monkeypatch, reset, '{"return": {}}')
    assert heard == ["qmp_capabilities", "system_reset"]


def test_the_threads_of_the_cpus_are_told_in_the_order_of_the_cpus_whatever_happens_meanwhile(tmp_path, monkeypatch):
    told = '{"return": [{"cpu-index": 1, "thread-id": 71}, {"cpu-index": 0, "thread-id": 70}]}'
    threads, heard = asked(tmp_path, monkeypatch, cpu_threads, '{"event": "RTC_CHANGE"}\n' + told)
    assert threads == [70, 71]
    assert heard == ["qmp_capabilities", "query-cpus-fast"]


def test_an_order_that_qemu_refuses_is_an_error_with_its_words(tmp_path, monkeypatch):
    refused = '{"error": {"class": "CommandNotFound", "desc": "no such order"}}'
    with pytest.raises(OSError, match="QEMU refuses an order: no such order"):
        asked(tmp_path, monkeypatch, cpu_threads, refused)


def test_the_image_changes_with_key_archive_and_suite(lab):
    def folder(sources=SOURCES, suite="bookworm"):
        return vm_image.image_folder(Lab(lab.root, lab.cache, suite=suite), sources, [])

    first = folder()
    assert folder() == first
    assert folder(sources=["deb http://other.example/debian bookworm main"]) != first
    assert folder(suite="trixie") != first
    Files.of(lab).folder.mkdir(parents=True)
    Files.of(lab).public_key.write_text("ssh-ed25519 AAAA lab\n")
    assert folder() != first


def test_the_image_has_what_a_lab_host_has_and_a_kernel(lab):
    words = vm_image.bootstrap_command(lab, Path("tree"), SOURCES, [])
    packages = next(word for word in words if word.startswith("--include=")).removeprefix("--include=").split(",")
    assert {"systemd", "python3", "linux-image-cloud-amd64", "openssh-server"} <= set(packages)
    assert words[-2:] == ["tree", SOURCES[0]]


def test_a_new_image_replaces_the_others_but_not_the_one_that_a_machine_stands_on(lab, monkeypatch):
    files = Files.of(lab)
    for name in ("image-bookworm-old", "image-bookworm-used"):
        (files.folder / name).mkdir(parents=True)
    files.run.mkdir()
    files.machine.write_text(json.dumps({"image": str(files.folder / "image-bookworm-used")}))
    files.key.touch()
    monkeypatch.setattr(vm_image.debian, "need_commands", lambda *_: [])
    monkeypatch.setattr(vm_image.debian, "machine_archive", lambda _suite: (SOURCES, []))
    monkeypatch.setattr(vm_image.debian, "architecture", lambda: "amd64")
    monkeypatch.setattr(vm_image.debian, "may_install", lambda: True)
    monkeypatch.setattr(vm_image, "KEYRING", files.key)
    monkeypatch.setattr(vm_image, "build", lambda _lab, wanted, *_: wanted.folder.mkdir())
    assert vm_image.image(lab).startswith("built image-bookworm-")
    assert vm_image.image(lab).startswith("reused image-bookworm-")
    names = {folder.name for folder in files.folder.glob("image-*")}
    assert names == {"image-bookworm-used", vm_image.current(lab).folder.name}


def test_a_path_with_blanks_survives_the_shell_that_runs_the_hooks(tmp_path):
    lab = Lab(root=ROOT, cache=tmp_path / "my cache")
    hook = next(word for word in vm_image.bootstrap_command(lab, Path("tree"), [], []) if "customize" in word)
    assert f"'{tmp_path}/my cache/lab/vm/key.pub'" in hook


@pytest.mark.parametrize(
    ("console", "works"),
    [
        ("Decompressing Linux...\\n[    1.2] Run /init as init process\\n", True),
        ("Decompressing Linux...\\n", False),
    ],
)
def test_hardware_counts_when_the_kernel_comes_to_its_end_under_it(console, works):
    assert vm_acceleration.boots([sys.executable, "-c", f"print('{console}')"]) is works


def test_a_machine_that_hangs_is_given_up():
    program = "import time; print('Probing EDD... ok', flush=True); time.sleep(60)"
    assert vm_acceleration.boots([sys.executable, "-c", program], limit=0.5) is False


def test_an_emulator_that_is_not_there_is_no_acceleration():
    assert vm_acceleration.boots(["/nonexistent/qemu"]) is False


def test_the_answer_is_asked_for_once(lab, image, monkeypatch):
    asked = []
    monkeypatch.delenv("LAB_VM_ACCELERATION", raising=False)
    monkeypatch.setattr(vm_acceleration.os, "access", lambda *_: True)
    monkeypatch.setattr(vm_acceleration, "boots", lambda command: asked.append(command) or False)
    Files.of(lab).folder.mkdir(parents=True)
    answers = [vm_acceleration.acceleration(lab, image, Shape()) for _ in range(2)]
    assert [accelerator for accelerator, _reason in answers] == ["tcg", "tcg"]
    assert len(asked) == 1
    vm_acceleration.acceleration(lab, Image(image.folder.with_name("another")), Shape())
    assert len(asked) == 2


def test_an_unknown_acceleration_is_refused_with_the_known_ones(lab, image, monkeypatch):
    monkeypatch.setenv("LAB_VM_ACCELERATION", "xen")
    with pytest.raises(Stop, match=r"^LAB_VM_ACCELERATION=xen is not known; use kvm or tcg$"):
        vm_acceleration.acceleration(lab, image, Shape())


def test_what_needs_a_machine_says_how_to_get_one(lab):
    for act in (Machine(lab).cut, Machine(lab).reset, Machine(lab).power_on):
        with pytest.raises(Stop, match=r"start (it|one) with: python3 lab/vm/vm\.py up$"):
            act()


def test_a_number_that_another_process_has_by_now_is_not_the_machine(lab):
    machine = Machine(lab)
    machine.files.run.mkdir(parents=True)
    machine.files.pid.write_text("1\n")
    assert not machine.running()


def test_a_machine_has_ended_when_it_is_dead_even_if_nobody_has_reaped_it():
    process = subprocess.Popen([sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"], stdout=-1)
    process.stdout.readline()
    assert not ended(process.pid)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert ended(process.pid)
    process.communicate()
    assert ended(process.pid)


class Plug:
    """A machine that only knows whether its power was cut."""

    cuts = 0

    def cut(self) -> None:
        self.cuts += 1


def test_the_power_is_cut_once_at_the_line_that_was_named(capfd):
    plug = Plug()
    vm_cli.cut_during(plug, [sys.executable, "-c", "print('one'); print('two'); print('two again')"], "two")
    assert plug.cuts == 1
    assert capfd.readouterr().out.splitlines() == ["one", "two", "vm: power is cut", "two again"]


def test_a_command_that_never_says_it_leaves_the_power_on():
    plug = Plug()
    with pytest.raises(Stop, match=r"^the command ended \(exit code 3\) without a line with 'two'; nothing was cut$"):
        vm_cli.cut_during(plug, [sys.executable, "-c", "print('one'); raise SystemExit(3)"], "two")
    assert plug.cuts == 0
