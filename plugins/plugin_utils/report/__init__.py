# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Reports of plans: text for the terminal, a page for the browser, Markdown and data for pipelines.

Pure functions throughout. ``groups.read`` makes one report of all hosts, ``text``, ``page`` and ``markdown`` format it.
"""
