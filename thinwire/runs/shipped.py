"""Models that come with the package: `load("headline")`, and the word `headline` wherever a verb takes a run.

Each is a packed model (`thinwire export thinwire`) with circuits and what was judged of them, under thinwire/models/.
The package's own folder is only read: a model is copied into the cache when it is first asked for, and what is found
out about it from then on lies there.
"""

import shutil
from pathlib import Path

from thinwire.data.shards import default_cache
from thinwire.errors import UserError
from thinwire.storage.files import MANIFEST, is_sealed, sha256_file
from thinwire.storage.temporary import temporary_directory

SHIPPED = Path(__file__).parent.parent / "models"


def shipped_models() -> list[str]:
    """Names of the models that come with this version."""
    return sorted(path.parent.name for path in SHIPPED.glob(f"*/{MANIFEST}"))


def is_shipped(path: Path) -> bool:
    """Whether a path is the name of a shipped model, and nothing of that name lies in the working directory."""
    return len(path.parts) == 1 and not path.exists() and path.name in shipped_models()


def unpacked(name: str, cache: Path | None = None) -> Path:
    """Where a shipped model can be worked with: in the cache, under its name and its weights' checksum."""
    version = sha256_file(SHIPPED / name / MANIFEST)[:12]
    place = (cache or default_cache()) / "models" / version / name
    if not is_sealed(place):
        copy_shipped(name, place)
    return place


def copy_shipped(name: str, to: Path) -> None:
    """Copy a shipped model with all that lies beside it, whole or not at all.

    Raises `UserError` for a name that none has, and for a place that cannot be written.
    """
    if name not in shipped_models():
        raise UserError(f"no model {name!r} comes with this version; there are: {', '.join(shipped_models())}")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        with temporary_directory(to) as temporary:
            shutil.copytree(SHIPPED / name, temporary, dirs_exist_ok=True, copy_function=shutil.copyfile)
            temporary.replace(to)
    except OSError as error:
        if not is_sealed(to):  # another process may have been faster
            raise UserError(
                f"{to} cannot be written ({error.strerror}); set THINWIRE_CACHE to another folder"
            ) from None
