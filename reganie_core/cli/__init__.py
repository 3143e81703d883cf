"""``python -m reganie_core ...``: one file per command, each with ``add_arguments`` and ``run(args) -> int``."""
