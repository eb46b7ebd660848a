# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The server-side batcher: requests of one signature are joined into bigger runs by a pool of shared threads."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfs_reference import log, metrics, process, tensors
from tfs_reference.servable import Runner
from tfs_reference.status import StatusError, failed_precondition, invalid_argument, of_exception

DEFAULT_MAX_BATCH_SIZE = 1000
DEFAULT_MAX_ENQUEUED_BATCHES = 10


@dataclass(frozen=True)
class Options:
    """BatchingParameters with the defaults filled in; sizes in rows, the timeout in seconds."""

    max_batch_size: int
    execution_batch_size: int
    timeout: float
    max_enqueued_batches: int
    allowed_batch_sizes: tuple[int, ...]
    pad_variable_length_inputs: bool
    splitting: bool

    @classmethod
    def of(cls, parameters: Any) -> Options:
        """Raises INVALID_ARGUMENT for what upstream refuses when a model is loaded."""
        max_batch_size = _wrapped(parameters, "max_batch_size", DEFAULT_MAX_BATCH_SIZE)
        splitting = _wrapped(parameters, "enable_large_batch_splitting", False)
        execution = max_batch_size
        if splitting:  # upstream falls back to the field max_batch_size itself, which reads 0 when unset
            unset = _wrapped(parameters, "max_batch_size", 0)
            execution = _wrapped(parameters, "max_execution_batch_size", unset)
        options = cls(
            max_batch_size=max_batch_size,
            execution_batch_size=execution,
            timeout=_wrapped(parameters, "batch_timeout_micros", 0) / 1e6,
            max_enqueued_batches=_wrapped(parameters, "max_enqueued_batches", DEFAULT_MAX_ENQUEUED_BATCHES),
            allowed_batch_sizes=tuple(parameters.allowed_batch_sizes),
            pad_variable_length_inputs=parameters.pad_variable_length_inputs,
            splitting=splitting,
        )
        options._check()
        return options

    def _check(self) -> None:
        if self.max_batch_size <= 0:
            raise invalid_argument(f"max_batch_size must be positive; was {self.max_batch_size}")
        if self.timeout < 0:
            raise invalid_argument(f"batch_timeout_micros must be non-negative; was {self.timeout * 1e6:.0f}")
        if self.max_enqueued_batches < 0 or (self.splitting and not self.max_enqueued_batches):
            raise invalid_argument(f"max_enqueued_batches must be non-negative; was {self.max_enqueued_batches}")
        if not 0 < self.execution_batch_size <= self.max_batch_size:
            raise invalid_argument(
                f"max_execution_batch_size must be positive and no more than max_batch_size ({self.max_batch_size}); "
                f"was {self.execution_batch_size}"
            )
        check_allowed_batch_sizes(self.allowed_batch_sizes, self.max_batch_size)

    def padded_size(self, rows: int) -> int:
        """The first allowed size that fits (upstream does not sort the list either)."""
        return next((size for size in self.allowed_batch_sizes if size >= rows), rows)


def check_allowed_batch_sizes(sizes: tuple[int, ...], max_batch_size: int) -> None:
    if sizes and sizes[-1] != max_batch_size:
        raise invalid_argument(
            f"Last entry in allowed_batch_sizes must match max_batch_size; last entry was {sizes[-1]}; "
            f"expected {max_batch_size}"
        )


def _wrapped(parameters: Any, name: str, default: Any) -> Any:
    return getattr(parameters, name).value if parameters.HasField(name) else default


