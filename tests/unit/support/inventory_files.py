# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Every file that site.yml lays down from wishes, rendered for one host, and read back as what reads it would."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.tfserving.fleet.plugins.module_utils import cpu_list
from ansible_collections.tfserving.fleet.plugins.module_utils.gate import config as gate_config
from ansible_collections.tfserving.fleet.plugins.module_utils.gpus import setting_wishes as gpu_setting_wishes
from ansible_collections.tfserving.fleet.plugins.module_utils.gpus import settings as gpu_settings
from ansible_collections.tfserving.fleet.plugins.module_utils.serving import records as instance_records
from ansible_collections.tfserving.fleet.plugins.plugin_utils.driver import plan as driver_plan
from ansible_collections.tfserving.fleet.plugins.plugin_utils.server import flags as server_flags
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import addresses as address_rules
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import secrets as plan_secrets
from unit_cases import ROLES, rendered

KEYRING = "/etc/apt/keyrings/tfserving.gpg"
# What a role takes in place of a plan's partition when cpu_partition_state is absent.
NO_PARTITION: dict[str, Any] = {"mode": "none", "slices": [], "irqs": None, "boot": [], "housekeeping": ""}
# Programs that are the same on every host; tests of their own run them.
PROGRAMS = tuple(
    f"usr/local/lib/tfserving-fleet/{name}" for name in ("tfserving-health", "tfserving-gate", "lib/", "collector/")
)
# The only files that may hold what is secret; all of them are 0600.
SECRET_FILES = ("/environment", "/plan.key", "/ssl.config")


class ViolationError(AssertionError):
    """What the fuzzer is there to find."""


# Of the variables of nvidia_driver, those that say where its packages come from.
DRIVER_SOURCE = ("repository", "repository_uri", "key_url", "key_fingerprint")


