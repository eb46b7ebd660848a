# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Watches a new version get its share of the traffic: one worker conducts, the others carry out its orders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible import context
from ansible.utils.display import Display
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import visible_lines
from ansible_collections.tfserving.fleet.plugins.plugin_utils.action import Action
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark import here
from ansible_collections.tfserving.fleet.plugins.plugin_utils.rollout import (
    bounded,
    conduct,
    samples,
    state,
    team,
    verdict,
)


class ActionModule(Action):
    """Runs on the gateways and on the hosts of both arms at the same time; the first gateway conducts."""

    _requires_connection = True
    _supports_check_mode = False
    ARGUMENTS = {
        "state": {"type": "dict", "required": True},
        "wish": {"type": "dict", "required": True},
        "gateways": {"type": "list", "elements": "str", "required": True},
        "arms": {"type": "dict", "required": True},
        "last_step": {"type": "int", "required": True},
        "plan": {"type": "dict", "default": {}},
    }

    def perform(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return how the watch ended, on the first gateway."""
        given = self.options()
        me = task_vars["inventory_hostname"]
        members = team.members(given["gateways"], given["arms"], context.CLIARGS["forks"])
        if me not in members:
            return {}
        begun, rules = self._begun(given)
        in_arm = any(me in given["arms"][arm] for arm in samples.ARMS)
        post = team.post(begun.model, me in given["gateways"], given["plan"] if in_arm else {})

        def carry_out(order: Mapping[str, Any]) -> dict[str, Any]:
            return bounded.carried_out(order, post, lambda module, wanted: self.call(module, wanted, task_vars))

        with here.crew(self, me, members) as crew:
            if not crew.conducts:
                team.follow(crew, carry_out)
                return {}
            effects = team.Team(crew, me, members, given["gateways"], given["arms"], carry_out, self._tell)
            ended = conduct.watch(begun, rules, effects, given["gateways"], given["last_step"])
        return {
            "changed": True,
            "ended": ended.ended,
            "state": ended.state.to_json(),
            "sentence": ended.sentence,
            "missed": list(ended.missed),
        }

    def _begun(self, given: Mapping[str, Any]) -> tuple[state.State, verdict.Rules]:
        try:
            return state.from_json(given["state"]), verdict.rules(given["wish"])
        except (KeyError, TypeError, ValueError) as error:
            raise WishError("state", f"is none of a roll-out ({error})", "give what rollout_course returned") from None

    def _tell(self, text: str) -> None:
        Display().display(visible_lines(text))
