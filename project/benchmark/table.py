"""Gather the rows of a corpus: `python benchmark/table.py CORPUS`."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from typer import run

    from benchmark.report import main

    run(main)
