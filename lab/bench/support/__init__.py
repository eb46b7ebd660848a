# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks share; every program beside this folder is a benchmark of its own."""
