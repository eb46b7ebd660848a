# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Decides what a roll-out does next, from what the hosts have recorded and what the inventory wishes."""

from __future__ import annotations

import time
from typing import Any

from ansible import context
from ansible_collections.tfserving.fleet.plugins.plugin_utils.action import Action
from ansible_collections.tfserving.fleet.plugins.plugin_utils.caller import current
from ansible_collections.tfserving.fleet.plugins.plugin_utils.optimization import publication
from ansible_collections.tfserving.fleet.plugins.plugin_utils.rollout import course, gateway_settings, gathered, team
from ansible_collections.tfserving.fleet.plugins.plugin_utils.rollout import state as states
from ansible_collections.tfserving.fleet.plugins.plugin_utils.rollout.state import State

# Beside those of a roll-out that is under way.
_EVENTS = ("begin", "rollback", "arm", "ready", "check", "status", "told")


class ActionModule(Action):
    """Reads the wishes where Ansible has them; no host is contacted."""

    _requires_connection = False
    ARGUMENTS = {
        "event": {"type": "str", "required": True, "choices": [*_EVENTS, *course.EVENTS]},
        "model": {"type": "str", "default": ""},
        "answers": {"type": "dict", "default": {}},
        "plans": {"type": "dict", "default": {}},
        "state": {"type": "dict"},
        "round": {"type": "dict", "default": {}},
        "reason": {"type": "str", "default": ""},
        "version_failed": {"type": "bool", "default": False},
        "auto_revert": {"type": "bool", "default": True},
        "promote": {"type": "bool", "default": False},
        "pattern": {"type": "raw", "default": "tfserving"},
        "gateways": {"type": "raw", "default": "tfserving_gateways"},
    }

    def perform(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return what follows, or refuse in one sentence."""
        given, now = self.options(), time.time()
        event, model, reason = given["event"], given["model"], given["reason"]
        if event == "begin":
            return self._begin(given, task_vars, now)
        if event == "status":
            known = [self._newest(name, given) for name in gathered.models(given["answers"])]
            return {"text": course.summary(filter(None, known))}
        if event == "rollback":
            serving = gathered.serving(model, given["plans"])
            back = course.taken_back(model, self._newest(model, given), reason, now)
            return {**_outcome(course.with_stray(back, serving, now)), "hosts": list(serving)}
        state = states.from_json(given["state"])
        if event == "check":
            gathered.refuse_failed(given["answers"])
            course.checked(state, gathered.states(state.model, given["answers"]))
            return _outcome(state)
        if event == "told":
            return {"text": course.line(state), "problem": course.problem(state, current().playbook)}
        if event == "arm":
            return _outcome(states.with_arms(state, given["round"]["canary"], given["round"]["control"]))
        if event == "ready":
            return _outcome(course.ready(state, given["round"]["last"], now))
        if event == "failed":
            state = course.furthest(state, gathered.states(state.model, given["answers"]))
            event = course.failure(state, given["version_failed"], given["auto_revert"])
        return _outcome(course.after(event, state, reason, now))

    def _newest(self, model: str, given: dict[str, Any]) -> State | None:
        return course.newest(model, gathered.states(model, given["answers"]))

    def _begin(self, given: dict[str, Any], task_vars: dict[str, Any], now: float) -> dict[str, Any]:
        every, model = task_vars["hostvars"], given["model"]
        hosts, gateways = (self.hosts_of(given[name], task_vars) for name in ("pattern", "gateways"))
        wished = gathered.wishes(hosts, every)
        wish = course.wish_of(model, {host: each.models for host, each in wished.items()})
        within = task_vars["ansible_play_hosts_all"]
        down = set(within) - set(task_vars["ansible_play_hosts"])
        limit = within if task_vars.get("ansible_limit") else None
        serial = every[hosts[0]].get("fleet_serial", "25%")
        fleet = gathered.fleet(model, wished, given["plans"], gateways, down, limit, serial)
        course.refuse_gateways(wish, fleet)
        state = course.opened(wish, fleet, self._newest(model, given), now)
        state = course.promoted(state, now) if given["promote"] else state
        left = course.rounds(wish, fleet, state)
        watched = [each for each in left if each.is_watched]
        gateway_settings.check(gateway_settings.of(gateways if watched else (), every))
        for each in watched:
            # Else the watch would refuse too few forks, with the first hosts loaded.
            team.members(gateways, {"canary": each.canary, "control": each.control}, context.CLIARGS["forks"])
        return {
            **_outcome(state),
            "hosts": fleet.up,
            "instances": fleet.serving,
            "gateways": gateways,
            "rounds": [each.to_json() for each in left],
            "stages_of_hosts": course.stages_of_hosts(fleet, state),
            "wish": wish.rollout,
            "text": course.announced(fleet, state, left, wish) + publication.told_of(model, every[hosts[0]]),
        }


def _outcome(state: State) -> dict[str, Any]:
    return {"state": state.to_json(), "text": course.line(state), "loading": course.loading(state)}
