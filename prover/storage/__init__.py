"""Storage that is not a disk: object stores that fsspec can reach (`s3://`, `gs://`, `memory://`).

The code that searches and trains works on plain files. Here a folder on this machine stands for one on a store: it is
fetched before work, with every digest checked, and published after it, files first and a commit file last.
"""

from prover.storage.copies import local_copy, on_disk
from prover.storage.data import data_folder, data_root
from prover.storage.outputs import published
from prover.storage.places import is_url
from prover.storage.store import StorageError

__all__ = ["StorageError", "data_folder", "data_root", "is_url", "local_copy", "on_disk", "published"]
