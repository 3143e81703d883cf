"""The demo's first sheet: the packaged photographs of people, edited at their own size by a generator of 128 pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from PIL import Image

DOMAIN = "faces"
EDITS = (("smile", 2.5), ("yaw", 1.2), ("yaw", -1.2))  # standard deviations
COLUMNS = ("photograph", "inversion", "edited inversion: smile", "result: smile +2.5", "result: yaw +1.2",
           "result: yaw -1.2")


def photographs_sheet(device: str | torch.device = "cpu", cell: int = 256) -> Image.Image | None:
    """One row for each example photograph of the packaged faces; None in a copy without them."""
    from ..domains import load_domain, packaged_domains
    from ..pipeline import edit
    from ..sheets import contact_sheet

    if DOMAIN not in packaged_domains():
        return None
    domain, rows = load_domain(DOMAIN, device), []
    for path in domain.examples:
        inverted = edit(str(path), domain=domain)
        results = [edit(inverted, {name: amount}, domain=domain) for name, amount in EDITS]
        rows.append([inverted.image[0], inverted.inversion[0], results[0].edited[0],
                     *(result.rectified[0] for result in results)])
    return contact_sheet(rows, COLUMNS, title="Photographs of people, edited by a generator of 128 pixels", cell=cell)
