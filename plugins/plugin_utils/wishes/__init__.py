# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The language of the inventory: every wish is checked and normalised here."""
