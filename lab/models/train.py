#!/usr/bin/env python3
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Train the lab's two small models and export two versions of each.

    train.py OUT_DIR

writes, per model:

    OUT_DIR/MODEL/VERSION/            a SavedModel, as the server wants it
    OUT_DIR/MODEL/known_answers.json  a request (row form) and what every version answers to it
    OUT_DIR/MODEL-VERSION.tar.gz      the same version, its files at the top level of the archive
    OUT_DIR/checksums.json            SHA-256 of every archive, by its name

Nothing is downloaded: the data are synthetic and the seeds fixed, so two runs on one machine give the same answers.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import saving
from digits import Digits
from ranker import Ranker

MODELS = {"digits": Digits, "ranker": Ranker}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out_dir", type=Path)
    saving.build_all(MODELS, parser.parse_args().out_dir, warmed_up=("digits",))


if __name__ == "__main__":
    main()