@dataclass
class Host:
    """What the roles know of one host: its plan, what is not for the plan, the driver, and a variable by its name."""

    plan: dict[str, Any]
    known: dict[str, Any]
    driver: dict[str, Any]
    gpus: list[dict[str, Any]]
    value: Callable[[str], Any]

    @property
    def partition(self) -> dict[str, Any]:
        """The partition, if there is to be one."""
        return self.plan["partition"] if self.value("cpu_partition_state") == "present" else NO_PARTITION

    @property
    def ssl(self) -> dict[str, Any]:
        """What the server is told of its certificate."""
        authority = self.value("tfserving_tls_client_ca")
        found = {
            "server_key": self.value("tfserving_tls_key"),
            "server_cert": self.value("tfserving_tls_certificate"),
            "client_verify": bool(authority),
        }
        return {**found, "custom_ca": authority} if authority else found

    def rules(self) -> list[dict[str, Any]]:
        """Return who may talk to which ports."""
        everybody = list(self.value("tfserving_allow_from"))
        rest = list(self.value("tfserving_rest_allow_from")) or everybody
        return [
            {
                "ports": sorted(each["ports"][kind] for each in self.plan["instances"]),
                "networks": address_rules.networks([*self.own_addresses, *addresses]),
            }
            for kind, addresses in (("grpc", everybody), ("rest", rest))
        ]

    @property
    def own_addresses(self) -> list[str]:
        """Who may connect without being named in the inventory."""
        return ["localhost", *(each["address"] for each in (self.plan["gate"] or {}).get("gateways", []))]

    def variables(self) -> dict[str, Any]:
        """Return what the templates read, as the roles' vars/main.yml make it."""
        names = ["open_files", "group", "address_rules", "apt_repository_uri", "apt_suite", "apt_package"]
        wish = {key: self.value(f"nvidia_driver_{key}") for key in DRIVER_SOURCE}
        rules = self.rules()
        boot, wanted = self.value("cpu_partition_boot"), self.partition["boot"]
        return {
            **{f"tfserving_{name}": self.value(f"tfserving_{name}") for name in names},
            "tfserving_allow_from": list(self.value("tfserving_allow_from")),
            "tfserving_allow_to": list(self.value("tfserving_allow_to")),
            "tfserving_plan": self.plan,
            "tfserving_plan_secrets": self.known,
            "__tfserving_tls": bool(self.value("tfserving_tls_certificate")),
            "__tfserving_ssl": self.ssl,
            "__tfserving_own_addresses": self.own_addresses,
            "__tfserving_readers": [],
            "__tfserving_gate_revision": "0123456789ab",
            "__tfserving_address_rules": rules,
            "__tfserving_ports": sorted(port for rule in rules for port in rule["ports"]),
            "tfserving_apt_keyring": KEYRING,
            "__tfserving_probes": [{"name": each["name"], "probe": each["probe"]} for each in self.plan["models"]],
            "cpu_partition_boot": boot,
            "cpu_partition_boot_parameters": [each["parameter"] for each in wanted if each["name"] in boot],
            "nvidia_driver_hold_kernel": self.value("nvidia_driver_hold_kernel"),
            "nvidia_driver_mig": self.value("nvidia_driver_mig"),
            "__nvidia_driver_resolved": self.driver,
            "__nvidia_driver_plan": {"repository": driver_plan.repository(wish, self.driver, "Debian", [])},
            "__nvidia_driver_boot_commands": gpu_settings.boot_commands(
                gpu_setting_wishes.wishes(self.value("nvidia_driver_gpu_settings"), self.gpus)
            ),
        }

    def left_out(self, name: str) -> bool:
        """Tell whether the roles leave a file out on this host."""
        kernel = self.plan["kernel"]
        late = [each for each in kernel["sysfs"] if "/cpu" in each["path"]]
        needs = {
            "etc/modules-load.d/90": kernel["modules"],
            "etc/tmpfiles.d/90": kernel["sysfs"],
            "tfserving-fleet-kernel.service": late,
            "system.conf.d": self.partition["mode"] == "affinity",
            "irqbalance": self.partition["irqs"],
            "interrupts": self.partition["irqs"],
            "grub.d": [each for each in self.partition["boot"] if each["name"] in self.value("cpu_partition_boot")],
            "ssl.config": self.value("tfserving_tls_certificate"),
            "nvidia-mig-manager": self.value("nvidia_driver_mig"),
            "/gate.json": self.plan["gate"],
            "tfserving-gate": self.plan["gate"],
            "addresses.nft": self.value("tfserving_address_rules") == "nftables",
        }
        return any(part in name and not needed for part, needed in needs.items()) or name.startswith(PROGRAMS)


@cache
def templates() -> dict[str, Path]:
    """Return every template of a serving host's roles by the name of its file below the root."""
    found = {}
    for path in sorted(ROLES.glob("*/templates/**/*.j2")):
        role, _, *parts = path.relative_to(ROLES).parts
        if role in ("gateway", "monitoring"):
            continue
        parts = parts if parts[0] in ("etc", "usr") else parts[1:]
        found["/".join(parts).removesuffix(".j2")] = path
    return found


def files(host: Host) -> dict[str, str]:
    """Return the text of every file by its name below the root, each read back. Raises ViolationError."""
    variables = host.variables()
    result = {}
    for name, template in templates().items():
        if host.left_out(name):
            continue
        for place, more in _expanded(name, host):
            text = rendered(template, **variables, **more)
            read_back(place, text, host, more.get("instance"))
            result[place] = text
    return result


