"""Parity tests run on one thread each: the recordings do not depend on it, and test processes share cores."""

import torch

torch.set_num_threads(1)
