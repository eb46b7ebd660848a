# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Files, directories and archives on disk, read and written without trusting their content."""
