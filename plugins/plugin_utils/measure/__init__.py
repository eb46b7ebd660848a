# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Statistics of measurements: percentiles and their support, comparisons, the search for the knee."""
