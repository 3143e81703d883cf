"""What only a renderer can do: networks that learn from exact attributes, and exact targets for edits."""
