"""Photographs of figures on paper, drawn for tests.

The numbers in here are others than those that `nnx.recipes.figures` was tuned on (but for clean
pages, on which its threshold and layout were compared), and so is the order in which light, dirt
and the camera act.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageDraw

KINDS = (
    "clean", "falling light", "specks", "dark edge", "camera", "turned", "pencil", "chalk",
    "vignette", "dark frame", "table", "ruled", "shadow",
)  # fmt: skip


def photograph(x, kinds, rng, page=(300, 380), side=150, margin=12):
    """A JPEG file of the figure x (h, w) from 0 to 1, enlarged to `side` pixels on a page.

    Args:
        kinds: of `KINDS`, those that it shows together.
        page: (H, W); the figure lies anywhere on it, `margin` pixels from the edge or more.
    """
    height, width = page
    figure = Image.fromarray(x.astype(np.float32)).resize((side, side), Image.Resampling.BILINEAR)
    top = int(rng.integers(margin, height - side - margin + 1))
    left = int(rng.integers(margin, width - side - margin + 1))
    ink = np.zeros(page, np.float32)
    ink[top : top + side, left : left + side] = figure
    paper, pen = rng.uniform(0.85, 0.97), rng.uniform(0.05, 0.2)
    if "pencil" in kinds:
        pen = rng.uniform(0.5, 0.62)
        ink = ink * rng.uniform(0.7, 1, page)
    if "chalk" in kinds:
        paper, pen = rng.uniform(0.12, 0.22), rng.uniform(0.75, 0.9)
        ink = ink * np.where(rng.random(page) < 0.25, 0.6, 1)
    light = paper + (pen - paper) * ink
    drawn = Image.fromarray(light.astype(np.float32))
    draw = ImageDraw.Draw(drawn)
    if "ruled" in kinds:
        rule = paper + 0.3 * (pen - paper)
        for y in range(int(rng.integers(5, 20)), height, int(rng.integers(22, 34))):
            under = np.asarray(drawn)[y : y + 2]
            over = np.minimum(under, rule) if pen < paper else np.maximum(under, rule)
            drawn.paste(Image.fromarray(over), (0, y))
    if "specks" in kinds:
        for _ in range(int(rng.integers(1, 6))):
            r, y, a = rng.uniform(1, 2.5), rng.integers(3, height - 3), rng.integers(3, width - 3)
            draw.ellipse((a - r, y - r, a + r, y + r), fill=pen)
    light = np.array(drawn)
    y, a = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    if "falling light" in kinds:
        along = (y, -y, a, -a, (y + a) / 2, (y - a) / 2)[int(rng.integers(6))]
        light *= 0.8 - 0.2 * along  # from 1 to 0.6
    if "vignette" in kinds:
        light *= 1 / (1 + rng.uniform(0.25, 0.4) * (y**2 + a**2)) ** 2
    if "shadow" in kinds:  # of a hand, its edge as soft as the lamp is large
        turn, edge = rng.uniform(0, 2 * np.pi), rng.uniform(-0.5, 0.1)
        along = y * np.cos(turn) + a * np.sin(turn)
        light *= 1 - 0.3 / (1 + np.exp((along - edge) / rng.uniform(0.07, 0.15)))
    if "dark edge" in kinds:
        light[: int(rng.integers(4, 10))] *= rng.uniform(0.1, 0.35)
    if "dark frame" in kinds:
        thick = int(rng.integers(4, 9))
        inner = light[thick:-thick, thick:-thick].copy()
        light[:] = rng.uniform(0.03, 0.12)
        light[thick:-thick, thick:-thick] = inner
    if "table" in kinds:  # seen around the paper, which lies askew on it
        turn = np.radians(rng.uniform(-2, 2))
        far = np.maximum(
            np.abs(a * np.cos(turn) + y * np.sin(turn)), np.abs(y * np.cos(turn) - a * np.sin(turn))
        )
        wood = rng.uniform(0.3, 0.45) * (1 + 0.1 * np.sin(40 * y + 3 * a))
        light = np.where(far > rng.uniform(0.93, 0.97), wood, light)
    if "camera" in kinds:
        light = light + rng.normal(0, 5 / 255, page)
    image = Image.fromarray(np.uint8(np.clip(255 * light + 0.5, 0, 255)))
    exif = Image.Exif()
    if "turned" in kinds:  # as a camera held upright saves it
        image = image.transpose(Image.Transpose.ROTATE_90)
        exif[0x0112] = 6
    made = io.BytesIO()
    image.save(made, "JPEG", quality=85 if "camera" in kinds else 92, exif=exif)
    return made.getvalue()
