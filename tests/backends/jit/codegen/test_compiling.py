from pathlib import Path

import nnx.backends.jit
from nnx.backends.jit.codegen.compiling import _stamp, fingerprint


def test_the_fingerprint_sees_every_file_in_every_folder(tmp_path):
    """Code that was compiled from an older text, in whatever folder it stands, is never loaded."""
    (tmp_path / "loops.py").write_text("a = 1\n")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "products.py").write_text("b = 1\n")
    before = fingerprint(tmp_path)
    (tmp_path / "inner" / "products.py").write_text("b = 2\n")
    changed = fingerprint(tmp_path)
    (tmp_path / "inner" / "products.py").rename(tmp_path / "products.py")
    moved = fingerprint(tmp_path)
    assert len({before, changed, moved}) == 3


def test_compiled_code_is_stamped_with_all_of_jit():
    assert _stamp() == fingerprint(Path(nnx.backends.jit.__file__).parent)
