"""One architecture a file: what does each network compute?"""
