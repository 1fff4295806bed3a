"""What identifies a model, and what is recorded of uncommitted changes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import environment, provenance


def network(shift: float = 0.0, filters: int = 2) -> Any:
    """A small network whose layers Keras names, with fixed weights."""
    environment.load_tensorflow()
    from keras import Input, Sequential, layers

    parts = [layers.Conv2D(filters, 2), layers.BatchNormalization(), layers.Flatten(), layers.Dense(3)]
    model = Sequential([Input((4, 4, 1)), *parts])
    model.set_weights([np.arange(weight.size).reshape(weight.shape) / 8 + shift for weight in model.get_weights()])
    return model


def test_equal_weights_have_one_digest_whatever_was_built_before() -> None:
    first = network()
    network(filters=3)
    again = network()
    assert [layer.name for layer in first.layers] != [layer.name for layer in again.layers]  # Keras counts
    assert provenance.weights_digest(again) == provenance.weights_digest(first)


def test_other_weights_and_other_shapes_have_another_digest() -> None:
    assert len({provenance.weights_digest(model) for model in (network(), network(shift=1e-3), network(filters=3))}) == 3


DIFF = """\
diff --git a/old.py b/new.py
similarity index 60%
rename from old.py
rename to new.py
--- a/old.py
+++ b/new.py
@@ -3,3 +3,3 @@ def f():
 same
-gone
+++ b/not a name
 same
@@ -20 +20,2 @@
-x
\\ No newline at end of file
+y
+z
\\ No newline at end of file
diff --git "a/caf\\t.txt" "b/caf\\t.txt"
new file mode 100644
--- /dev/null
+++ "b/caf\\t.txt"
@@ -0,0 +1 @@
+--- a/trap
diff --git a/image.png b/image.png
Binary files a/image.png and b/image.png differ
"""


def test_the_changed_lines_of_a_diff_are_found_with_their_numbers() -> None:
    found = [(change.file, change.number, change.text) for change in provenance.changes(DIFF)]
    assert found == [
        ("new.py", 4, "gone"),
        ("new.py", 4, "++ b/not a name"),
        ("new.py", 20, "x"),
        ("new.py", 20, "y"),
        ("new.py", 21, "z"),
        ("caf\\t.txt", 1, "--- a/trap"),
    ]
    assert list(provenance.changes("")) == list(provenance.changes("not a diff\n@@ what\n+x\n")) == []


def test_changes_are_found_whatever_the_users_git_settings_are(tmp_path: Path, shell: Any) -> None:
    for command in (["init", "-q"], ["config", "diff.noprefix", "true"], ["config", "diff.external", "false"]):
        shell("git", *command, cwd=tmp_path)
    (tmp_path / "émile.py").write_text("a\n", encoding="utf-8")
    shell("git", "add", "-A", cwd=tmp_path)
    shell("git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "x", cwd=tmp_path)
    assert not provenance.git_state(tmp_path, record_diff=False).withheld
    (tmp_path / "émile.py").write_text("a\nb → c\n", encoding="utf-8")
    git = provenance.git_state(tmp_path)
    assert [*provenance.changes(git.diff)] == [provenance.Change("émile.py", 2, "b → c")]
    assert (git.dirty, git.withheld) == (True, False)
    withheld = provenance.git_state(tmp_path, record_diff=False)
    assert (withheld.diff, withheld.withheld, withheld.dirty) == ("", True, True)


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "a private key"),
        ("-----BEGIN PRIVATE KEY-----", "a private key"),
        ("key = AKIAIOSFODNN7EXAMPLE", "an AWS access key"),
        ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "an AWS secret key"),
        ("url: postgresql://me:hunter2@db/mlflow", "a password in a URL"),
        ("GH = 'ghp_" + 36 * "a" + "'", "a token"),
        ("hf_" + 34 * "a", "a token"),
        ('"api_key": "0123456789abcdef"', "a password or key"),
        ("DB_PASSWORD='correct-horse'", "a password or key"),
        ("password = os.environ['PASSWORD']", None),
        ("password: '${DB_PASSWORD}'", None),
        ("https://example.org/a@1.0 and postgresql://${USER}:${PASSWORD}@db", None),
        ("the token of this run is made below", None),
        ("learning_rate: 0.001", None),
        ("weights_digest = '" + 64 * "a" + "'", None),
    ],
)
def test_known_kinds_of_secrets_are_found_in_a_diff(line: str, kind: str | None) -> None:
    diff = f"--- a/x.py\n+++ b/x.py\n@@ -7,0 +8 @@\n+{line}\n"
    found = [(what, change.file, change.number) for what, change in provenance.secrets(diff)]
    assert found == ([(kind, "x.py", 8)] if kind else [])
