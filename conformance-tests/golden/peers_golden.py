"""Golden numbers from released packages: python peers_golden.py

Writes peers.json beside this script: value and gradient of torch, MONAI and segmentation-models-pytorch in float64 on the CPU.

Some of their losses turn the logits into float32. Those are run once as released, which gives `cast`, the relative difference that the
cast makes, and once with the cast turned into one to float64, which gives the golden numbers.
"""

import json
import platform
import re
import warnings
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import torch

from peers_cases import IGNORED, SEED, cases, inputs

PACKAGES = ["torch", "monai", "segmentation-models-pytorch"]


@contextmanager
def float_is_double():
    released = torch.Tensor.float
    torch.Tensor.float = torch.Tensor.double
    try:
        yield
    finally:
        torch.Tensor.float = released


def value_and_gradient(call, given):
    logits = torch.tensor(given["logits"], dtype=torch.float64).reshape(given["shape"]).requires_grad_()
    value = call(logits, given)
    value.backward()
    return value.item(), logits.grad.flatten().tolist()


def filled(spec, given):
    """The spec, with what it computes from the input in place of {…}."""
    samples, classes = given["shape"][:2]
    labels = given.get("labels")
    pixels = sum(label != IGNORED for label in labels) if labels else len(given["logits"]) // classes
    known = {"N": samples, "K": classes, "M": pixels, "NK": samples * classes, "MK": pixels * classes}

    def number(match):
        above, _, below = match[1].partition("/")
        read = lambda text: known[text] if text in known else float(text)
        return repr(read(above) / read(below) if below else read(above))

    return re.sub(r"\{([^}]*)\}", number, spec)


def main():
    warnings.simplefilter("ignore")
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    every, out, seen = inputs(), [], set()
    for package, call_text, call, spec, activation, names in cases():
        for name in names:
            given = every[name]
            value, gradient = value_and_gradient(call, given)
            with float_is_double():
                exact, exact_gradient = value_and_gradient(call, given)
            size = max(map(abs, exact_gradient))
            off = max(abs(a - b) for a, b in zip(gradient, exact_gradient)) / size
            off = max(off, abs(value - exact) / abs(exact))
            case = {"name": f"{package}/{call_text}/{name}", "peer": f"{package} {version(package)}", "call": call_text}
            case |= {"spec": filled(spec, given), "activation": activation, "ignore": IGNORED, "input": name}
            case |= {"value": exact, "gradient": exact_gradient}
            if off > 1e-14:
                case["cast"] = float(f"{off:.1e}")
            assert case["name"] not in seen, case["name"]
            seen.add(case["name"])
            out.append(case)
    made_with = {"python": platform.python_version(), "seed": SEED} | {name: version(name) for name in [*PACKAGES, "numpy"]}
    lines = [f'{{"made_with": {json.dumps(made_with)},', '"inputs": {']
    lines.append(",\n".join(f"{json.dumps(name)}: {json.dumps(given)}" for name, given in every.items()))
    lines.append('}, "cases": [')
    lines.append(",\n".join(json.dumps(case) for case in out))
    lines.append("]}")
    Path(__file__).with_name("peers.json").write_text("\n".join(lines) + "\n")
    print(len(out), "cases")


if __name__ == "__main__":
    main()
