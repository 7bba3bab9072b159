"""Measure one linker: `python benchmark/run.py ROW CORPUS --kb KB --train FILE --dev FILE`."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from benchmark.cli import app

    app()