def _expanded(name: str, host: Host) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a file for each instance or slice that its name speaks of."""
    if "{instance}" in name:
        for instance in host.plan["instances"]:
            yield name.replace("{instance}", instance["name"]), {"instance": instance}
    elif "{slice}" in name:
        for each in host.partition["slices"]:
            yield name.replace("{slice}", each["name"]), {"slice": each}
    else:
        yield name, {}


def read_back(name: str, text: str, host: Host, instance: dict[str, Any] | None) -> None:
    """Read a file as what reads it on the host would."""
    if any(len(part) > 255 for part in name.split("/")) or not re.fullmatch(r"[\w./@+-]+", name, re.ASCII):
        raise ViolationError(f"no name of a file: {name}")
    # Line feeds and tabs alone: anything else either ends the file for somebody or acts in a terminal.
    if re.search(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]", text):
        raise ViolationError(f"{name} holds a control character")
    readers = [reader for pattern, reader in READERS if re.search(pattern, name)]
    if not readers:
        raise ViolationError(f"nobody reads {name} back: give it a reader")
    readers[0](name, text, host, instance)


# Units ----------------------------------------------------------------------------------------------------------------

_LINE = re.compile(r"\[[A-Z][a-z]+\]|[A-Z][A-Za-z]+=.*|")
# Every directive that the templates and the plan write; a line of a user's would bring others.
_DIRECTIVES = re.compile(r"^([A-Z][A-Za-z0-9]+)=", re.MULTILINE)
_PROGRAM = re.compile(r'^Exec\w+=[-!+@:]*"?([^\s"]+)', re.MULTILINE)


@cache
def _written() -> str:
    return "\n".join(path.read_text() for name, path in templates().items() if "/systemd/" in name)


@cache
def _known_directives() -> set[str]:
    planned = """
        AllowedCPUs CPUAffinity NUMAPolicy NUMAMask AllowedMemoryNodes MemoryHigh MemoryMax PrivateDevices
        DevicePolicy DeviceAllow RootDirectory MountAPIVFS BindReadOnlyPaths
    """
    return {*_DIRECTIVES.findall(_written()), *planned.split()}


@cache
def _known_programs() -> set[str]:
    return {"nvidia-smi", *(each for each in _PROGRAM.findall(_written()) if "{" not in each)}


def _unit(name: str, text: str, host: Host, instance: dict[str, Any] | None) -> None:
    joined = re.sub(r"\\\n\s*", " ", text)
    for line in joined.split("\n"):
        if not line.startswith("#") and not _LINE.fullmatch(line):
            raise ViolationError(f"no line of a unit: {line!r}")
    unknown = set(_DIRECTIVES.findall(joined)) - _known_directives()
    planned = {each["server"]["binary"] for each in host.plan["instances"]}
    unknown |= set(_PROGRAM.findall(joined)) - _known_programs() - planned
    if unknown:
        raise ViolationError(f"lines that nobody wrote: {unknown}")
    for directive, cpus in re.findall(r"^(AllowedCPUs|CPUAffinity|AllowedMemoryNodes|NUMAMask)=(.*)$", joined, re.M):
        _cpus(f"{directive} of {name}", cpus)
    if instance and "/tfserving@" in name:
        _command(joined, instance)


def _cpus(what: str, text: str) -> None:
    if not text or cpu_list.format(cpu_list.parse(text)) != text:
        raise ViolationError(f"{what} is no list of CPUs: {text}")


def _command(joined: str, instance: dict[str, Any]) -> None:
    line = re.findall(r"^ExecStart=(.+)$", joined, re.MULTILINE)[-1]
    wanted = [instance["server"]["binary"], *server_flags.arguments(instance["flags"], instance["server"]["version"])]
    if list(words(line)) != wanted:
        raise ViolationError(f"the command line reads back otherwise: {line}")


_ESCAPED = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", '"': '"'}


def words(line: str) -> Iterator[str]:
    """Read a line of words as systemd does."""
    for found in re.finditer(r'"((?:[^"\\]|\\.)*)"|(\S+)', line):
        if found[2] is not None:
            yield found[2]
            continue
        text = re.sub(
            r"\\x([0-9a-f]{2})|\\(.)", lambda each: chr(int(each[1], 16)) if each[1] else _ESCAPED[each[2]], found[1]
        )
        yield text.replace("%%", "%").replace("$$", "$")


# The server's files ---------------------------------------------------------------------------------------------------


def _environment(_name: str, text: str, host: Host, instance: dict[str, Any] | None) -> None:
    found = {}
    for line in text.split("\n")[1:-1]:
        read = re.fullmatch(r'([A-Za-z_][A-Za-z0-9_]*)="((?:[^"\\`$\n]|\\["\\`$])*)"', line)
        if not read:
            raise ViolationError("no line of an environment file")
        found[read[1]] = re.sub(r'\\(["\\`$])', r"\1", read[2])
    if found != plan_secrets.environment(instance or {}, host.known):
        raise ViolationError(f"the environment reads back otherwise: {sorted(found)}")


def _instance_json(_name: str, text: str, host: Host, instance: dict[str, Any] | None) -> None:
    def never(constant: str) -> None:
        raise ViolationError(f"instance.json holds {constant}, which is no JSON")

    found = json.loads(text, parse_constant=never)
    wanted = instance or {}
    probes = [{"name": each["name"], "probe": each["probe"]} for each in host.plan["models"]]
    if found["models"] != [each for each in probes if each["name"] in wanted["models"]]:
        raise ViolationError("the probes read back otherwise")
    if any(wanted[key] != each for key, each in found["instance"].items()):
        raise ViolationError("instance.json reads back otherwise")
    if not instance_records.is_description(found, found["instance"]["name"]):
        raise ViolationError("instance.json does not count as a description")


def _gate_json(name: str, text: str, host: Host, _instance: dict[str, Any] | None) -> None:
    found = gate_config.of(json.loads(text), name)
    wanted = {each["name"]: (each["ports"]["grpc"], each["ports"]["rest"]) for each in host.plan["instances"]}
    _equal(name, {each: one.ports for each, one in found.instances.items()}, wanted)


def _proto(name: str, text: str, host: Host, instance: dict[str, Any] | None) -> None:
    from google.protobuf import json_format, text_format
    from real_protos import message_class

    known = instance or {}
    message, wanted = {
        "models": ("ModelServerConfig", known.get("model_config")),
        "batching": ("BatchingParameters", known.get("batching") or {}),
        "monitoring": ("MonitoringConfig", known.get("monitoring")),
        "ssl": ("SSLConfig", host.ssl),
    }[name.rpartition("/")[2].removesuffix(".config")]
    read = text_format.Parse(text, message_class(message)())
    if not _same(wanted, json_format.MessageToDict(read, preserving_proto_field_name=True)):
        raise ViolationError(f"{message} reads back otherwise")


def _same(wanted: Any, found: Any) -> bool:
    """Compare plain data with what protobuf makes of it, which writes 64-bit numbers as text and leaves out zeros."""
    if isinstance(wanted, dict):
        return all(_same(each, (found or {}).get(key)) for key, each in wanted.items())
    if isinstance(wanted, list):
        return len(wanted) == len(found or []) and all(map(_same, wanted, found or []))
    return found is None or str(found) == str(wanted) or found == wanted


def _key(_name: str, text: str, host: Host, _instance: dict[str, Any] | None) -> None:
    if text != host.known["key"]:
        raise ViolationError("the key reads back otherwise")


_PORTS = r"\{\ [0-9]+(?:,\ [0-9]+)*\ \}"
_NFT = re.compile(
    rf"""(?:tcp\ dport\ {_PORTS}\ )?ip6?\ [sd]addr\ (?P<network>\S+)\ accept
    |tcp\ dport\ {_PORTS}\ counter\ reject\ with\ tcp\ reset
    |tcp\ sport\ {_PORTS}\ tcp\ flags\ &\ \(syn\ \|\ ack\)\ !=\ syn\ accept
    |type\ filter\ hook\ (?:input|output)\ priority\ filter;\ policy\ accept;
    |meta\ skgid\ "(?P<group>[a-z_][a-z0-9_-]{{0,30}})"\ goto\ servers
    |table\ inet\ tfserving(?:\ \{{)?|delete\ table\ inet\ tfserving|chain\ (?:input|output|servers)\ \{{
    |oifname\ "lo"\ accept|counter\ reject\ with\ icmpx\ admin-prohibited|\}}""",
    re.VERBOSE,
)


def _nft(_name: str, text: str, host: Host, _instance: dict[str, Any] | None) -> None:
    networks = []
    for line in filter(None, (each.strip() for each in text.split("\n"))):
        found = None if line.startswith("#") else _NFT.fullmatch(line)
        if not found and not line.startswith("#"):
            raise ViolationError(f"no rule of the packet filter: {line!r}")
        if found and found["network"]:
            networks.append(str(ipaddress.ip_network(found["network"])))
    rules = [*(rule["networks"] for rule in host.rules() if rule["ports"])]
    rules.append(address_rules.networks(list(host.value("tfserving_allow_to"))))
    if networks != [each for rule in rules for each in (*rule["ipv4"], *rule["ipv6"])]:
        raise ViolationError("the addresses read back otherwise")
    if text.count("{\n") != len(re.findall(r"^\s*\}$", text, re.MULTILINE)):
        raise ViolationError("a brace of the packet filter's is open")


# The host's files -----------------------------------------------------------------------------------------------------


def _entries(text: str, pattern: str) -> list[tuple[str, ...]]:
    """Return what the lines beside comments say, each of which has to match."""
    found = []
    for line in text.split("\n"):
        if line.strip() and not line.startswith("#"):
            read = re.fullmatch(pattern, line, re.ASCII)
            if not read:
                raise ViolationError(f"a line that nobody wrote: {line!r}")
            found.append(read.groups())
    return found


def _equal(name: str, found: Any, wanted: Any) -> None:
    if found != wanted:
        raise ViolationError(f"{name} reads back otherwise: {found!r}")


def _sysctl(name: str, text: str, host: Host, _instance: dict[str, Any] | None) -> None:
    wanted = [(each["name"], each["value"]) for each in host.plan["kernel"]["sysctl"]]
    _equal(name, _entries(text, r"([\w:@][\w:@./-]{0,254}) = (\S(?:.*\S)?)"), wanted)


def _modules(name: str, text: str, host: Host, _instance: dict[str, Any] | None) -> None:
    _equal(name, _entries(text, r"(\w[\w-]{0,63})"), [(each["name"],) for each in host.plan["kernel"]["modules"]])


def _tmpfiles(name: str, text: str, host: Host, _instance: dict[str, Any] | None) -> None:
    wanted = [(each["path"], each["value"]) for each in host.plan["kernel"]["sysfs"]]
    _equal(name, _entries(text, r"w (/sys/[\w/*{},-]+) - - - - (\w+)"), wanted)


def _grub(name: str, text: str, host: Host, _instance: dict[str, Any] | None) -> None:
    line = r'GRUB_CMDLINE_LINUX_DEFAULT="\$GRUB_CMDLINE_LINUX_DEFAULT ([a-z_]+=[a-z0-9_,-]+(?: [a-z_]+=[a-z0-9_,-]+)*)"'
    _equal(name, _entries(text, line), [(" ".join(host.variables()["cpu_partition_boot_parameters"]),)])


def _irqbalance(name: str, text: str, host: Host, _instance: dict[str, Any] | None) -> None:
    wanted = [("IRQBALANCE_BANNED_CPULIST", host.partition["irqs"]["banned"]), ("TFSERVING_FLEET", "1")]
    _equal(name, _entries(text, r"([A-Z_]+)=([0-9,-]+)"), wanted)


def _keep_interrupts(name: str, text: str, host: Host, _instance: dict[str, Any] | None) -> None:
    irqs = host.partition["irqs"]
    wanted = [(str(each["node"]), each["cpus"]) for each in irqs["local"]] + [("*", irqs["cpus"])]
    _equal(name, re.findall(r"^    ([0-9]+|\*)\) echo ([0-9,-]+) ;;$", text, re.MULTILINE), wanted)


def _stanzas(text: str) -> list[dict[str, str]]:
    """Read what apt calls deb822, without continued lines."""
    plain = "\n".join(line for line in text.split("\n") if not line.startswith("#"))
    return [dict(_entries(part, r"([A-Z][\w-]+): (\S(?:.*\S)?)")) for part in re.split(r"\n\s*\n", plain) if part]


def _sources(name: str, text: str, host: Host, _instance: dict[str, Any] | None) -> None:
    (found,) = _stanzas(text)
    address = found["URIs"].split()
    variable = "nvidia_driver_repository_uri" if "nvidia" in name else "tfserving_apt_repository_uri"
    if len(address) != 1 or not address[0].startswith(host.value(variable) or "http"):
        raise ViolationError(f"{name} names {address}")
    _equal(name, set(found) - {"Components"}, {"Types", "URIs", "Suites", "Architectures", "Signed-By"})
    if "nvidia" not in name:
        wanted = (host.value("tfserving_apt_suite"), host.value("tfserving_apt_package"))
        _equal(name, (found["Suites"], found["Components"]), wanted)


def _preferences(name: str, text: str, host: Host, _instance: dict[str, Any] | None) -> None:
    found = _stanzas(text)
    if "nvidia" in name:
        wanted = [(pin["version"], str(pin["priority"])) for pin in host.driver["pins"]]
    else:
        wanted = [(f"{host.plan['server']['version']}*", "1001")]
    _equal(name, [set(each) for each in found], [{"Package", "Pin", "Pin-Priority"} for _each in wanted])
    _equal(name, [(each["Pin"], each["Pin-Priority"]) for each in found], [(f"version {a}", b) for a, b in wanted])


def _mig(name: str, text: str, host: Host, _instance: dict[str, Any] | None) -> None:
    wish = host.value("nvidia_driver_mig")
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ViolationError(f"{name} is no YAML: {type(error).__name__}") from error
    _equal(name, found, {"version": "v1", "mig-configs": {wish["name"]: _plain(wish["devices"])}})


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, (list, tuple)) else value


def _fixed(name: str, text: str, _host: Host, _instance: dict[str, Any] | None) -> None:
    """Nothing of a wish is in these: their lines are the template's own."""
    (template,) = (path.read_text() for each, path in templates().items() if each == name)
    lines = {line.strip() for line in template.splitlines()}
    strange = [line for line in text.split("\n") if line.strip() not in lines and line[:1] not in ("#", "/", " ", "*")]
    if strange:
        raise ViolationError(f"{name} has lines that nobody wrote: {strange}")


Reader = Callable[[str, str, Host, "dict[str, Any] | None"], None]
READERS: tuple[tuple[str, Reader], ...] = (
    (r"/systemd/", _unit),
    (r"/environment$", _environment),
    (r"/instance\.json$", _instance_json),
    (r"/gate\.json$", _gate_json),
    (r"/(models|batching|monitoring|ssl)\.config$", _proto),
    (r"/plan\.key$", _key),
    (r"\.nft$", _nft),
    (r"/sysctl\.d/", _sysctl),
    (r"/modules-load\.d/90", _modules),
    (r"/tmpfiles\.d/", _tmpfiles),
    (r"/grub\.d/", _grub),
    (r"irqbalance$", _irqbalance),
    (r"keep-interrupts$", _keep_interrupts),
    (r"\.sources$", _sources),
    (r"/preferences\.d/", _preferences),
    (r"mig-manager/", _mig),
    (r"/(apt\.conf\.d|modules-load\.d/nvidia|modprobe\.d)", _fixed),
)