class Task:
    """One request on its way through the batcher, possibly in several pieces."""

    def __init__(self, feeds: dict[str, np.ndarray], rows: int, timeout_ms: int) -> None:
        self.feeds = feeds
        self.rows = rows
        self.enqueued = time.monotonic()
        self.deadline = self.enqueued + timeout_ms / 1000 if timeout_ms > 0 else float("inf")
        self.outputs: dict[int, list[np.ndarray]] = {}  # by first row of the piece
        self.error: StatusError | None = None
        self._missing = rows
        self._lock = threading.Lock()
        self._done = threading.Event()

    def finish_piece(self, piece: Piece, outputs: list[np.ndarray] | None, error: StatusError | None) -> None:
        with self._lock:
            self._missing -= piece.rows
            self.error = self.error or error
            if outputs is not None:
                self.outputs[piece.start] = outputs
            if self._missing <= 0:
                self._done.set()

    def result(self) -> list[np.ndarray]:
        """Wait for all pieces; raises what the batch raised."""
        self._done.wait()
        if self.error:
            raise self.error
        pieces = [self.outputs[start] for start in sorted(self.outputs)]
        return pieces[0] if len(pieces) == 1 else [np.concatenate(parts) for parts in zip(*pieces)]


@dataclass(frozen=True)
class Piece:
    """Rows [start, stop) of a task."""

    task: Task
    start: int
    stop: int

    @property
    def rows(self) -> int:
        return self.stop - self.start


class Batch:
    """Pieces that will run together."""

    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        self.rows = 0
        self.opened = 0.0

    def add(self, piece: Piece) -> None:
        if not self.pieces:
            self.opened = time.monotonic()
        self.pieces.append(piece)
        self.rows += piece.rows


class Queue:
    """The batches of one signature that wait for a thread; the last one is open for more. Guarded by the scheduler."""

    def __init__(self, options: Options, process_batch: Any) -> None:
        self._options = options
        self.process_batch = process_batch
        self._batches: deque[Batch] = deque([Batch()])

    def add(self, task: Task) -> None:
        """Raises INVALID_ARGUMENT (too large) and UNAVAILABLE (queue full)."""
        options = self._options
        if task.rows > options.max_batch_size:
            raise invalid_argument(
                f"Task size {task.rows} is larger than maximum input batch size {options.max_batch_size}"
            )
        pieces = self._pieces(task)
        opened = len(pieces) - (1 if self._fits(pieces[0]) else 0)
        if opened and len(self._batches) + opened - 1 >= max(1, options.max_enqueued_batches):
            raise StatusError(
                "UNAVAILABLE",
                "The batch scheduling queue to which this task was submitted is full; currently "
                f"{len(self._batches)} batches enqueued and max_enqueued_batches is {options.max_enqueued_batches}",
            )
        for piece in pieces:
            if not self._fits(piece):
                self._batches.append(Batch())
            self._batches[-1].add(piece)

    def _fits(self, piece: Piece) -> bool:
        return self._batches[-1].rows + piece.rows <= self._options.execution_batch_size

    def _pieces(self, task: Task) -> list[Piece]:
        if not self._options.splitting:
            return [Piece(task, 0, task.rows)]
        size = self._options.execution_batch_size
        room = size - self._batches[-1].rows
        cuts = [0, *range(room or size, task.rows, size), task.rows]
        return [Piece(task, start, stop) for start, stop in zip(cuts, cuts[1:])]

    def take(self, now: float) -> Batch | None:
        """The oldest batch that may run: a closed one, a full one, or one whose time to wait is over."""
        if self.seconds_until_ready(now) > 0:
            return None
        batch = self._batches.popleft()
        if not self._batches:
            self._batches.append(Batch())
        return batch

    def seconds_until_ready(self, now: float) -> float:
        first = self._batches[0]
        if len(self._batches) > 1 or first.rows >= self._options.execution_batch_size:
            return 0.0
        return first.opened + self._options.timeout - now if first.pieces else float("inf")


