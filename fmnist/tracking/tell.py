"""The process that tells MLflow of one result: `python -m fmnist.tracking.tell STORAGE FOLDER`.

FOLDER is that of a published result, or `registry/TASK` for the task's champion. The last line that
it prints says what went wrong.
"""

import re
import sys

from fmnist.storage.open import open_storage

LONGEST = 300  # characters of the line
USER_INFO = re.compile(r"//[^/\s]*@")


def main(uri: str, folder: str) -> None:
    """Tells one result; ends the process with exit code 1 and one line if that fails."""
    try:
        from fmnist.tracking.mlflow_store import MlflowStore  # here: its import may fail as well

        store = MlflowStore(open_storage(uri, writable=False))
        room, _, name = folder.partition("/")
        if room == "registry":
            store.tell_champion(name)
        else:
            store.tell(folder)
    except Exception as error:
        print(describe(error))
        sys.exit(1)


def describe(error: Exception) -> str:
    """Returns the error in one line, without what an address has of a user and a password."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    text = USER_INFO.sub("//", text)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 2]} …"


if __name__ == "__main__":
    main(*sys.argv[1:])
