"""Turn off one part of this project's linker after the other: `python benchmark/ablate.py CORPUS`."""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from typer import run

    from benchmark.ablation import main

    run(main)
