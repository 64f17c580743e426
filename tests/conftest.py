"""One thread a test process: several that spin on the same cores are slower by orders of magnitude."""

import torch

torch.set_num_threads(1)
