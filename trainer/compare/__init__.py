"""Inversion methods that the tables compare with: ReStyle, HFGI, HyperStyle."""
