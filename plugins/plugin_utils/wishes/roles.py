# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Checks of the roles' own variables, where argument specs only say that they are text.

They end up in units, apt's files and commands. Models, instances and the policy are in wishes/read.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils import errors, scalars
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, described, key_path, kind
from ansible_collections.tfserving.fleet.plugins.module_utils.gpus import setting_wishes as gpu_setting_wishes
from ansible_collections.tfserving.fleet.plugins.module_utils.models.sources import http
from ansible_collections.tfserving.fleet.plugins.module_utils.nvidia import owned as driver_gpus
from ansible_collections.tfserving.fleet.plugins.module_utils.refusals import Refusals
from ansible_collections.tfserving.fleet.plugins.module_utils.web import address as web_address

from ..driver import packages as driver_packages
from . import bounds as wish_bounds
from . import checks as fields

_UNIT = re.compile(r"[A-Za-z0-9_.:@*?\[\]-]{1,200}")
_MIRROR = re.compile(r"(https?://)?[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[a-z0-9._/-]+)?")
_APT_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+~-]{0,127}")
# Owners by name or number, as for chown; modes as for chmod. YAML reads an unquoted 0644 as the number 420.
_OWNER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}\$?|0|[1-9][0-9]{0,9}")
_MODE = re.compile(r"[0-7]{3,4}|[ugoa]*[-+=][rwxXst]*(,[ugoa]*[-+=][rwxXst]*){0,8}")
_GEOMETRY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
_FINGERPRINT = re.compile(r"(0[xX])?[0-9A-Fa-f ]{40,60}")


def _optional(check: fields.Check) -> fields.Check:
    """Return a check that also accepts an empty value."""
    return lambda path, value: value if value in ("", None) else check(path, value)


def _each(check: fields.Check) -> fields.Check:
    """Return a check of each entry in a list."""

    def checked(path: str, value: Any) -> list[Any]:
        if not isinstance(value, (list, tuple)):
            raise WishError(path, f"is {kind(value)}", "give a list")
        return [check(f"{path}[{number}]", entry) for number, entry in enumerate(value)]

    return checked


def address(path: str, value: Any) -> str:
    """Check a URL; every account of a host can read it and it is logged, so nothing in it may be secret."""
    line = scalars.one_line(path, value)
    parts = web_address.parts(line)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"\s", line):
        raise WishError(path, "is not a web address", "begin it with https://HOST/ or http://HOST/")
    _refuse_secrets(path, line)
    return line


def repository(path: str, value: Any) -> str:
    """Check the location of an apt repository: a URL, or a directory on the host (``file:/srv/mirror``)."""
    scheme, _colon, rest = scalars.one_line(path, value).partition(":")
    if scheme in ("file", "copy"):
        fields.directory(path, "/" + rest.lstrip("/"))
        return str(value)
    return address(path, value)


def key_source(path: str, value: Any) -> str:
    """Check the source of a key: a URL, or a file on the controller."""
    source = scalars.one_line(path, value)
    return address(path, source) if web_address.is_meant(source) else source


def _refuse_secrets(path: str, line: str) -> None:
    secret = web_address.secret_parts(line)
    if secret:
        problem = f"holds a {' and a '.join(secret)}, which would show up in files and logs that many can read"
        raise WishError(path, problem, "use an address without; apt takes credentials from /etc/apt/auth.conf.d")


def _mirror(path: str, value: Any) -> str:
    if isinstance(value, str) and "@" in value:
        problem = "holds a user, which would show up in logs"
        raise WishError(path, problem, "give it through tfserving_registry_credentials")
    return str(fields.matching(_MIRROR, "write it as HOST:PORT/PREFIX")(path, value))


