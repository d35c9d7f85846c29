"""The filling rule, against values computed once by the rule as published with the recordings."""

import numpy as np
import torch

from tests.parity.golden_files import fill, golden_root, golden_values, salt


def test_the_golden_root_exists() -> None:
    assert golden_root().is_dir()


def test_the_salt_is_the_one_of_the_folder() -> None:
    assert salt({"salt": "other"}) == "other"


def test_values_depend_on_name_shape_and_salt() -> None:
    a = golden_values("layer.weight", (4, 8), "open")
    assert np.array_equal(a, golden_values("layer.weight", (4, 8), "open"))
    assert not np.array_equal(a, golden_values("layer.weight", (4, 8), "other"))
    assert not np.array_equal(a, golden_values("layer2.weight", (4, 8), "open"))
    assert a.dtype == np.float32


def test_filling_a_module_uses_the_names_of_its_state_dict() -> None:
    module = torch.nn.BatchNorm1d(3)
    fill(module, "open")
    assert np.array_equal(module.running_var.numpy(), golden_values("running_var", (3,), "open"))
    assert (module.running_var > 1).all()
    assert module.num_batches_tracked == 0
