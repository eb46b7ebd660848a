# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""One loaded version of a model: a SavedModel in a session of the classic runtime (DirectSession).

Importing this module loads the TensorFlow runtime; runtime.prepare_import() has to come first.
"""

from __future__ import annotations

import copy
import gc
import os
import time
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from tensorflow.core.protobuf import config_pb2
from tensorflow.python.client import pywrap_tf_session as wrapper
from tensorflow.python.client import session
from tensorflow.python.framework import dtypes, ops
from tensorflow.python.saved_model import loader_impl

from tfs_reference import log, metrics
from tfs_reference.status import StatusError, failed_precondition, invalid_argument, not_found, of_exception

DEFAULT_SIGNATURE = "serving_default"
# The runtime's binding walks strings by an iterator of NumPy's that has no more dimensions, and dies of others.
MAX_STRING_RANK = 32
_NO_FEED, _NO_FETCH = "FeedInputs: unable to find feed output {}", "FetchOutputs node {}: not found"


class Runner(Protocol):
    """What runs tensors: the session itself, or the batcher in front of it."""

    def run(self, feeds: dict[str, np.ndarray], fetches: list[str], timeout_ms: int) -> list[np.ndarray]: ...

    def close(self) -> None: ...


class _CountedSession(session.Session):
    """Counts the loader's runs (restoring variables, initialising): each builds a graph of its own."""

    def run(self, *arguments: Any, **options: Any) -> Any:
        metrics.SESSION_RUNS.add()
        started = time.monotonic()
        result = super().run(*arguments, **options)
        micros = int((time.monotonic() - started) * 1e6)
        metrics.graph_built(micros)
        metrics.graph_run(micros)
        return result


class _SavedModel(loader_impl.SavedModelLoader):
    """Restores as the native loader does (loader.cc, RestoreSession): what has no index has nothing to restore.

    Variables that this leaves without a value fail the requests that read them.
    """

    def load(self, sess: Any, tags: list[str], import_scope: None = None, **options: Any) -> Any:
        meta_graph = self.get_meta_graph_def_from_tags(tags)
        saver, _ = self.load_graph(sess.graph, tags)
        if meta_graph.HasField("saver_def"):
            self._restore(sess, saver)
        self.run_init_ops(sess, tags)
        return meta_graph

    def _restore(self, sess: Any, saver: Any) -> None:
        index = os.fsdecode(self.variables_path) + ".index"
        if os.path.exists(index):
            self.restore_variables(sess, saver)
        else:
            log.info(
                f"The specified SavedModel has no variables; no checkpoints were restored. File does not exist: {index}"
            )


def _as_array(result: Any) -> np.ndarray:
    """The runtime's binding answers scalars as NumPy scalars, and a scalar string as bytes."""
    if isinstance(result, (bytes, str)):
        array = np.empty((), dtype=object)
        array[()] = result
        return array
    return np.asarray(result)


