# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The hosts of a group that connect to the servers, each with the ``address`` that filters let in."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, described
from ansible_collections.tfserving.fleet.plugins.module_utils.refusals import Refusals

from . import checks as fields

FIELDS: dict[str, fields.Check] = {"name": fields.text, "address": fields.text}


@dataclass(frozen=True)
class Senders:
    """Such a group: what one of its hosts is called, the variables with its address, and the words of a refusal.

    Of ``addresses`` the first that is set counts; without any, the name is the address.
    """

    a_host: str
    addresses: tuple[str, ...]
    fault: str
    remedy: str

    def checked(self, found: Mapping[str, Mapping[str, Any]], refusals: Refusals) -> list[dict[str, str]]:
        """Return the ``name`` and the ``address`` of each host, by name, and add what is wrong to ``refusals``.

        :param found: the values of ``addresses`` of each host of the group.
        """
        checked = [refusals.check(self._host, name, found[name], default=None) for name in sorted(found)]
        return [each for each in checked if each]

    def _host(self, name: str, variables: Mapping[str, Any]) -> dict[str, str]:
        given = next((variables[each] for each in self.addresses if variables.get(each)), name)
        try:
            return {"name": name, "address": str(ipaddress.ip_address(given))}
        except ValueError:
            what = self.a_host.partition(" ")[2]
            problem = f"is {described(given)} for the {what} {name}, {self.fault}"
            raise WishError(self.addresses[0], problem, self.remedy) from None

    def listed(self, path: str, value: Any) -> list[dict[str, Any]]:
        """Check the hosts in a policy."""
        if not isinstance(value, (list, tuple)):
            raise WishError(path, f"is {described(value)}", "give a list of {name, address}")
        return [fields.fields(f"{path}[{at}]", each, self.a_host, FIELDS) for at, each in enumerate(value)]
