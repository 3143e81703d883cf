"""Contact sheets."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from reganie_core.errors import InputError
from reganie_core.sheets import BACKGROUND, EMPTY, contact_sheet, difference_picture


def test_pictures_sit_where_they_belong():
    red = torch.tensor([1.0, -1.0, -1.0])[:, None, None].expand(3, 16, 16)
    blue = torch.tensor([-1.0, -1.0, 1.0])[:, None, None].expand(3, 64, 32)
    sheet = np.asarray(contact_sheet([[red, None], [blue, red]], cell=40, gap=10))
    assert sheet.shape == (2 * 40 + 10 + 40, 2 * 40 + 10 + 40, 3)
    assert tuple(sheet[40, 40]) == (255, 0, 0) and tuple(sheet[40, 90]) == EMPTY
    assert tuple(sheet[90, 40]) == (0, 0, 255) and tuple(sheet[90, 22]) == BACKGROUND  # kept its aspect, centred
    assert tuple(sheet[90, 90]) == (255, 0, 0) and tuple(sheet[2, 2]) == BACKGROUND


def test_texts_need_room_and_long_ones_are_wrapped():
    cell = torch.zeros(3, 8, 8)
    plain = contact_sheet([[cell]], cell=100)
    text = contact_sheet([[cell]], ["a rather long heading that does not fit"], ["a row"], "Title", cell=100)
    assert text.height > plain.height + 40 and text.width > plain.width
    contact_sheet([[cell]], ["x" * 500, ], ["\n<b>"], cell=32)


def test_nearest_keeps_pixels():
    board = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).expand(3, 2, 2)
    sheet = np.asarray(contact_sheet([[board]], cell=40, smooth=False))
    assert set(np.unique(sheet[16:56, 16:56])) == {0, 255}


def test_refusals():
    cell = torch.zeros(3, 8, 8)
    for arguments in ([[]], [[], []]):
        with pytest.raises(InputError):
            contact_sheet(arguments)
    with pytest.raises(InputError, match="labels"):
        contact_sheet([[cell]], ["a", "b"])
    with pytest.raises(InputError, match="pixels"):
        contact_sheet([[cell] * 50] * 50, cell=1000)


def test_no_difference_is_grey():
    assert torch.equal(difference_picture(torch.tensor([-2.0, 0.0, 2.0])), torch.tensor([-1.0, 0.0, 1.0]))