class Scheduler:
    """The batch threads, shared by all queues of all models in turn."""

    def __init__(self, threads: int, name: str) -> None:
        if threads < 1:
            raise invalid_argument(f"num_batch_threads must be positive; was {threads}")
        self._changed = threading.Condition()
        self._queues: list[Queue] = []
        self._turn = 0
        for _ in range(threads):
            process.start_thread(self._work, name)

    @classmethod
    def of(cls, parameters: Any) -> Scheduler:
        threads = _wrapped(parameters, "num_batch_threads", process.schedulable_cpus())
        return cls(threads, _wrapped(parameters, "thread_pool_name", "batch_threads"))

    def add_queue(self, queue: Queue) -> None:
        with self._changed:
            self._queues.append(queue)

    def remove_queue(self, queue: Queue) -> None:
        with self._changed:
            self._queues.remove(queue)

    def schedule(self, queue: Queue, task: Task) -> None:
        with self._changed:
            queue.add(task)
            self._changed.notify()

    def _work(self) -> None:
        while True:
            queue, batch = self._next()
            queue.process_batch(batch)

    def _next(self) -> tuple[Queue, Batch]:
        with self._changed:
            while True:
                now = time.monotonic()
                for offset in range(len(self._queues)):
                    queue = self._queues[(self._turn + offset) % len(self._queues)]
                    batch = queue.take(now)
                    if batch:
                        self._turn = (self._turn + offset + 1) % len(self._queues)
                        return queue, batch
                waits = [queue.seconds_until_ready(now) for queue in self._queues]
                soonest = min(waits, default=float("inf"))
                self._changed.wait(None if soonest == float("inf") else soonest)


class BatchingSession:
    """A runner that puts requests of the declared signatures through the scheduler, and runs others directly."""

    def __init__(self, session: Runner, signatures: dict[str, Any], options: Options, scheduler: Scheduler) -> None:
        self._session = session
        self._options = options
        self._scheduler = scheduler
        self._bypassed = False
        self._queues: dict[tuple[frozenset[str], frozenset[str]], Queue] = {}
        for signature in signatures.values():
            inputs = frozenset(info.name for info in signature.inputs.values())
            fetches = tuple(sorted(info.name for info in signature.outputs.values()))
            key = inputs, frozenset(fetches)
            if key not in self._queues:
                # The lambda binds the fetches of its own signature.
                queue = Queue(options, lambda batch, fetches=fetches: self._process(batch, list(fetches)))
                self._queues[key] = queue
                scheduler.add_queue(queue)

    def run(self, feeds: dict[str, np.ndarray], fetches: list[str], timeout_ms: int = 0) -> list[np.ndarray]:
        queue = self._queues.get((frozenset(feeds), frozenset(fetches)))
        if queue is None:
            if not self._bypassed:
                self._bypassed = True
                log.warning("Request doesn't match any declared signature. Bypassing batcher.")
            return self._session.run(feeds, fetches, timeout_ms)
        task = Task(feeds, _rows(feeds), timeout_ms)
        self._scheduler.schedule(queue, task)
        by_name = dict(zip(sorted(set(fetches)), task.result()))
        return [by_name[name] for name in fetches]

    def close(self) -> None:
        for queue in self._queues.values():
            self._scheduler.remove_queue(queue)
        self._session.close()

    def _process(self, batch: Batch, fetches: list[str]) -> None:
        now = time.monotonic()
        for piece in batch.pieces:
            # Upstream's server path leaves the label empty, whatever the pool's name.
            metrics.QUEUING_LATENCY.observe(int((now - piece.task.enqueued) * 1e6), "")
        try:
            outputs = self._run(batch, fetches, now)
        except Exception as error:
            status = of_exception(error)
            for piece in batch.pieces:
                piece.task.finish_piece(piece, None, status)
            return
        row = 0
        for piece in batch.pieces:
            piece.task.finish_piece(piece, [array[row : row + piece.rows] for array in outputs], None)
            row += piece.rows

    def _run(self, batch: Batch, fetches: list[str], now: float) -> list[np.ndarray]:
        deadline = max(piece.task.deadline for piece in batch.pieces)
        if deadline <= now:
            raise StatusError("RESOURCE_EXHAUSTED", "Run() timeout exceeded while waiting in batching queue")
        rows = self._options.padded_size(batch.rows)
        metrics.processed_batch(rows, rows - batch.rows)
        feeds = self._merge(batch, rows - batch.rows)
        timeout_ms = 0 if deadline == float("inf") else max(1, int((deadline - now) * 1000))
        metrics.WRAPPED_RUN_COUNT.add()
        outputs = self._session.run(feeds, fetches, timeout_ms)
        for array in outputs:
            if not array.shape:
                raise failed_precondition("Batched output tensor has 0 dimensions")
            if array.shape[0] != rows:
                raise failed_precondition(
                    "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension sizes of the "
                    "input tensors"
                )
        return outputs

    def _merge(self, batch: Batch, padding: int) -> dict[str, np.ndarray]:
        merged = {}
        for name in batch.pieces[0].task.feeds:
            arrays = [piece.task.feeds[name][piece.start : piece.stop] for piece in batch.pieces]
            if len(arrays) > 1:
                arrays = self._same_shapes(name, arrays)
                _check_types(arrays)
            if padding:  # repeat a row that is known to be valid
                _check_fill(padding * arrays[-1][:1].nbytes)
                arrays = [*arrays, np.repeat(arrays[-1][:1], padding, axis=0)]
            merged[name] = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
        return merged

    def _same_shapes(self, name: str, arrays: list[np.ndarray]) -> list[np.ndarray]:
        if len({array.shape[1:] for array in arrays}) == 1:
            return arrays
        if not self._options.pad_variable_length_inputs or len({array.ndim for array in arrays}) > 1:
            raise failed_precondition(
                f"Tensors with name '{name}' from different tasks have different shapes and padding is turned off. "
                "Set pad_variable_length_inputs to true, or ensure that all tensors with the same name "
                "have equal dimensions starting with the first dim."
            )
        widest = [max(sizes) for sizes in zip(*(array.shape[1:] for array in arrays))]
        rows = sum(len(array) for array in arrays)
        _check_fill(rows * math.prod(widest) * arrays[0].itemsize - sum(array.nbytes for array in arrays))
        return [_padded(array, widest) for array in arrays]