def _mig(path: str, value: Any) -> None:
    """Check a MIG geometry: its name becomes an argument, its devices a file for mig-parted."""
    value = fields.mapping(path, value)
    unknown = [key for key in value if key not in ("name", "devices")]
    if unknown:
        raise errors.unknown_key(path, unknown[0], "a geometry", ("name", "devices"))
    name, devices = value.get("name"), value.get("devices")
    if value and not (name and devices):
        raise WishError(path, "lacks its name or its devices", "give both, or leave it empty")
    if value:
        fields.matching(_GEOMETRY, "use letters, digits and . _ + -, in quotes")(f"{path}.name", name)
        if not isinstance(devices, (list, tuple)) or not all(isinstance(each, Mapping) for each in devices):
            raise WishError(f"{path}.devices", f"is {kind(devices)}", "give a list of mappings, as mig-parted knows it")
        _mig_words(f"{path}.devices", devices)


def _mig_words(path: str, value: Any) -> None:
    """Check the input of mig-parted: words, whole numbers and booleans, in lists and mappings."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            _mig_word(path, key)
            _mig_words(key_path(path, key), each)
    elif isinstance(value, (list, tuple)):
        for number, each in enumerate(value):
            _mig_words(f"{path}[{number}]", each)
    elif not isinstance(value, int):
        _mig_word(path, value)
        if scalars.DECIMAL.fullmatch(value) or value in scalars.TRUTHS:
            # It would reach mig-parted as text.
            raise WishError(
                path, f"is {described(value)}", "write it without quotes, and end a template in '| int' or '| bool'"
            )


_mig_word = fields.matching(_GEOMETRY, "use what mig-parted knows, such as all, 0x233010DE or 3g.40gb")


_WORD = fields.matching(_APT_WORD, "use letters, digits and . _ / + ~ -")

CHECKS: dict[str, fields.Check] = {
    "tfserving_model_root": fields.directory,
    "tfserving_release_root": fields.directory,
    "model_repository_staging": _optional(fields.directory),
    "model_repository_headers": http.headers,
    "tfserving_fleet_bundle": _optional(fields.directory),
    "bundle_dir": fields.directory,
    "tfserving_group": fields.matching(re.compile(r"[a-z_][a-z0-9_-]{0,30}"), "use a name that groupadd takes"),
    "monitoring_node_port": fields.whole(1, 65535, "a port"),
    "tfserving_gate_port": fields.whole(1, 65535, "a port"),
    "tfserving_drain_timeout_s": fields.whole(1, 3600, "a number of seconds"),
    "tfserving_longest_call_s": fields.whole(1, 3600, "a number of seconds"),
    "tfserving_open_files": fields.whole(1024, 2**30, "a limit"),
    "tfserving_keep_releases": fields.whole(1, fields.MOST_ENTRIES, "a count of releases"),
    "tfserving_registry_mirrors": _each(_mirror),
    "tfserving_apt_repository_uri": repository,
    "tfserving_apt_suite": _WORD,
    "tfserving_apt_key_url": key_source,
    "tfserving_apt_key_fingerprint": fields.matching(_FINGERPRINT, "give its 40 hexadecimal digits"),
    "tfserving_apt_key_warn_days": fields.whole(0, 3650, "days"),
    "model_repository_owner": fields.matching(_OWNER, "name an account, or its number in quotes"),
    "model_repository_group": fields.matching(_OWNER, "name a group, or its number in quotes"),
    "model_repository_directory_mode": fields.matching(_MODE, "write it in quotes, as in '0755'"),
    "model_repository_file_mode": fields.matching(_MODE, "write it in quotes, as in '0644'"),
    "jemalloc_package": _WORD,
    "model_repository_download_timeout": fields.whole(1, 86_400, "seconds"),
    "model_repository_min_free_mb": fields.whole(0, 10**9, "MiB"),
    "nvidia_driver_repository_uri": _optional(repository),
    "nvidia_driver_key_url": _optional(key_source),
    "nvidia_driver_key_fingerprint": _optional(fields.matching(_FINGERPRINT, "give its 40 hexadecimal digits")),
    "nvidia_driver_branch": driver_packages.check_branch,
    "nvidia_driver_version": driver_packages.check_version,
    "nvidia_driver_gpu_settings": gpu_setting_wishes.check,
    "nvidia_driver_mig": _mig,
    "nvidia_driver_kernel": _WORD,
    "nvidia_driver_clients": _each(fields.matching(_UNIT, "name a unit, or a pattern of units")),
    "nvidia_driver_reboot_timeout": fields.whole(1, 86_400, "seconds"),
    "nvidia_driver_ignore": _each(driver_gpus.device_name),
    "nvidia_driver_expected_gpus": fields.whole(0, fields.MOST_ENTRIES, "a count of GPUs"),
    "cpu_partition_reboot_timeout": fields.whole(1, 86_400, "seconds"),
    "host_plan_gpu_pci_vendors": _each(fields.matching(re.compile(r"0x[0-9a-f]{4}"), "write a PCI vendor as 0x10de")),
}


def check(variables: Mapping[str, Any], options: Mapping[str, Mapping[str, Any]] | None = None) -> None:
    """Raise WishErrors with everything that is wrong with the roles' variables, by name.

    ``options`` are their argument specs. ansible-core checks them too, but quotes the values that it refuses.
    """
    refusals = Refusals()
    for name, value in variables.items():
        option = (options or {}).get(name, {})
        checks = [wish_bounds.check, _kind_check(option) if value is not None else _default_check(option)]
        checks += [CHECKS[name]] if name in CHECKS else []
        for each in checks:
            before = len(refusals.errors)
            refusals.check(each, name, value)
            if len(refusals.errors) > before:
                break
    refusals.stop()


def _default_check(option: Mapping[str, Any]) -> fields.Check:
    """Return a check of a variable without a value, which would replace the default, if there is one."""

    def checked(path: str, value: Any) -> None:
        if option.get("default") is not None:
            raise WishError(path, f"is {kind(value)}", "give it a value, or remove it and its default holds")

    return checked


def _kind_check(option: Mapping[str, Any]) -> fields.Check:
    """Return a check of a value's type and choices."""

    def checked(path: str, value: Any) -> None:
        remedy = _misfit(option, value)
        if remedy:
            raise WishError(path, f"is {kind(value)}", remedy)
        entries = value if option.get("type") == "list" else ()
        for number, entry in enumerate(entries):
            checked_entry(f"{path}[{number}]", entry)
        choices = option.get("choices")
        if choices and option.get("type") == "str" and str(value) not in choices:
            fields.one_of(*choices)(path, value)

    def checked_entry(path: str, entry: Any) -> None:
        wanted, choices = option.get("elements"), option.get("choices")
        if wanted != "dict":
            _kind_check({"type": wanted, "choices": choices})(path, entry)

    return checked


def _misfit(option: Mapping[str, Any], value: Any) -> str:
    """Return what to write instead of a value of the wrong type, or an empty text."""
    wanted = option.get("type")
    if wanted == "list" and not isinstance(value, (list, tuple)):
        return "give a list of mappings, each an entry with '- '" if option.get("elements") == "dict" else "give a list"
    if wanted == "list" and option.get("elements") == "dict" and not all(isinstance(each, Mapping) for each in value):
        return "give each entry as a mapping"
    if wanted == "dict" and not isinstance(value, Mapping):
        return "give a mapping of names to values"
    # Conditions do not accept text as a boolean, and templates take 'no' as true.
    if wanted == "bool" and not isinstance(value, bool):
        return "give true or false without quotes, and on a command line as JSON: -e '{\"name\": true}'"
    if wanted == "int" and not scalars.is_whole(scalars.decimal(value)):
        return "give a whole number in plain decimal digits"
    if wanted in ("str", "path") and isinstance(value, (bool, Mapping, list, tuple)):
        return "give a text"
    return ""
