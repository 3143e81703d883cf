"""Training and evaluation; `python trainer/train.py --help` is the manual."""