def _check_types(arrays: list[np.ndarray]) -> None:
    """NumPy would find a type that holds all; raises INVALID_ARGUMENT as upstream's tensor::Concat."""
    first = arrays[0]
    other = next((array for array in arrays if array.dtype != first.dtype), first)
    if other is not first:
        names = [tensors.type_name(tensors.type_of(array)) for array in (first, other)]
        raise invalid_argument(
            f"Cannot concatenate tensors that have different data types. Got {names[0]} and {names[1]}."
        )


def _check_fill(added: int) -> None:
    """An empty tensor may name any width, and others would be padded to it."""
    if added > tensors.MAX_FILL_BYTES:
        raise StatusError("RESOURCE_EXHAUSTED", f"the reference server pads by {tensors.MAX_FILL_BYTES} bytes at most")


def _padded(array: np.ndarray, widest: list[int]) -> np.ndarray:
    missing = [(0, 0)] + [(0, int(wide - size)) for wide, size in zip(widest, array.shape[1:])]
    filler = b"" if array.dtype == object else 0
    return np.pad(array, missing, constant_values=filler)


def _rows(feeds: dict[str, np.ndarray]) -> int:
    """The common first dimension of all inputs; raises INVALID_ARGUMENT."""
    inputs: dict[int, int] = {}  # how many there are, by their rows
    try:
        for array in feeds.values():
            if not array.shape:
                raise invalid_argument("Batching Run() input tensors must have at least one dimension.")
            inputs[array.shape[0]] = inputs.get(array.shape[0], 0) + 1
    finally:
        for rows, count in inputs.items():  # at once, because each counting takes a lock
            metrics.input_batch_size(rows, count)
    if len(inputs) != 1:
        raise invalid_argument("Batching Run() input tensors must have equal 0th-dimension size.")
    return next(iter(inputs))
