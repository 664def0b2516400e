"""Writes ``docs/contracts``."""

from tools.contracts import FOLDER, documents


def main() -> None:
    for name, content in documents().items():
        path = FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


if __name__ == "__main__":
    main()
