# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Applies a ModelServerConfig: checks it, moves labels, adds and removes models, and finds servables for requests."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from tfs_reference import log, process, states
from tfs_reference.manager import Handle, Loader, Manager
from tfs_reference.source import FileSystemSource
from tfs_reference.status import StatusError, failed_precondition, invalid_argument

_INITIAL_LOAD_THREADS_PER_CPU = 4
_PLATFORM = "tensorflow"


@dataclass(frozen=True)
class Options:
    """What the flags say about loading; counts and seconds."""

    poll_seconds: int
    load_threads: int
    unload_threads: int
    retries: int
    retry_seconds: float
    labels_for_unavailable: bool


class ServerCore:
    """The models of the server. `reload` is serialised; finding servables is not held up by it."""

    def __init__(self, options: Options, loader: Loader) -> None:
        self._options = options
        self.monitor = states.StateMonitor()
        self._manager = Manager(self.monitor, loader, options.retries, options.retry_seconds)
        self._source = FileSystemSource(self._manager.aspire, options.poll_seconds)
        self._lock = threading.Lock()
        self._models: list[Any] | None = None  # None until a config with a model list was given
        self._labels: dict[str, dict[str, int]] | None = None

    # -- requests ----------------------------------------------------------------------------------------------------

    def handle(self, name: str, version: int | None = None, label: str | None = None) -> Handle:
        """A handle of a servable; raises NOT_FOUND, INVALID_ARGUMENT (label), UNAVAILABLE (no label table yet)."""
        if not name:
            raise invalid_argument("ModelSpec has no name specified.")
        if label:
            version = self._version_of_label(name, label)
        return self._manager.handle(name, version)

    def handle_of_spec(self, spec: Any) -> Handle:
        """The same for a ModelSpec message."""
        version = spec.version.value if spec.HasField("version") else None
        return self.handle(spec.name, version, spec.version_label)

    def _version_of_label(self, name: str, label: str) -> int:
        labels = self._labels
        if labels is None:
            raise StatusError("UNAVAILABLE", f"Model labels does not init yet. Check model: {name}")
        if label not in labels.get(name, {}):
            raise invalid_argument(f"Unrecognized servable version label: {label}")
        return labels[name][label]

    # -- configuration -----------------------------------------------------------------------------------------------

    def reload(self, config: Any) -> None:
        """Replace the model list and wait until every new model has a version to serve (or failed to get one).

        Raises StatusError. Errors of the list and of labels come before anything is loaded or unloaded; an error of a
        load comes when the new list is already in force.
        """
        with self._lock:
            kind = config.WhichOneof("config")
            if kind is None and self._models is None:
                log.info("Taking no action for empty config.")
                return
            if kind == "custom_model_config":
                log.fatal("ModelServer does not yet support custom model config.")
            if kind is None:
                raise failed_precondition(
                    "Cannot transition to requested config. It is only legal to transition from one ModelConfigList "
                    "to another."
                )
            self._apply(list(config.model_config_list.config))

    def _apply(self, models: list[Any]) -> None:
        _validate(models)
        first = self._models is None
        known = {model.name for model in self._models or ()}
        # The list counts as the current one even when the labels are refused next: upstream stores it before it checks.
        self._models = models
        self._labels = self._checked_labels(models)
        log.info("Adding/updating models.")
        for model in models:
            log.info(f" (Re-)adding model: {model.name}")
        since = self.monitor.sequence()
        self._source.set_models(models)
        if first:
            self._load_first([model.name for model in models])
        else:
            self._wait([model.name for model in models if model.name not in known], since)
        _refuse_request_logging(models)

    def _load_first(self, names: list[str]) -> None:
        self._manager.use_threads(_INITIAL_LOAD_THREADS_PER_CPU * process.schedulable_cpus(), 0)
        self._source.start()
        self._wait(names, 0)
        self._manager.use_threads(self._options.load_threads, self._options.unload_threads)

    def _wait(self, names: list[str], since: int) -> None:
        failures = self.monitor.wait_until_available(names, since)
        if failures:
            details = "".join(
                f"{{{{name: {name} version: {version}}} due to error: {error}}}, "
                for (name, version), error in failures.items()
            )
            raise StatusError("UNKNOWN", f"{len(failures)} model(s) did not become available: {{{details}}}")

    def _checked_labels(self, models: list[Any]) -> dict[str, dict[str, int]]:
        """The new label table; raises FAILED_PRECONDITION for a label on a version that is not available."""
        table: dict[str, dict[str, int]] = {}
        for model in models:
            for label, version in model.version_labels.items():
                bound = (self._labels or {}).get(model.name, {}).get(label, version)
                may_wait = self._options.labels_for_unavailable and bound == version
                if not may_wait and not self.monitor.is_available(model.name, version):
                    raise failed_precondition(
                        f"Request to assign label to version {version} of model {model.name}, which is not currently "
                        f"available for inference"
                    )
                table.setdefault(model.name, {})[label] = version
        return table


def _validate(models: list[Any]) -> None:
    seen = set()
    for model in models:
        if model.name in seen:
            raise invalid_argument(f"Illegal to list model {model.name} multiple times in config list")
        seen.add(model.name)
        _validate_base_path(model)
        _validate_platform(model)


def _validate_base_path(model: Any) -> None:
    if not model.base_path.startswith("/") and "://" not in model.base_path:
        raise invalid_argument(
            f"Expected model {model.name} to have an absolute path or URI; got base_path()={model.base_path}"
        )


def _validate_platform(model: Any) -> None:
    tensorflow_type = type(model).DESCRIPTOR.fields_by_name["model_type"].enum_type.values_by_name["TENSORFLOW"].number
    if model.model_type:
        log.warning("Deprecated ModelServerConfig::model_type field used. Prefer ModelServerConfig::model_platform.")
    if model.model_type and model.model_platform:
        raise _illegal("both", "and", model)
    if not model.model_type and not model.model_platform:
        raise _illegal("neither", "nor", model)
    if model.model_type not in (0, tensorflow_type):
        raise invalid_argument(f"ModelServerConfig::model_type choice {model.model_type} not supported.")
    if model.model_platform not in ("", _PLATFORM):
        raise invalid_argument(f"Model {model.name} requests unsupported platform {model.model_platform}")


def _illegal(either: str, word: str, model: Any) -> StatusError:
    return invalid_argument(
        f"Illegal setting {either} ModelServerConfig::model_type (deprecated) {word} "
        f"ModelServerConfig::model_platform, model name is {model.name}"
    )


def _refuse_request_logging(models: list[Any]) -> None:
    """The stock binary has no log collector, and says so only after the models are loaded."""
    if any(model.HasField("logging_config") for model in models):
        raise failed_precondition("Request logging is configured, but no request logger is registered")
