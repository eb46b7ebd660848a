# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The VM's command line."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from fleet_lab.config import Lab
from fleet_lab.errors import Stop
from fleet_lab.vm import image as image
from fleet_lab.vm.machine import Machine

ROOT = Path(__file__).resolve().parents[3]


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        lab = Lab.from_environment(ROOT)
        return options.command(lab, Machine(lab), options) or 0
    except Stop as stop:
        if stop.details:
            print(stop.details, file=sys.stderr)
        print(f"vm: {stop}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("vm: interrupted; `down` removes what has begun", file=sys.stderr)
        return 130


def _image(lab: Lab, _machine: Machine, _options: argparse.Namespace) -> None:
    print(image.image(lab))


def _up(lab: Lab, machine: Machine, _options: argparse.Namespace) -> None:
    print(f"image: {image.image(lab)}", flush=True)
    print(f"vm: {machine.up(image.current(lab))}")


def _down(_lab: Lab, machine: Machine, _options: argparse.Namespace) -> None:
    print(f"vm: {machine.down()}")


def _status(_lab: Lab, machine: Machine, _options: argparse.Namespace) -> None:
    print(f"vm: {machine.status()}")


def _ssh(_lab: Lab, machine: Machine, options: argparse.Namespace) -> None:
    words = machine.ssh(*options.words)
    os.execvp(words[0], words)


def _reset(_lab: Lab, machine: Machine, _options: argparse.Namespace) -> None:
    print(f"vm: {machine.reset()}")


def _on(_lab: Lab, machine: Machine, _options: argparse.Namespace) -> None:
    print(f"vm: {'is running already' if machine.running() else machine.power_on()}")


def _cut(_lab: Lab, machine: Machine, options: argparse.Namespace) -> None:
    if options.words:
        cut_during(machine, options.words, options.when)
    else:
        machine.cut()
    print("vm: power is off")


def cut_during(machine: Machine, words: list[str], when: str) -> None:
    """Run a command and cut the power at its first line of output that contains `when`; the command may end any way."""
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        reached = False
        for line in process.stdout or ():
            print(line, end="", flush=True)
            if not reached and when in line:
                reached = True
                machine.cut()
                print("vm: power is cut", flush=True)
    if not reached:
        raise Stop(f"the command ended (exit code {process.returncode}) without a line with {when!r}; nothing was cut")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vm.py", description="The lab's virtual machine (see lab/vm/README.md).")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, function, text in (
        ("image", _image, "builds the image unless it is there"),
        ("up", _up, "boots a fresh machine and waits for it"),
        ("down", _down, "ends it and throws away its disk"),
        ("status", _status, "says how it is"),
        ("reset", _reset, "presses the reset button and waits"),
        ("on", _on, "switches it on again after a cut, with the disk it had"),
    ):
        commands.add_parser(name, help=text).set_defaults(command=function)
    ssh = commands.add_parser("ssh", help="a shell on it, or one command")
    ssh.add_argument("words", nargs=argparse.REMAINDER, metavar="WORD")
    ssh.set_defaults(command=_ssh)
    cut = commands.add_parser("cut", help="cuts the power, now or while a command runs")
    cut.add_argument("--when", metavar="TEXT", default="", help="at the command's first line that has this in it")
    cut.add_argument("words", nargs="*", metavar="WORD", help="the command, after --")
    cut.set_defaults(command=_cut)
    return parser
