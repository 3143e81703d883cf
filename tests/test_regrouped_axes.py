"""Axes regrouped by name (einops) give, bit for bit, what views and permutations of plain torch give."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from reganie_core.faces import yunet
from reganie_core.networks.discriminator import minibatch_std
from reganie_core.networks.hyperstyle import SharedHypernetwork
from reganie_core.networks.text_image import TextBlock
from reganie_core.portraits.render import SUPERSAMPLING, _pool
from trainer import distributed
from trainer.sheets import compared


def draw(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("batch", "group", "channels"), [(8, 4, 1), (6, 4, 2), (1, 4, 1)])
def test_minibatch_standard_deviation(batch: int, group: int, channels: int, layout: torch.memory_format) -> None:
    x = draw(batch, 12, 4, 5).to(memory_format=layout).requires_grad_(True)
    found = minibatch_std(x, group, channels)
    group = {8: 4, 6: 3, 1: 1}[batch]
    y = x.reshape(group, batch // group, channels, 12 // channels, 4, 5)
    y = (y - y.mean(dim=0)).square().mean(dim=0).add(1e-8).sqrt().mean(dim=(2, 3, 4))
    wanted = torch.cat([x, y.repeat(group, 1)[:, :, None, None].expand(-1, -1, 4, 5)], dim=1)
    assert torch.equal(found, wanted) and found.stride() == wanted.stride()
    weight = draw(*found.shape)
    assert torch.equal(*(torch.autograd.grad((y * weight).sum(), x)[0] for y in (found, wanted)))


def test_attention_over_words() -> None:
    torch.manual_seed(0)
    block, x, mask = TextBlock(24, 3), draw(2, 5, 24), torch.ones(2, 1, 1, 5, dtype=torch.bool)
    q, k, v = block.qkv(block.norm1(x)).view(2, 5, 3, 3, 8).permute(2, 0, 3, 1, 4)
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    y = x + block.out(mixed.transpose(1, 2).reshape(2, 5, 24))
    assert torch.equal(block(x, mask), y + block.down(F.gelu(block.up(block.norm2(y)))))


def test_a_kernel_from_the_shared_hypernetwork() -> None:
    torch.manual_seed(0)
    network, code = SharedHypernetwork(4, 6), draw(3, 6)
    rows = (code @ network.w2 + network.b2).view(-1, 4, 6)
    assert torch.equal(network(code), (rows @ network.w1 + network.b1).view(-1, 4, 4, 3, 3))


def test_samples_averaged_to_pixels() -> None:
    s = SUPERSAMPLING
    x = draw(2, 3, 5 * s, 7 * s)
    assert torch.equal(_pool(x), x.view(2, 3, 5, s, 7, s).mean((3, 5)))


def test_anchors_and_points_of_the_face_detector() -> None:
    anchors, place = yunet._anchors((64, 96)), 0
    for level, sides in enumerate(yunet.ANCHORS):
        cell = 8 << level
        for row in range(64 // cell):
            for column in range(96 // cell):
                for side in sides:
                    assert anchors[place].tolist() == [(column + 0.5) * cell, (row + 0.5) * cell, side, side]
                    place += 1
    assert place == len(anchors)
    loc, some = draw(place, 14), torch.rand(place, 2)
    points = yunet.decode(loc, some, some[:, :1], (64, 96))[:, 4:14].view(-1, 5, 2)
    wanted = anchors[:, None, :2] + loc[:, 4:].view(-1, 5, 2) * yunet.VARIANCES[0] * anchors[:, None, 2:]
    assert torch.equal(points, wanted)


def test_rows_dealt_out_in_whole_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "world", lambda: 2)
    found = []
    for process in (0, 1):
        monkeypatch.setattr(distributed, "rank", lambda process=process: process)
        found += [part.tolist() for part in distributed.shares(24, 3, 2)]
    table = torch.arange(24).reshape(3, 4, 2)
    assert found == [table[:, part].flatten().tolist() for part in range(4)]


def test_pictures_side_by_side() -> None:
    a, b = draw(3, 3, 2, 2), draw(4, 3, 2, 2)[:3]
    assert torch.equal(compared([a, b]), torch.stack([a[0], b[0], a[1], b[1], a[2], b[2]]))