class Session:
    """A session that holds one MetaGraphDef. Thread-safe; the interpreter lock is free while the graph runs.

    Of the MetaGraphDef only the signatures are kept: the graph in it would double the memory of the model's structure.
    """

    def __init__(self, path: str, tags: list[str], config: Any) -> None:
        started = time.monotonic()
        self._graph = ops.Graph()
        self._session = _CountedSession(graph=self._graph, config=config)
        self._tensors: dict[str, Any] = {}
        self._strings: set[str] = set()  # the names of those above that hold strings
        self._built: set[tuple[frozenset[str], tuple[str, ...]]] = set()
        try:
            with self._graph.as_default():
                meta_graph = _SavedModel(path).load(self._session, tags)
            # Copies, because a message inside another keeps the whole of it alive.
            self.signatures = {name: copy.copy(signature) for name, signature in meta_graph.signature_def.items()}
            self._session._extend_graph()  # now, so that no request has to take the graph's lock for it
        except BaseException as error:
            self._session.close()
            metrics.LOAD_ATTEMPT_COUNT.add(path, "fail")
            raise _load_error(error, path, tags) from error
        metrics.LOAD_ATTEMPT_COUNT.add(path, "success")
        metrics.LOAD_LATENCY.add(path, by=int((time.monotonic() - started) * 1e6))

    def run(self, feeds: dict[str, np.ndarray], fetches: list[str], timeout_ms: int = 0) -> list[np.ndarray]:
        """Run once. Goes below Session.run(), whose argument handling costs more than a small model's inference.

        timeout_ms: limit of this run; 0 or less means none. Raises StatusError.
        """
        metrics.SESSION_RUNS.add()
        metrics.GRAPH_RUN_INPUT_BYTES.observe(sum(array.nbytes for array in feeds.values()))
        started = time.monotonic()
        try:
            feed = {self._tensor(name, _NO_FEED): value for name, value in feeds.items()}
            outputs = [self._tensor(name, _NO_FETCH) for name in fetches]
            self._check_ranks(feeds, fetches)
            results = self._call(self._run_options(timeout_ms), feed, outputs)
        except Exception as error:
            raise of_exception(error) from error
        self._count(frozenset(feeds), tuple(fetches), int((time.monotonic() - started) * 1e6))
        metrics.GRAPH_RUN_OUTPUT_BYTES.observe(sum(array.nbytes for array in results))
        return results

    def _count(self, feeds: frozenset[str], fetches: tuple[str, ...], micros: int) -> None:
        """The first run of a set of feeds and fetches builds its graph; its time is mostly that."""
        if (feeds, fetches) not in self._built:
            self._built.add((feeds, fetches))
            metrics.graph_built(micros)
        metrics.graph_run(micros)

    def _call(self, options: bytes | None, feed: dict[Any, np.ndarray], outputs: list[Any]) -> list[np.ndarray]:
        buffer = wrapper.TF_NewBufferFromString(options) if options else None
        try:
            results = wrapper.TF_SessionRun_wrapper(self._session._session, buffer, feed, outputs, [], None)
        finally:
            if buffer is not None:
                wrapper.TF_DeleteBuffer(buffer)
        return [_as_array(result) for result in results]

    def _tensor(self, name: str, otherwise: str) -> Any:
        """The runtime's handle of a tensor, looked up once; raises NOT_FOUND with `otherwise` where there is none."""
        handle = self._tensors.get(name)
        if handle is None:
            try:
                tensor = self._graph.get_tensor_by_name(name)
            except (KeyError, ValueError):
                raise not_found(otherwise.format(name)) from None
            if tensor.dtype == dtypes.string:
                self._strings.add(name)
                if (tensor.shape.rank or 0) > MAX_STRING_RANK:
                    raise _too_many_dimensions()
            handle = self._tensors[name] = tensor._as_tf_output()
        return handle

    def _check_ranks(self, feeds: dict[str, np.ndarray], fetches: list[str]) -> None:
        """Results may have as many dimensions as what is fed. Raises UNIMPLEMENTED."""
        deep = any(array.ndim > MAX_STRING_RANK for array in feeds.values())
        if deep and (any(array.dtype.hasobject for array in feeds.values()) or self._strings.intersection(fetches)):
            raise _too_many_dimensions()

    @staticmethod
    def _run_options(timeout_ms: int) -> bytes | None:
        if timeout_ms <= 0:
            return None
        return config_pb2.RunOptions(timeout_in_ms=timeout_ms).SerializeToString()

    def close(self) -> None:
        """Free the model's memory now: variables live until the session object itself is gone."""
        self._session.close()
        self._session = None
        self._tensors.clear()
        self._graph = None
        # The interpreter's view of the graph is full of cycles; waiting for the collector would let memory creep up
        # from swap to swap. This takes some 10 ms, because everything that lives for ever is frozen (see server.py).
        gc.collect()


def _too_many_dimensions() -> StatusError:
    return StatusError(
        "UNIMPLEMENTED", f"the reference server cannot hold strings of more than {MAX_STRING_RANK} dimensions"
    )


def _load_error(error: BaseException, path: str, tags: list[str]) -> StatusError:
    """The Python loader's own errors have no codes: give them those of the native loader."""
    if isinstance(error, RuntimeError) and "MetaGraphDef" in str(error):
        return not_found(
            f"Could not find meta graph def matching supplied tags: {{ {' '.join(tags)} }}. To inspect available "
            "tag-sets in the SavedModel, please use the SavedModel CLI: `saved_model_cli`"
        )
    if isinstance(error, (OSError, UnicodeDecodeError)):
        for name, kind in (("saved_model.pb", "binary"), ("saved_model.pbtxt", "text")):
            if os.path.exists(os.path.join(path, name)):
                return StatusError("DATA_LOSS", f"Can't parse {path}/{name} as {kind} proto")
        return not_found(f"Could not find SavedModel .pb or .pbtxt at supplied export directory path: {path}")
    text = str(error.args[0] if error.args else error)
    if "Op type not registered" in text:
        return not_found(text)
    if isinstance(error, (KeyError, RuntimeError, TypeError, ValueError)):  # a graph that contradicts itself
        return invalid_argument(text)
    return of_exception(error)


@dataclass
class Servable:
    """A version ready to be asked: its signatures and the runner behind them."""

    name: str
    version: int
    signatures: dict[str, Any]
    runner: Runner

    def signature(self, name: str) -> tuple[str, Any]:
        """(the name, SignatureDef); an empty name means serving_default. Raises FAILED_PRECONDITION."""
        name = name or DEFAULT_SIGNATURE
        if name not in self.signatures:
            raise failed_precondition(f'Serving signature key "{name}" not found.')
        return name, self.signatures[name]

    def run(self, api: str, feeds: dict[str, np.ndarray], fetches: list[str], timeout_ms: int) -> list[np.ndarray]:
        """Run and record the time spent, waiting in the batcher included; failed runs are not recorded."""
        started = time.monotonic()
        outputs = self.runner.run(feeds, fetches, timeout_ms)
        metrics.RUNTIME_LATENCY.observe(int((time.monotonic() - started) * 1e6), self.name, api, "TF1")
        return outputs

    def close(self) -> None:
        self.runner.close()
