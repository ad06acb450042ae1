"""The loss of cuda_bench composed in PyTorch, on the same numbers: time, calls that wait and memory of a step. See docs/cuda.md.

--cpu runs small shapes on the CPU: its values are those that `cuda_bench --cpu` prints.
"""

import sys
import time

import torch
import torch.nn.functional as F

SHAPES = [(4, 20, 512, 512), (2, 4, 96, 96, 96), (8, 4, 256, 256)]
SMALL = [(2, 20, 32, 64), (2, 4, 16, 16, 16), (3, 4, 32, 32)]
KINDS = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
SCALE = 65536.0
WARM, STEPS = 3, 20
WAITS = ("cudaStreamSynchronize", "cudaEventSynchronize", "cudaDeviceSynchronize", "cudaMemcpy", "Memcpy DtoH")


def case(shape, kind, device):
    count = 1
    for length in shape:
        count *= length
    numbers = (torch.arange(count, device=device) * 37 + 11) % 101
    logits = (numbers.float() / 25 - 2).to(kind).reshape(shape)
    labels = (torch.arange(count // shape[1], device=device) // 64) % shape[1]
    return logits, labels.reshape(shape[:1] + shape[2:])


def loss(logits, labels):
    """Cross-Entropy, Dice pooled over the batch, and the L1 size penalty at temperature 10, in f32 as autocast would have it."""
    z = logits.float()
    space = tuple(range(2, z.dim()))
    truth = F.one_hot(labels, z.shape[1]).movedim(-1, 1).float()
    p = z.softmax(1)
    both, sizes = (p * truth).sum((0, *space)), (p + truth).sum((0, *space))
    dice = 1 - (2 * both / sizes.clamp_min(1e-7)).mean()
    l1 = ((10 * z).softmax(1).mean(space) - truth.mean(space)).abs().mean()
    return F.cross_entropy(z, labels) + dice + l1


def step(logits, labels):
    leaf = logits.detach().requires_grad_()
    value = loss(leaf, labels)
    (value * SCALE).backward()
    return value.detach()


def wait(device):
    if device == "cuda":
        torch.cuda.synchronize()


def milliseconds(logits, labels, device):
    for _ in range(WARM):
        step(logits, labels)
    wait(device)
    start = time.perf_counter()
    for _ in range(STEPS):
        step(logits, labels)
    wait(device)
    return 1e3 * (time.perf_counter() - start) / STEPS


def waits(logits, labels):
    """Counted by PyTorch's profiler, which itself waits for the device once where it ends."""
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    wait("cuda")
    counts = []
    for steps in (0, STEPS):
        with torch.profiler.profile(activities=activities) as profile:
            for _ in range(steps):
                step(logits, labels)
        counts.append(sum(event.count for event in profile.key_averages() if event.key.startswith(WAITS)
                          and event.key != "cudaMemcpyAsync"))
    return counts[1] - counts[0]


def peak(logits, labels):
    wait("cuda")
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step(logits, labels)
    return (torch.cuda.max_memory_allocated() - before) >> 20


def main():
    small = sys.argv[1:] == ["--cpu"]
    device = "cpu" if small else "cuda"
    if not small and not torch.cuda.is_available():
        sys.exit("compare.py: no CUDA device: --cpu runs small shapes on the CPU")
    print(f"PyTorch {torch.__version__} on {device if small else torch.cuda.get_device_name()}; the same loss, operation by operation")
    print(f"| logits | type | value | ms a step | waits in {STEPS} steps | peak, MiB |\n|---|---|---|---|---|---|")
    for shape in SMALL if small else SHAPES:
        for name, kind in KINDS.items():
            logits, labels = case(shape, kind, device)
            value = step(logits, labels).item()
            times = milliseconds(logits, labels, device)
            rest = ("-", "-") if small else (waits(logits, labels), peak(logits, labels))
            print(f"| {'x'.join(map(str, shape))} | {name} | {value:.7f} | {times:.3f} | {rest[0]} | {rest[1]} |", flush=True)


main()
