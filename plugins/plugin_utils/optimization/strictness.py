# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""How far the answers of a candidate may lie from the original's, by what a treatment does to the arithmetic.

Distances are measured by the spread of a value over the recorded requests, its standard deviation: an absolute error
says nothing of outputs that are all tiny, and a relative one nothing of values around zero, or of small differences on
top of a large constant.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Strictness:
    """What is allowed. All but ``relative`` are in spreads of a value over the requests.

    Where ``each`` is given, no value may be further away; else ``root_mean_square``, ``bias`` and ``slope`` hold on
    average, by their upper bounds, and a row of which a value is further away than ``outlier`` counts as lost.
    """

    each: float | None
    relative: float
    root_mean_square: float = 0.0
    bias: float = 0.0
    slope: float = 0.0
    outlier: float = 0.0
    needs_requests: bool = True


# The same operations on the same numbers, with constants folded. Measured: 5e-7 at a spread of 0.1, which is 5e-6 of
# it; twenty times that is the rounding of deeper models.
EXACT = Strictness(each=1e-4, relative=1e-5, needs_requests=False)
# The same arithmetic in another order, as of fused kernels: float32 has 24 bits, sums of some thousand terms lose ten.
ROUNDED = Strictness(each=1e-3, relative=1e-4)
# Fewer bits on purpose. A root mean square of a tenth of the spread leaves 99 % of what the values tell (1 - 0.1 ** 2),
# and a shift or a scale that all answers share is what callers with thresholds notice first, hence half of that.
# Dynamic int8 weights were off by a tenth of the spread at the worst value, and by some hundredths on average.
LOSSY = Strictness(each=None, relative=1e-3, root_mean_square=0.1, bias=0.05, slope=0.05, outlier=0.5)

OF_KIND = {
    "freeze": EXACT,
    "xla": ROUNDED,
    "tflite_float": ROUNDED,
    "tflite_int8": LOSSY,
    "mixed_precision": LOSSY,
    "tf_trt": LOSSY,
}
