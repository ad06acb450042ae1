"""The losses of the bundle in PyTorch, on the same numbers: agreement, time, calls that wait and memory of a step. See docs/cuda.md.

compare.py eager|compile [--cpu] [--small] [--only TEXT]

Results are lines of results.jsonl in the folder that RESULTS names, each written at once. Values and gradients are compared with
what device_tch has left there (reference/), before anything is timed.
"""

import json
import math
import os
import sys
import time

import torch
import torch.nn.functional as F

# As in src/common.rs: the logits' shape, and whether they are under sigmoid.
FULL = [((4, 20, 512, 512), False), ((2, 4, 96, 96, 96), False), ((8, 4, 256, 256), False), ((1, 2, 128, 128, 128), False),
        ((1, 1, 128, 128, 128), True), ((2, 32, 160, 160, 160), False)]
SMALL = [((2, 20, 32, 64), False), ((2, 4, 16, 16, 16), False), ((3, 4, 32, 32), False), ((1, 2, 16, 16, 16), False),
         ((1, 1, 16, 16, 16), True), ((2, 32, 8, 16, 16), False)]
KINDS = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
SCALE, BATCHES, BATCH, SAMPLE = 65536.0, 5, 0.05, 4096
TEMPERATURE = 10.0
ALLOWED = {"f32": 2e-5, "f16": 2e-3, "bf16": 1e-2}


