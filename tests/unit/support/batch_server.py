# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A simulated server with known truths: requests arrive, batches form, calls of a model take a + c * b.

Written apart from the queueing model of the tuner, as a list of events, so that the two can disagree.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from dataclasses import dataclass, field

from ansible_collections.tfserving.fleet.plugins.module_utils.load.histogram import Histogram
from ansible_collections.tfserving.fleet.plugins.plugin_utils.measure.series import Second
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning.bracket import Bracket, Stage
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning.service_time import Point, next_size
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning.space import Setting
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning.trial import Outcome, Trial
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning.turns import Block, Turns

ARRIVAL, FINISHED, TIMER, READ = 0, 1, 2, 3
# Of a block, and the requests that are simulated of it at most: seconds enough for an overload to show.
SECONDS = 30
MOST_IN_BLOCK = 20_000


@dataclass
class BatchServer:
    """A host with one model. Times in microseconds, rates in requests of one item a second."""

    fixed_us: float
    item_us: float
    slo_us: float
    cpus: int = 4
    noise: float = 0.05
    """Spread of the time of a call (log-normal)."""
    network_us: float = 200.0
    host_noise: float = 0.0
    """Spread of the speed of the host from trial to trial."""
    start_s: float = 10.0
    """Seconds until the server has started again."""
    besides_s: float = 8.0
    """Seconds of a stage besides its own: its warm-up, the way of its results."""
    reading_us: float = 0.0
    """What one thread takes to read each request, beside the calls, as where a device runs the model."""
    speed: dict[int, float] = field(default_factory=dict)
    """The host's speed from a trial on: drift."""

    def stage(self, setting: Setting, rate: float, count: int, seed: int, slow: float = 1.0) -> tuple[list[float], int]:
        """Send ``count`` requests; return the times of those answered, sorted, and how many were refused."""
        source = random.Random(seed)
        batches = setting.batches
        size = batches.max_batch_size if batches else 1
        timeout = float(batches.batch_timeout_micros) if batches else 0.0
        free = min(self.cpus, batches.num_batch_threads) if batches else self.cpus
        places = batches.max_enqueued_batches * size if batches else math.inf
        queue: deque[float] = deque()
        inside = refused = 0
        times: list[float] = []
        read = 0.0
        events: list[tuple[float, int, list[float]]] = []
        arrival, left = source.expovariate(rate / 1e6), count
        heapq.heappush(events, (arrival, ARRIVAL, []))
        while events:
            now, kind, batch = heapq.heappop(events)
            if kind == ARRIVAL:
                if len(queue) >= places or inside >= setting.grpc - 1:
                    refused += 1
                else:
                    inside += 1
                    read = max(read, now) + self.reading_us * slow
                    heapq.heappush(events, (read, READ, [now]))
                left -= 1
                if left:
                    heapq.heappush(events, (now + source.expovariate(rate / 1e6), ARRIVAL, []))
            elif kind == READ:
                queue += batch
                if len(queue) == 1 and timeout:
                    heapq.heappush(events, (now + timeout, TIMER, []))
            elif kind == FINISHED:
                free += 1
                inside -= len(batch)
                times += [now - each + self.network_us for each in batch]
            while free and queue and (len(queue) >= size or now >= queue[0] + timeout - 1e-6):
                taken = [queue.popleft() for _ in range(min(size, len(queue)))]
                us = (self.fixed_us + self.item_us * len(taken)) * slow * source.lognormvariate(0.0, self.noise)
                heapq.heappush(events, (now + us, FINISHED, taken))
                free -= 1
                if queue and timeout:
                    heapq.heappush(events, (max(now, queue[0] + timeout), TIMER, []))
        return sorted(times), refused

    def keeps(self, setting: Setting, rate: float, count: int = 3000, seed: int = 1, slow: float = 1.0) -> bool:
        """Return whether a stage passes: no errors, and the upper bound of p99 within the objective."""
        # A stage of several objectives, or a queue that grows without end would not be seen.
        lasting = int(min(20_000, 10 * self.slo_us * rate / 1e6))
        times, refused = self.stage(setting, rate, max(count, lasting), seed, slow)
        return not refused and times[_rank(len(times), 1.96)] <= self.slo_us

    def knee(self, setting: Setting, precision: float = 0.01, count: int = 6000, start: float = 100.0) -> float:
        """Return the true knee."""
        low, high = self._bracket(setting, start, count, 1, 1.0, precision)
        return (low + high) / 2

    def _bracket(
        self, setting: Setting, start: float, count: int, seed: int, slow: float, precision: float
    ) -> tuple[float, float]:
        low, high, rate = 0.0, math.inf, max(start, 1.0)
        while high > low * (1 + precision):
            if self.keeps(setting, rate, count, seed, slow):
                low = rate
            else:
                high = rate
            if high < 0.1:
                return 0.0, 0.1
            grown = low * (1.1 if low >= start / 2 else 2) if high == math.inf else 0
            rate = grown or (high / 1.1 if not low else (low + high) / 2)
        return low, high

    def best_of(self, settings: list[Setting]) -> tuple[Setting, float]:
        """Return the best of a grid and its knee; what does not carry the best so far needs no knee of its own."""
        first, *others = sorted(settings, key=lambda setting: -self.ceiling(setting))
        best, most = first, self.knee(first)
        for setting in others:
            if self.ceiling(setting) > most and self.keeps(setting, most * 1.02, 4000):
                best, most = setting, self.knee(setting, start=most * 1.02)
        return best, most

    def ceiling(self, setting: Setting) -> float:
        """Return what all threads carry with full batches, which no knee exceeds."""
        size = setting.batches.max_batch_size if setting.batches else 1
        threads = min(self.cpus, setting.batches.num_batch_threads) if setting.batches else self.cpus
        return threads * size / (self.fixed_us + self.item_us * size) * 1e6

    def points(self, seed: int = 3, noise: float = 0.02) -> list[Point]:
        """Return measured service times, of the sizes that the tuner asks for."""
        source, found = random.Random(seed), list[Point]()
        while (size := next_size(found, self.slo_us)) is not None:
            found.append(Point(size, (self.fixed_us + self.item_us * size) * source.lognormvariate(0, noise)))
        return found

    def measure(self, trial: Trial, run: int = 0, left_s: float = math.inf) -> Outcome:
        """Measure a trial as a run would, with noise of its own."""
        seed = 1000 * run + trial.number
        drift = next((self.speed[begun] for begun in sorted(self.speed, reverse=True) if begun <= trial.number), 1.0)
        slow = random.Random(seed).lognormvariate(0.0, self.host_noise) / drift
        count = 3000 if trial.stage_s <= 10 else 6000
        bracket, stages = Bracket(trial, self.slo_us), 0
        while (rate := bracket.next()) is not None:
            if self.start_s + (stages + 1) * (trial.stage_s + self.besides_s) > left_s:
                bracket.end("out of time")
                break
            stages += 1
            lasting = max(count, int(min(20_000, 10 * self.slo_us * rate / 1e6)))
            times, refused = self.stage(trial.setting, rate, lasting, seed, slow)
            p99, low, high = (times[_rank(len(times), deviations)] for deviations in (0, -1.96, 1.96))
            verdict = "fail" if refused or high > self.slo_us else "pass"
            close = verdict == "fail" and not refused and p99 <= self.slo_us
            bracket.tell(Stage(rate, verdict, f"p99 is {p99 / 1000:.1f} ms", p99, low, high, close))
        return bracket.outcome(self.start_s + stages * (trial.stage_s + self.besides_s))

    def turns(self, trial: Trial, planned: Setting, run: int = 0) -> Outcome:
        """Have a setting and the plan take turns, as a run would; a thirtieth of a block's requests are a second."""
        turns = Turns(trial, planned, self.slo_us, run)
        spent, in_force, number = 0.0, None, 0
        while (setting := turns.next()) is not None:
            number += 1
            seed = 1000 * run + 500 + number
            slow = random.Random(seed).lognormvariate(0.0, self.host_noise)
            seconds = turns.seconds[0]
            times, refused = self.stage(setting, turns.rate, int(min(MOST_IN_BLOCK, turns.rate * seconds)), seed, slow)
            keeps = not refused and times[_rank(len(times), 1.96)] <= self.slo_us
            turns.tell(Block("pass" if keeps else "fail", "", _seconds(times, refused, seed)))
            spent += seconds + self.besides_s + (self.start_s if setting != in_force else 0)
            in_force = setting
        return turns.outcome(spent)


def _seconds(times: list[float], refused: int, seed: int) -> list[Second]:
    """Return times in seconds; which request was in which is drawn by lot."""
    mixed = [*times, *[None] * refused]
    random.Random(seed).shuffle(mixed)
    found = []
    for t in range(SECONDS):
        part = mixed[t::SECONDS]
        histogram = Histogram()
        for us in part:
            if us is not None:
                histogram.record(round(us))
        found.append(Second(t, len(part), histogram.total, 0, histogram))
    return found


def _rank(count: int, deviations: float) -> int:
    """Return the place of p99 among sorted times, or of a bound of it."""
    return max(0, min(count - 1, math.ceil(0.99 * count + deviations * math.sqrt(0.0099 * count)) - 1))
