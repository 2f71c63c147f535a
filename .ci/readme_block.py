"""Print the N-th ```sh block of a Markdown file: `readme_block.py README.md 1`."""

import re
import sys
from pathlib import Path


def blocks(text: str) -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


if __name__ == "__main__":
    found = blocks(Path(sys.argv[1]).read_text(encoding="utf-8"))
    sys.stdout.write(found[int(sys.argv[2]) - 1])
