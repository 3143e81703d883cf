"""Where training pictures come from: folders, zip files, tar shards, rendered sets."""
