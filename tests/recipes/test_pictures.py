"""Pictures from files: every format, size and paper gives the picture that was meant."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from nnx.datasets import DataError, load_digits, write_idx
from nnx.recipes.pictures import Picture, lay_out, read_pictures


def figure(height=28, width=28):
    """A bright L on black: not symmetric, so that a turned picture would show."""
    x = np.zeros((height, width), np.float32)
    x[height // 5 : 4 * height // 5, width // 3 : width // 2] = 1
    x[2 * height // 3 : 4 * height // 5, width // 3 : 4 * width // 5] = 1
    return x


def png(path, x, mode="L"):
    Image.fromarray(np.uint8(255 * x)).convert(mode).save(path)
    return path


def test_a_png_of_the_right_kind_is_left_as_it_is(tmp_path):
    (picture,) = read_pictures(png(tmp_path / "l.png", figure()))
    np.testing.assert_array_equal(picture.pixels, figure())
    assert picture.name == "l.png" and picture.done == []
    assert lay_out(picture, (28, 28), (20, 20)) is picture


@pytest.mark.parametrize("mode", ["L", "RGB", "1", "P", "RGBA", "I;16"])
def test_dark_ink_on_light_paper_is_inverted(tmp_path, mode):
    if mode == "I;16":
        Image.fromarray((65535 * (1 - figure())).astype(np.uint16)).save(tmp_path / "l.png")
    else:
        png(tmp_path / "l.png", 1 - figure(), mode)
    (picture,) = read_pictures(tmp_path / "l.png")
    np.testing.assert_allclose(picture.pixels, figure(), atol=0.01)
    assert "dark on light: inverted" in picture.done


@pytest.mark.parametrize(("ink", "paper"), [(0, "white"), (255, "black")])
def test_a_transparent_paper_takes_the_colour_on_which_the_figure_shows(tmp_path, ink, paper):
    x = np.full((28, 28, 4), ink, np.uint8)
    x[..., 3] = 255 * figure()
    Image.fromarray(x).save(tmp_path / "l.png")
    (picture,) = read_pictures(tmp_path / "l.png")
    np.testing.assert_allclose(picture.pixels, figure(), atol=0.01)
    assert f"laid on {paper}" in picture.done


def test_a_pale_scan_gets_its_contrast_back(tmp_path):
    png(tmp_path / "l.png", 0.8 - 0.3 * figure())
    (picture,) = read_pictures(tmp_path / "l.png")
    np.testing.assert_allclose(picture.pixels, figure(), atol=0.02)
    assert picture.done == ["contrast raised from 30%", "dark on light: inverted"]


@pytest.mark.parametrize("shape", [(200, 120), (90, 300), (13, 13)])
def test_the_figure_is_cut_out_and_scaled_with_its_proportions(shape):
    picture = Picture("x", np.pad(figure(*shape), ((5, 40), (60, 2))))
    fitted = lay_out(picture, (28, 28), (20, 20)).pixels
    rows, columns = (np.nonzero((fitted > 0.5).any(axis=a))[0] for a in (1, 0))
    height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
    original = figure(*shape)
    before = [np.ptp(np.nonzero(original.any(axis=a))[0]) + 1 for a in (1, 0)]
    assert max(height, width) in (19, 20)  # it may lie between two pixels
    assert height / width == pytest.approx(before[0] / before[1], rel=0.15)
    mass = fitted / fitted.sum()
    centre = (mass.sum(axis=1) @ np.arange(28), mass.sum(axis=0) @ np.arange(28))
    assert np.abs(np.subtract(centre, 13.5)).max() <= 0.5 + 1e-4
    assert fitted.dtype == np.float32 and 0 <= fitted.min() and fitted.max() <= 1


def test_what_was_done_is_said():
    said = lay_out(Picture("x", figure(280, 280), ["dark on light: inverted"]), (8, 8), (8, 8)).done
    assert said == [
        "dark on light: inverted",
        "280×280: figure cut out, scaled to 8×6 in 8×8",
    ]


@pytest.mark.ci
def test_a_digit_that_was_enlarged_comes_back():
    """Scaling up and fitting again gives nearly the same 8 x 8 pixels."""
    distances = []
    for x in load_digits().test.scaled()[::3]:
        large = np.kron(np.pad(x, 3), np.ones((16, 16), np.float32))
        fitted = lay_out(Picture("x", large), (8, 8), (8, 8)).pixels
        distances.append(np.abs(fitted - x).mean())
    assert np.median(distances) < 0.06


def test_an_empty_picture_is_named():
    with pytest.raises(ValueError, match=r"blank\.png: there is nothing on this picture of 40×30"):
        lay_out(Picture("blank.png", np.zeros((40, 30), np.float32)), (28, 28), (20, 20))


def test_arrays_of_pictures(tmp_path):
    digits = load_digits().test
    np.save(tmp_path / "many.npy", digits.images[:5])
    np.save(tmp_path / "one.npy", digits.scaled()[0])
    np.save(tmp_path / "colour.npy", digits.scaled()[:5, None])
    write_idx(tmp_path / "many.gz", digits.images[:5])
    write_idx(tmp_path / "many-idx3-ubyte", digits.images[:5])
    for name in ("many.npy", "many.gz", "many-idx3-ubyte"):
        pictures = list(read_pictures(tmp_path / name))
        np.testing.assert_allclose([p.pixels for p in pictures], digits.scaled()[:5])
        assert [p.name for p in pictures] == [f"{name}[{k}]" for k in range(5)]
        assert pictures[0].done == ["values from 0 to 16 scaled to 0 to 1"]
    assert len(list(read_pictures(tmp_path / "colour.npy"))) == 5
    (picture,) = read_pictures(tmp_path / "one.npy")
    np.testing.assert_array_equal(picture.pixels, digits.scaled()[0])
    assert picture.name == "one.npy"


def test_an_array_of_dark_on_light_is_inverted(tmp_path):
    np.save(tmp_path / "a.npy", 255 - np.uint8(255 * np.stack([figure()] * 3)))
    pictures = list(read_pictures(tmp_path / "a.npy"))
    np.testing.assert_allclose(pictures[2].pixels, figure(), atol=0.01)
    assert pictures[2].done[-1] == "dark on light: inverted"


def test_files_that_hold_no_pictures_are_named(tmp_path):
    def refused(name, content, match, error=ValueError):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(error, match=match) as caught:
            read_pictures(tmp_path / name)
        assert name in str(caught.value)

    whole = png(tmp_path / "l.png", figure(200, 200)).read_bytes()
    refused("cut.png", whole[: len(whole) // 2], "damaged picture")
    refused("text.txt", b"hello", "neither a picture nor an IDX or NPY file")
    refused("empty.png", b"", "neither a picture nor an IDX or NPY file")
    np.save(tmp_path / "a.npy", np.zeros((3, 8, 8)))
    refused("cut.npy", (tmp_path / "a.npy").read_bytes()[:-8], "damaged NPY file")
    write_idx(tmp_path / "labels", np.zeros(5, np.uint8))
    refused("labels", (tmp_path / "labels").read_bytes(), r"holds no grey pictures.*uint8 \(5,\)")
    np.save(tmp_path / "nan.npy", np.full((2, 8, 8), np.nan))
    refused("nan.npy", (tmp_path / "nan.npy").read_bytes(), "128 values are not finite")
    with pytest.raises(FileNotFoundError):
        read_pictures(tmp_path / "nothing.png")
    assert issubclass(DataError, ValueError)


@pytest.mark.parametrize(
    ("form", "name"),
    [("ICO", "a.ico"), ("TGA", "a.tga"), ("JPEG2000", "a.jp2"), ("WEBP", "a.webp"),
     ("BMP", "a.dat"), ("GIF", "a.gif"), ("PPM", "a.pgm")],
)  # fmt: skip
def test_every_format_gives_the_picture(tmp_path, form, name):
    x = figure(64, 64)
    Image.fromarray(np.uint8(255 * x)).convert("RGB" if form == "ICO" else "L").save(
        tmp_path / name, form, **({"sizes": [(64, 64)]} if form == "ICO" else {})
    )
    (picture,) = read_pictures(tmp_path / name)
    np.testing.assert_allclose(picture.pixels, x, atol=0.12)  # some lose a little at edges


def test_all_pages_are_read_and_a_camera_s_own_previews_are_not(tmp_path):
    pages = [Image.fromarray(np.uint8(255 * x)) for x in (figure(), figure().T, 1 - figure())]
    rest = {"save_all": True, "append_images": pages[1:]}
    pages[0].save(tmp_path / "a.tif", **rest)
    pages[0].save(tmp_path / "a.gif", **rest)
    pages[0].save(tmp_path / "a.jpg", "MPO", **rest)
    for name in ("a.tif", "a.gif"):
        pictures = list(read_pictures(tmp_path / name))
        assert [p.name for p in pictures] == [f"{name}[{k}]" for k in range(3)]
        for picture, x in zip(pictures, (figure(), figure().T, figure()), strict=True):
            np.testing.assert_allclose(picture.pixels, x, atol=0.02)
    (picture,) = read_pictures(tmp_path / "a.jpg")
    assert picture.name == "a.jpg" and "the first of its pictures" in picture.done
    np.testing.assert_allclose(picture.pixels, figure(), atol=0.2)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_turned_as_its_camera_tells(tmp_path, orientation):
    turn = Image.Transpose
    back = {2: turn.FLIP_LEFT_RIGHT, 3: turn.ROTATE_180, 4: turn.FLIP_TOP_BOTTOM, 5: turn.TRANSPOSE,
            6: turn.ROTATE_90, 7: turn.TRANSVERSE, 8: turn.ROTATE_270}  # fmt: skip
    image = Image.fromarray(np.uint8(255 * figure(64, 48)))
    if orientation > 1:
        image = image.transpose(back[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / "a.jpg", exif=exif, quality=95)
    (picture,) = read_pictures(tmp_path / "a.jpg")
    np.testing.assert_allclose(picture.pixels, figure(64, 48), atol=0.3)
    assert ("turned as EXIF tells" in picture.done) == (orientation > 1)


@pytest.mark.parametrize(
    ("start", "told"),
    [(b"\0\0\0\x18ftypheic", "HEIC"), (b"\0\0\0\x18ftypavif", "AVIF"), (b"%PDF-1.7", "PDF"),
     (b"<svg xmlns=", "SVG"), (b"8BPS\0\1", "Photoshop")],
)  # fmt: skip
def test_what_is_not_read_is_told_what_it_is(tmp_path, start, told):
    (tmp_path / "a.jpg").write_bytes(start + bytes(200))
    with pytest.raises(ValueError, match=rf"a\.jpg is {told}, which is not read: save it as PNG"):
        list(read_pictures(tmp_path / "a.jpg"))


def test_rows_and_one_colour_are_told_from_pictures(tmp_path):
    x = load_digits().test.images[:5]
    for name, array in (("rows", x.reshape(5, 64)), ("last", x[..., None]), ("first", x[:, None])):
        np.save(tmp_path / f"{name}.npy", array)
        pictures = list(read_pictures(tmp_path / f"{name}.npy", (8, 8)))
        np.testing.assert_allclose([p.pixels for p in pictures], x / 16, atol=1e-6)
    np.save(tmp_path / "one.npy", x[0][..., None])
    (picture,) = read_pictures(tmp_path / "one.npy", (8, 8))
    np.testing.assert_allclose(picture.pixels, x[0] / 16, atol=1e-6)
    np.save(tmp_path / "eight.npy", x[0])  # a picture, not eight rows
    (picture,) = read_pictures(tmp_path / "eight.npy", (8, 8))
    assert picture.name == "eight.npy"


def test_a_pickle_in_an_npy_file_is_not_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (tmp_path / "sprung").mkdir, ()

    np.save(tmp_path / "trap.npy", np.asarray([Trap()], object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"trap\.npy"):
        read_pictures(tmp_path / "trap.npy")
    assert not (tmp_path / "sprung").exists()
