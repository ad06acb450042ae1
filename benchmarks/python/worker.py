"""The Python side of `cargo xtask bench`: a request a line in, a reply a line out, idle in between."""

import ctypes
import gc
import json
import os
import platform
import sys
import time

# Nothing but replies may reach the pipe; what libraries print goes to the log.
REPLIES = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

import monai  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from monai.losses import DiceCELoss  # noqa: E402

TEMPERATURE = 10.0


def composed_softmax(z, y):
    """CE + batch Dice + L1 of the proportions at temperature 10, as one writes it."""
    t = F.one_hot(y, z.shape[1]).movedim(-1, 1).to(z.dtype)
    return F.cross_entropy(z, y) + regions(z.softmax(1), (TEMPERATURE * z).softmax(1), t)


def composed_sigmoid(z, y):
    """The same for one channel."""
    t = y.unsqueeze(1).to(z.dtype)
    return F.binary_cross_entropy_with_logits(z, t) + regions(z.sigmoid(), (TEMPERATURE * z).sigmoid(), t)


def regions(p, sharp, t):
    space = list(range(2, p.ndim))
    batch = [0, *space]
    intersection = (p * t).sum(batch)
    dice = 1 - 2 * intersection / (p.sum(batch) + t.sum(batch)).clamp_min(1e-7)
    size = (sharp.mean(space) - t.mean(space)).abs()
    return dice.mean() + size.mean()


class Worker:
    def __init__(self):
        self.works = {}

    def hello(self, request):
        torch.set_num_threads(request["threads"])
        return {
            "versions": {
                "python": platform.python_version(),
                "torch": torch.__version__,
                "monai": monai.__version__,
                "numpy": np.__version__,
                "torch's instructions": torch.backends.cpu.get_cpu_capability(),
            }
        }

    def load(self, request):
        shape, folder = request["shape"], request["folder"]
        self.works = {}
        # Compiled code is for one shape.
        torch._dynamo.reset()
        gc.collect()
        z = torch.from_numpy(np.fromfile(os.path.join(folder, "logits"), np.float32).reshape(shape))
        y = torch.from_numpy(np.fromfile(os.path.join(folder, "labels"), np.int64).reshape([shape[0], *shape[2:]]))
        self.z, self.y = z.requires_grad_(), y
        softmax = not request["sigmoid"]
        composed = composed_softmax if softmax else composed_sigmoid
        dice_ce = DiceCELoss(softmax=True, to_onehot_y=True) if softmax else DiceCELoss(sigmoid=True)
        channel = y.unsqueeze(1) if softmax else y.unsqueeze(1).to(z.dtype)
        self.works = {
            "composed": lambda: composed(self.z, self.y),
            "cross_entropy": lambda: F.cross_entropy(self.z, self.y),
            "monai": lambda: dice_ce(self.z, channel),
        }
        compiled = torch.compile(composed, dynamic=False)
        self.works["compiled"] = lambda: compiled(self.z, self.y)
        return {}

    def once(self, request):
        """What one call does, and a function that gives the seconds of one."""
        work = self.works[request["work"]]

        def value():
            start = time.perf_counter()
            with torch.no_grad():
                work()
            return time.perf_counter() - start

        def both():
            start = time.perf_counter()
            self.z.grad = None
            work().backward()
            return time.perf_counter() - start

        def gradient():
            self.z.grad = None
            total = work()
            start = time.perf_counter()
            total.backward()
            return time.perf_counter() - start

        return {"value": value, "both": both, "gradient": gradient}[request["op"]]

    def run(self, request):
        once, repeat = self.once(request), request["repeat"]
        if repeat > 1:
            once()
        return {"seconds": sum(once() for _ in range(repeat)) / repeat}

    def memory(self, request):
        once = self.once(request)
        once()
        self.z.grad = None
        gc.collect()
        # Freed memory that malloc keeps would hide what the call needs.
        ctypes.CDLL(None).malloc_trim(0)
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
        before = status("VmRSS")
        once()
        return {"resident": max(0, status("VmHWM") - before)}

    def compare(self, request):
        """How far value and gradient are from given ones: relative to the value, and to the largest number of the gradient."""
        self.z.grad = None
        total = self.works[request["work"]]()
        total.backward()
        theirs = torch.from_numpy(np.fromfile(request["path"], np.float32).reshape(self.z.shape))
        difference = (self.z.grad - theirs).abs().max() / self.z.grad.abs().max()
        self.z.grad = None
        return {"value": abs(total.item() - request["value"]) / abs(request["value"]), "gradient": difference.item()}


def status(field):
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith(field + ":"))
    return int(line.split()[1]) * 1024


def main():
    worker = Worker()
    gc.disable()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply = getattr(worker, request["do"])(request)
        except Exception as error:  # The other side decides what an error means.
            reply = {"error": f"{type(error).__name__}: {str(error).strip()[:2000]}"}
        REPLIES.write(json.dumps(reply) + "\n")
        REPLIES.flush()


if __name__ == "__main__":
    main()
