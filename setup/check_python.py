"""Report in one line what this Python lacks, before anything is installed; runs on any Python 3."""

import sys

if not (3, 11) <= sys.version_info[:2] <= (3, 13):
    # No f-string: it would be a syntax error on the versions that are refused here.
    message = "error: {} is Python {}.{}; 3.11, 3.12 or 3.13 is needed: make run PYTHON=python3.12"
    sys.exit(message.format(sys.executable, *sys.version_info[:2]))
try:
    import ensurepip  # noqa: F401
    import venv  # noqa: F401
except ImportError:
    message = "error: {} has no venv module: install it (Debian and Ubuntu: apt install python3-venv)"
    sys.exit(message.format(sys.executable))
