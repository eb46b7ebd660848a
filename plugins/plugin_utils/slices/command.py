# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The command line of tfserving-fleet: its own options, and everything that ansible-playbook takes."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible import constants, context
from ansible.cli.playbook import PlaybookCLI
from ansible.errors import AnsibleError
from ansible.template import Templar
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, described

from ..caller import COLLECTION, ROOT
from ..fleet import hosts
from . import allowed, split

# What is for one process at a terminal, or leaves out the turns, and what to do instead.
_ONE = "run ansible-playbook for it"
REFUSED = {
    "ask_pass": ("--ask-pass", "give --connection-password-file, as slices have no terminal"),
    "become_ask_pass": ("--ask-become-pass", "give --become-password-file, as slices have no terminal"),
    "ask_vault_pass": ("--ask-vault-pass", "give --vault-password-file, as slices have no terminal"),
    "listhosts": ("--list-hosts", _ONE),
    "listtasks": ("--list-tasks", _ONE),
    "listtags": ("--list-tags", _ONE),
    "syntax": ("--syntax-check", _ONE),
    "step": ("--step", _ONE),
    "start_at_task": ("--start-at-task", _ONE),
    "skip_tags": ("--skip-tags", f"they could leave out the turns of the slices; {_ONE}"),
}
GROUPS_BESIDE = ("tfserving_gateways", "tfserving_monitoring")
# More would be more processes than any controller has cores for.
MOST_SLICES = 256


@dataclass(frozen=True)
class Order:
    """What is to be run."""

    name: str
    given: str
    arguments: tuple[str, ...]
    """Everything for ansible-playbook but the playbook."""
    hosts: tuple[str, ...]
    pattern: Any
    beside: tuple[str, ...]
    """Gateways and monitoring hosts, within the limit."""
    domain: Mapping[str, str]
    slices: int
    serial: Any
    driver_serial: Any
    forks: int
    check: bool
    extra: Mapping[str, Any]
    logs: Path

    @property
    def most(self) -> list[int]:
        """How many hosts may be disturbed at once."""
        return [len(self.hosts)] if self.check else split.limits(self.serial, len(self.hosts))


def parser() -> argparse.ArgumentParser:
    """Return the parser of the options that ansible-playbook does not have."""
    made = argparse.ArgumentParser(
        prog=allowed.COMMAND,
        usage=f"{allowed.COMMAND} PLAYBOOK [--slices N] [--by VARIABLE] [--logs DIR] [options of ansible-playbook]",
        description="Runs a playbook of tfserving.fleet as several processes of ansible-playbook, one for each slice "
        f"of the fleet: {', '.join(allowed.RUNNER)}.",
        allow_abbrev=False,
    )
    made.add_argument("--slices", metavar="N", help="number of slices; default: as many as CPUs")
    made.add_argument("--by", metavar="VARIABLE", help="variable with the failure domain of a host, such as its rack")
    made.add_argument("--logs", metavar="DIR", help="where the output of the slices is kept; default: below ~/.ansible")
    return made


def read(argv: Sequence[str]) -> Order:
    """Return the order that the arguments and the inventory make. Raises WishError, or AnsibleError."""
    own, rest = parser().parse_known_args(list(argv))
    count = _slices(own.slices)
    cli = PlaybookCLI(["ansible-playbook", *rest])
    cli.parse()
    _refuse_options(context.CLIARGS)
    name, given = _playbook(context.CLIARGS["args"])
    loader, inventory, variables = cli._play_prereqs()
    PlaybookCLI.get_host_list(inventory, context.CLIARGS["subset"])
    fleet = _Fleet(loader, inventory, variables)
    return Order(
        name=name,
        given=given,
        arguments=_without(rest, given),
        hosts=fleet.hosts,
        pattern=fleet.pattern,
        beside=fleet.beside,
        domain=fleet.domain(own.by),
        slices=count,
        serial=fleet.serial["fleet_serial"],
        driver_serial=fleet.serial["fleet_driver_serial"],
        forks=context.CLIARGS["forks"],
        check=context.CLIARGS["check"],
        extra=fleet.extra,
        logs=Path(own.logs).expanduser() if own.logs else Path(constants.ANSIBLE_HOME) / "tfserving-fleet",
    )


def _slices(given: str | None) -> int:
    if given is None:
        return max(1, len(os.sched_getaffinity(0)))
    if not given.isdecimal() or not 1 <= int(given) <= MOST_SLICES:
        raise WishError("--slices", f"is {described(given)}", f"write a number from 1 to {MOST_SLICES}")
    return int(given)


