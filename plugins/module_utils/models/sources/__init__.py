# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Sources of models: one file for each type, and the table of them."""
