"""The example in a document, run as a reader would run it."""

import re
import subprocess
import sys
from pathlib import Path

BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def run_example(document: Path, folder: Path) -> None:
    """Runs the only Python program of a document in a folder."""
    (example,) = BLOCK.findall(document.read_text())
    subprocess.run([sys.executable, "-c", example], cwd=folder, check=True)
