# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Where models come from: one file for each type of source, and the table of them."""
