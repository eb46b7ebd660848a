# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The checks by name, each with the arguments of the module whose place it takes, and with that module's functions."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ..driver import reading as driver_reading
from ..driver import secure_boot
from ..errors import WishError
from ..gate.door import Door
from ..gate.passage import Passage
from ..host import jemalloc, plan_key, plan_record
from ..host import process as process_facts
from ..host.keyring import Keyring, keep
from ..host.sysfs import Tree as Sysfs
from ..kernel import boot_parameters
from ..kernel import modules as kernel_modules
from ..kernel import partition as partition_live
from ..kernel import settings as kernel_live
from ..models import options as model_options
from ..models import repository
from ..nvidia import owned
from ..releases import found as releases
from ..topology import live
from ..trial import leftover
from . import trees
from .finding import Finding, digest
from .instances import Onlooker

Given = Mapping[str, Any]


class Host:
    """The host that is looked at.

    :param module: the AnsibleModule; whatever it is told, the checks run in check mode.
    :param beside: arguments of the check of models that may be secret, and that no record has.
    """

    def __init__(self, module: Any, beside: Given | None = None) -> None:
        self.beside = dict(beside or {})
        self.module = copy.copy(module)
        self.module.check_mode = True
        self.run = process_facts.runner(module)
        self.plan: dict[str, Any] = {}
        self.status: list[dict[str, Any]] = []


def record(host: Host, given: Given) -> Finding:
    """Look at the record of the plan in force and at the host's key."""
    known = plan_record.in_force(given["plan_path"])
    host.plan = known["plan"]
    key = plan_key.read_key(given["key_path"])
    state = {"plan": digest(host.plan), "key": digest(key), "modes": [_mode(given[name]) for name in sorted(given)]}
    return Finding("" if host.plan and known["recorded"] else "the record of the plan in force", state)


def _mode(path: str) -> list[int]:
    found = os.stat(path)
    return [found.st_mode, found.st_uid, found.st_gid]


def hardware(_host: Host, given: Given) -> Finding:
    """Read the host as before it is planned."""
    return Finding("", live.read(_complete(live.ARGUMENTS, given)))


def driver(host: Host, given: Given) -> Finding:
    """Read the driver. Who uses the GPUs changes all the time, and decides nothing where no driver changes."""
    ignored, certificates = owned.checked(given["ignore"]), list(secure_boot.CERTIFICATES)
    found = driver_reading.read(Sysfs("/"), host.run, given["kernel"], certificates, ignored)
    return Finding("", {name: value for name, value in found.items() if name != "users"})


def files(_host: Host, given: Given) -> Finding:
    """Look at all that template_tree has laid down."""
    return trees.look(given["state_path"])


def kernel(host: Host, given: Given) -> Finding:
    """Compare the settings of the kernel."""
    nothing: dict[str, list[Any]] = {"sysctl": [], "sysfs": [], "modules": [], "least": []}
    wanted = {**nothing, **(given["settings"] if given["state"] == "present" else {})}
    names = [each["name"] for each in wanted["modules"]]
    loaded, troubles = kernel_modules.load(host.run, True, names)
    live_kernel, originals = kernel_live.Kernel(dry=True), kernel_live.Originals(given["record"])
    outcomes = kernel_live.apply(live_kernel, originals, wanted, given["boot_file"])
    insists = kernel_live.insists(given["require_live"], given["settings"])
    acts = (kernel_live.SET, *((kernel_live.REFUSED,) if insists else ()))
    due = [*loaded, *(outcome.key for outcome in outcomes if outcome.status in acts)]
    told = [*troubles, *kernel_live.told(outcomes), *kernel_live.low(live_kernel, wanted)]
    return Finding(f"the kernel settings {', '.join(due)}" if due else "", told)


def partition(host: Host, given: Given) -> Finding:
    """Compare the partition of the CPUs and the parameters of the kernel."""
    present = given["state"] == "present"
    wanted = given["partition"] if present else partition_live.ABSENT
    done = partition_live.Host(Sysfs("/"), host.run, given["record"], True).bring(wanted)
    parameters = given["boot_parameters"] if present else []
    boot = boot_parameters.judge(Sysfs("/"), parameters, given["reboot_ok"], given["is_controller"])
    due = [*done.changed, *boot["missing"]]
    told = [*partition_live.remarks(wanted), *done.problems]
    return Finding(f"the CPU partition ({', '.join(map(str, due))})" if due else "", {"told": told, "boot": boot})


def allocator(host: Host, given: Given) -> Finding:
    """Run a process with the library preloaded, as the role does."""
    environment = given["environment"]
    if not environment:
        return Finding("", "none")
    if not os.path.exists(environment["LD_PRELOAD"]):
        return Finding("the library of jemalloc", "missing")
    return Finding("", host.run(jemalloc.trial(environment)))


def models(host: Host, given: Given) -> Finding:
    """Compare the model repository."""
    found = repository.execute(_complete(model_options.ARGUMENTS, {**given, **host.beside}), True)
    due = found["changed"] or found["unsettled"] or found.get("needs")
    return Finding("the model versions" if due else "", {name: found[name] for name in ("models", "notes", "kept")})


def server(host: Host, given: Given) -> Finding:
    """Compare releases and packages."""
    found = releases.read(given, host.run)
    package = found["package"]
    held = given["method"] != "apt" or package["held"]
    due = found["release_due"] or found["prune_due"] or package["due"] or package["rivals"] or not held
    return Finding("the server's releases or packages" if due else "", found)


def key(host: Host, given: Given) -> Finding:
    """Check the signing key of the repository; empty where there is none."""
    if not given:
        return Finding("", "none")
    if not host.module.get_bin_path("gpg"):
        return Finding("gpg", "missing")
    module = copy.copy(host.module)
    module.params = {**{name: None for name in ("content", "owner", "group", "attributes")}, **given}
    found = keep(Keyring(module, time.time()))
    ageing = found["expires_in_days"] is not None and int(str(found["expires_in_days"])) <= given["warn_days"]
    state = {name: found[name] for name in ("path", "fingerprint", "user_ids", "expires")}
    return Finding("the repository's signing key" if found["changed"] or ageing else "", state)


def instances(host: Host, given: Given) -> Finding:
    """Look at every instance once."""
    passage = Passage(Door(host.run, f"{given['config_root']}/gate.json"), {})
    finding, host.status = Onlooker(given, host.run, True, passage).look()
    # Its server runs with settings of its own, and calls them by its mark.
    trials = [path.parent.name for path in leftover.found()]
    return Finding(f"the trial in {', '.join(trials)}", {}) if trials else finding


def _complete(spec: Mapping[str, Any], given: Given) -> dict[str, Any]:
    """Return arguments as the module gets them."""
    validated = ArgumentSpecValidator(dict(spec)).validate(dict(given))
    if validated.error_messages:
        raise WishError("the recorded arguments", validated.error_messages[0], "")
    found: dict[str, Any] = validated.validated_parameters
    return found


# In the order of cost, so that a host that has changed is soon done with.
CHECKS: dict[str, Callable[[Host, Given], Finding]] = {
    "record": record,
    "trees": files,
    "kernel": kernel,
    "host": hardware,
    "server": server,
    "key": key,
    "allocator": allocator,
    "driver": driver,
    "partition": partition,
    "models": models,
    "instances": instances,
}
