"""The experiments behind the tables; `python trainer/evaluate.py --help` runs them."""
