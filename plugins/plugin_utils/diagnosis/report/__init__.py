# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A diagnosis for those who read it: a terminal, a browser."""
