#!/usr/bin/env python3
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Write the models for measuring, two versions of each, in the layout of train.py: train_bench.py OUT_DIR."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import saving
from bench.dense import Dense
from bench.faulty import Faulty
from bench.sequence import Sequence
from bench.simulated_device import SimulatedDevice
from bench.wide_ranker import WideRanker

MODELS = {
    "dense": Dense,
    "faulty": Faulty,
    "sequence": Sequence,
    "simulated_device": SimulatedDevice,
    "wide_ranker": WideRanker,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out_dir", type=Path)
    saving.build_all(MODELS, parser.parse_args().out_dir)


if __name__ == "__main__":
    main()
