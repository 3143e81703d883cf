"""What is this file, and how is it read safely?

No code of a file is ever imported or executed here: neither ``torch.load`` nor ``pickle.load`` sees a user's file.
"""

from __future__ import annotations

from .ours import Checkpoint, fingerprint, read_checkpoint, save_checkpoint

__all__ = ["Checkpoint", "fingerprint", "read_checkpoint", "save_checkpoint"]