def inputs(shape, kind, device):
    """One of 101 numbers, of which no type rounds any; runs of 64 pixels have a label."""
    count = math.prod(shape)
    numbers = (torch.arange(count, device=device) * 37 + 11) % 101
    logits = ((numbers.float() - 50) / 16).to(kind).reshape(shape)
    labels = (torch.arange(count // shape[1], device=device) // 64) % max(shape[1], 2)
    return logits, labels.reshape(shape[:1] + shape[2:])


def one_hot(z, labels):
    if z.shape[1] == 1:
        return labels.unsqueeze(1).to(z.dtype)
    return F.one_hot(labels, z.shape[1]).movedim(-1, 1).to(z.dtype)


def activate(z):
    return z.sigmoid() if z.shape[1] == 1 else z.softmax(1)


def cross_entropy(logits, labels):
    z = logits.float()
    return F.binary_cross_entropy_with_logits(z, one_hot(z, labels)) if z.shape[1] == 1 else F.cross_entropy(z, labels)


def composed(logits, labels):
    """Cross-Entropy, Dice pooled over the batch, and L1 of the proportions at temperature 10, in f32 as autocast has it."""
    z = logits.float()
    truth, space = one_hot(z, labels), tuple(range(2, z.dim()))
    p = activate(z)
    both, sizes = (p * truth).sum((0, *space)), (p + truth).sum((0, *space))
    dice = 1 - (2 * both / sizes.clamp_min(1e-7)).mean()
    l1 = (activate(TEMPERATURE * z).mean(space) - truth.mean(space)).abs().mean()
    return cross_entropy(z, labels) + dice + l1


def dice_ce(logits, labels):
    """MONAI's DiceCELoss at its defaults, as its source computes it; `check` compares it with MONAI where that is installed."""
    z = logits.float()
    truth, space = one_hot(z, labels), tuple(range(2, z.dim()))
    p = activate(z)
    intersection = (truth * p).sum(space)
    denominator = truth.sum(space) + p.sum(space)
    dice = 1.0 - (2.0 * intersection + 1e-5) / (denominator + 1e-5)
    return dice.mean() + cross_entropy(z, labels)


LOSSES = {"ce + dice + l1": composed, "ce": cross_entropy, "DiceCELoss": dice_ce}


def step(loss, logits, labels):
    leaf = logits.detach().requires_grad_()
    value = loss(leaf, labels)
    (value * SCALE).backward()
    return value.detach(), leaf.grad


def wait(device):
    if device == "cuda":
        torch.cuda.synchronize()


def counted():
    """The last line of libcount.so, which it writes at each `wait`."""
    try:
        with open(os.environ["CUDA_COUNT_LOG"]) as log:
            words = log.read().splitlines()[-1].split()
    except (KeyError, OSError, IndexError):
        return None
    return {name: float(value) for name, value in (word.split("=") for word in words)}


def batch(device, steps, work):
    """Milliseconds by events, on the CPU by the clock, and the calls that wait."""
    wait(device)
    if device == "cuda":
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        first.record()
    start = time.perf_counter()
    for _ in range(steps):
        work()
    if device == "cpu":
        return 1e3 * (time.perf_counter() - start), None
    last.record()
    wait(device)
    counts = counted()
    return first.elapsed_time(last), counts and counts["waits"] + counts["copies_to_host"]


def median(device, work):
    batch(device, 2, work)
    start = time.perf_counter()
    batch(device, 1, work)
    steps = min(50, max(1, int(BATCH / max(1e-6, time.perf_counter() - start))))
    taken = [batch(device, steps, work) for _ in range(BATCHES)]
    waits = None if taken[0][1] is None else sum(waits for _, waits in taken) / (BATCHES * steps)
    return sorted(time for time, _ in taken)[BATCHES // 2] / steps, waits


def off(name, loss, outcome, dtype):
    """How far value and gradient are off, of the value and of the largest number of the gradient."""
    value, gradient = outcome
    path = os.path.join(os.environ.get("RESULTS", "results"), "reference", f"{loss}, {name}.json")
    if not os.path.exists(path):
        return {"agrees": None}
    with open(path) as file:
        want = json.load(file)
    flat = gradient.reshape(-1)
    stride = -(-flat.numel() // SAMPLE) | 1
    sample = flat[::stride].double().cpu() / SCALE
    wanted = torch.tensor(want["sample"], dtype=torch.float64)
    value_off = abs(value.item() - want["value"]) / abs(want["value"])
    gradient_off = ((sample - wanted).abs().max() / want["largest"]).item()
    agrees = value_off <= 2e-5 and gradient_off <= ALLOWED[dtype]
    return {"value_off": value_off, "gradient_off": gradient_off, "agrees": agrees}


def peak(device, work):
    if device == "cpu":
        return None
    wait(device)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    work()
    wait(device)
    return (torch.cuda.max_memory_allocated() - before) >> 20


class Run:
    def __init__(self, words):
        self.what, options = words[0], words[1:]
        self.device = "cpu" if "--cpu" in options else "cuda"
        self.shapes = SMALL if "--small" in options else FULL
        self.only = options[options.index("--only") + 1] if "--only" in options else ""

    def write(self, row):
        line = json.dumps({"step": self.what, **row})
        print(line, flush=True)
        folder = os.environ.get("RESULTS")
        if folder:
            with open(os.path.join(folder, "results.jsonl"), "a") as file:
                file.write(line + "\n")

    def measure(self, by, function, shape, name, loss, dtype):
        row = {"case": name, "loss": loss, "by": by, "type": dtype}
        try:
            logits, labels = inputs(shape, KINDS[dtype], self.device)
            start = time.perf_counter()
            row |= off(name, loss, step(function, logits, labels), dtype)
            wait(self.device)
            if self.what == "compile":
                row["seconds_first"] = time.perf_counter() - start
            if row["agrees"] is not False:
                row["peak_mib"] = peak(self.device, lambda: step(function, logits, labels))
                row["ms"], row["waits"] = median(self.device, lambda: step(function, logits, labels))
                with torch.no_grad():
                    row["ms_value"], _ = median(self.device, lambda: function(logits, labels))
        except Exception as error:  # A row that failed is a row.
            row["error"] = f"{type(error).__name__}: {str(error).strip()[-400:]}"
        self.write(row)

    def copy(self, shape, name, dtype):
        logits, _ = inputs(shape, KINDS[dtype], self.device)
        to = torch.empty_like(logits)
        milliseconds, _ = median(self.device, lambda: to.copy_(logits))
        self.write({"case": name, "loss": "copy", "by": "PyTorch, copy", "type": dtype, "ms": milliseconds})

    def all(self):
        if self.what == "eager":
            self.check()
        for loss, function in LOSSES.items():
            for shape, sigmoid in self.shapes:
                name = "x".join(map(str, shape)) + (" sigmoid" if sigmoid else "")
                if self.only not in f"{loss}, {name}":
                    continue
                main = loss == "ce + dice + l1"
                # A gigabyte of logits in single precision alone, and compiled code too.
                every = main and math.prod(shape) < 100_000_000 and self.what == "eager"
                for dtype in KINDS if every else ["f32"]:
                    if self.what == "eager":
                        self.measure("PyTorch", function, shape, name, loss, dtype)
                        if main:
                            self.copy(shape, name, dtype)
                    else:
                        # Compiled code is for one shape.
                        torch._dynamo.reset()
                        compiled = torch.compile(function, dynamic=False)
                        self.measure("torch.compile", compiled, shape, name, loss, dtype)
                if self.device == "cuda":
                    torch.cuda.empty_cache()

    def check(self):
        """The DiceCELoss here against MONAI's, where MONAI is installed."""
        try:
            from monai.losses import DiceCELoss
        except ImportError:
            return
        for shape, sigmoid in SMALL:
            logits, labels = inputs(shape, torch.float32, "cpu")
            logits = logits + torch.randn(shape, generator=torch.Generator().manual_seed(1))
            theirs = DiceCELoss(sigmoid=True) if sigmoid else DiceCELoss(softmax=True, to_onehot_y=True)
            target = labels.unsqueeze(1).float() if sigmoid else labels.unsqueeze(1)
            (value, gradient), (want, wanted) = (step(loss, logits, labels) for loss in (dice_ce, lambda z, _: theirs(z, target)))
            far = max(abs(value - want).item() / want.item(), ((gradient - wanted).abs().max() / wanted.abs().max()).item())
            self.write({"check": f"DiceCELoss as MONAI has it, {'x'.join(map(str, shape))}", "off": far, "ok": far < 1e-6})


def main():
    words = sys.argv[1:]
    if not words or words[0] not in ("eager", "compile"):
        sys.exit("compare.py: eager or compile?")
    run = Run(words)
    if run.device == "cuda" and not torch.cuda.is_available():
        sys.exit("compare.py: no CUDA device: --cpu does what can be done on the CPU")
    # Products in full single precision, as ours.
    torch.backends.cuda.matmul.allow_tf32 = False
    run.all()


main()