def _refuse_options(options: Mapping[str, Any]) -> None:
    for key, (option, remedy) in REFUSED.items():
        if options.get(key):
            raise WishError(option, "is not for a run in slices", remedy)
    if list(options.get("tags") or ["all"]) != ["all"]:
        raise WishError("--tags", "is not for a run in slices", REFUSED["skip_tags"][1])
    if any(each.endswith("@prompt") for each in options.get("vault_ids") or ()):
        raise WishError("--vault-id", "asks at a terminal", "name a file, as slices have no terminal")


def _playbook(given: Sequence[str]) -> tuple[str, str]:
    if len(given) != 1:
        raise WishError(allowed.COMMAND, f"is given {len(given)} playbooks", "run them one after another")
    shown = given[0]
    path = os.path.realpath(shown)
    name = allowed.name_of(path if os.path.exists(path) else shown, playbooks())
    allowed.refuse_playbook(name, shown)
    return name, shown


def playbooks() -> dict[str, list[str]]:
    """Return by name what a user may call each playbook of this collection."""
    return {
        file.stem: [f"{COLLECTION}.{file.stem}", str(file), str(ROOT / file.name)]
        for file in sorted((ROOT / "playbooks").glob("*.yml"))
    }


def _without(rest: Sequence[str], playbook: str) -> tuple[str, ...]:
    """Return the arguments without the playbook, and not without an option's value that is equal to it."""
    for place, each in enumerate(rest):
        if each == playbook:
            others = list(rest)
            del others[place]
            found = PlaybookCLI(["ansible-playbook", *others, "-"])
            found.init_parser()
            if found.parser.parse_args([*others, "-"]).args == ["-"]:
                return tuple(others)
    raise WishError(playbook, "is not found among the arguments", "write it first")


class _Fleet:
    """What the inventory says."""

    def __init__(self, loader: Any, inventory: Any, variables: Any) -> None:
        self._loader, self._inventory, self._variables = loader, inventory, variables
        self.extra: dict[str, Any] = dict(variables.extra_vars)
        self.pattern = self._templated(self.extra.get("fleet_hosts", "tfserving"), self.extra)
        self.hosts: tuple[str, ...] = ()
        self.beside: tuple[str, ...] = ()
        self.serial: dict[str, Any] = dict(hosts.BATCHES)
        self._find()

    def _find(self) -> None:
        pattern = self.pattern
        hosts.refuse_pattern(pattern)
        every = self._names(pattern, ignore_limits=True)
        limited = [host.name for host in self._inventory.get_hosts("all")]
        if every:
            known = self._of(every[0])
            self.serial = {name: known.get(name, default) for name, default in hosts.BATCHES.items()}
        hosts.check(pattern, every, limited, self._inventory.get_groups_dict(), self.serial)
        self.hosts = tuple(self._names(pattern))
        odd = [host for host in self.hosts if not {":", ","}.isdisjoint(host)]
        if odd:
            problem = "cannot stand in a pattern beside others"
            raise WishError(hosts.named(odd), problem, "call the host otherwise, and set ansible_host to its address")
        groups = [group for group in GROUPS_BESIDE if group in self._inventory.groups]
        self.beside = tuple(self._names(groups)) if groups else ()

    def _names(self, pattern: Any, ignore_limits: bool = False) -> list[str]:
        found = self._inventory.get_hosts(pattern, ignore_limits=ignore_limits)
        return list(dict.fromkeys(host.name for host in found))

    def _of(self, host: str) -> dict[str, Any]:
        known = self._variables.get_vars(host=self._inventory.get_host(host))
        names = [name for name in hosts.BATCHES if name in known]
        return {name: self._templated(known[name], known) for name in names}

    def _templated(self, value: Any, known: Mapping[str, Any]) -> Any:
        return Templar(loader=self._loader, variables=known).template(value)

    def domain(self, variable: str | None) -> dict[str, str]:
        """Return the failure domain of each host; nothing where none is asked for."""
        if variable is None:
            return {}
        found = {host: self._domain(host, variable) for host in self.hosts}
        without = [host for host, domain in found.items() if not domain]
        if without:
            problem = f"is not set for {hosts.named(without)}"
            raise WishError(f"--by {variable}", problem, "set it to the failure domain of every host of the fleet")
        return found

    def _domain(self, host: str, variable: str) -> str:
        known = self._variables.get_vars(host=self._inventory.get_host(host))
        try:
            value = self._templated(known.get(variable, ""), known)
        except AnsibleError as error:
            raise WishError(f"--by {variable}", f"cannot be read for {host}", "set it to a name") from error
        if not isinstance(value, (str, int)) or isinstance(value, bool):
            raise WishError(f"--by {variable}", f"is {described(value)} for {host}", "set it to a name, such as rack1")
        return str(value)
