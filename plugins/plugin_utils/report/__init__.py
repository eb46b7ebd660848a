# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What people see of a plan: as a text for the terminal and as a page for the browser.

Pure functions throughout. ``groups.read`` makes one report of all hosts; ``text`` and ``page`` lay it out.
"""
