"""The names of `prover.files`, where they were before."""

from prover.files import file_digest, sync_folder, write_atomic, write_json_atomic

__all__ = ["file_digest", "sync_folder", "write_atomic", "write_json_atomic"]
