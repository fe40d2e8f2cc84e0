"""Lets pytest find the modules beside the tests, wherever it is started."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
