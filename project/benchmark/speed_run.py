"""Measure what linking adds to a pipeline: `python benchmark/speed_run.py --help`."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from benchmark.speed.cli import app

    app()
