"""Let the tests of this folder import its other files, as `tests.otp.adapter` and so on."""

import sys
from pathlib import Path

ROOT = str(Path(__file__).resolve().parents[2])
if ROOT not in sys.path:
    sys.path.append(ROOT)
