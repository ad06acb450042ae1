"""Which losses of torch, MONAI and segmentation-models-pytorch, on which inputs, and which of our specs says the same.

A case is (package, their loss as text, call(logits, input), our spec, activation, inputs). In a spec, {name} is computed from the input:
N samples, K classes, M valid pixels, and fractions of them.
"""

import math
import random

import monai.losses as monai_losses
import segmentation_models_pytorch.losses as smp_losses
import torch
import torch.nn.functional as F
from monai.losses.unified_focal_loss import AsymmetricFocalLoss, AsymmetricFocalTverskyLoss

SEED = 20240818
IGNORED = 255
WEIGHTS = [0.25, 1.0, 3.0]

SOFTMAX = ["softmax/2d", "softmax/3d", "softmax/absent_class"]
PRESENT = ["softmax/2d", "softmax/3d"]
IGNORING = ["softmax/ignored"]
ONE = ["sigmoid/one_channel"]
MANY = ["sigmoid/multi_label"]


def inputs():
    """Logits are multiples of 1/1024; every sample has every class, but where the name says otherwise."""
    rng, every = random.Random(SEED), {}

    def add(name, shape, classes, **more):
        pixels = 1
        for length in shape[2:]:
            pixels *= length
        labels = []
        for _ in range(shape[0]):
            drawn = list(range(classes)) + [rng.randrange(classes) for _ in range(pixels - classes)]
            rng.shuffle(drawn)
            labels += drawn
        logits = [rng.randint(-4096, 4096) / 1024 for _ in range(shape[0] * shape[1] * pixels)]
        every[name] = {"shape": shape, "logits": logits, "labels": labels, **more}
        return every[name]

    add("softmax/2d", [2, 3, 2, 3], 3)
    add("softmax/3d", [2, 3, 2, 2, 2], 3)
    add("softmax/absent_class", [2, 3, 2, 3], 2)
    ignored = add("softmax/ignored", [2, 3, 2, 4], 3)
    for at in (1, 6, 11):
        ignored["labels"][at] = IGNORED
    add("softmax/two_classes", [2, 2, 2, 3], 2)
    add("sigmoid/one_channel", [2, 1, 2, 4], 2)
    ignored = add("sigmoid/one_channel_ignored", [2, 1, 2, 4], 2)
    for at in (0, 13):
        ignored["labels"][at] = IGNORED
    many = add("sigmoid/multi_label", [2, 3, 2, 3], 3)
    many["soft"] = [float(rng.random() < 0.4) for _ in many["logits"]]
    soft = add("softmax/soft", [2, 3, 2, 3], 3)
    shares = [rng.randint(0, 8) / 16 for _ in range(24)]
    first, second = shares[:12], shares[12:]
    rest = [1 - a - b for a, b in zip(first, second)]
    # [N, K, S] from three rows of N * S shares.
    soft["soft"] = [row[n * 6 + s] for n in range(2) for row in (first, second, rest) for s in range(6)]
    fractional = add("sigmoid/soft", [2, 3, 2, 3], 3)
    fractional["soft"] = [rng.randint(0, 16) / 16 for _ in fractional["logits"]]
    for given in (many, soft, fractional):
        del given["labels"]
    return every


def labels(given, *, channel=False, real=False):
    shape = given["shape"]
    tensor = torch.tensor(given["labels"]).reshape(shape[:1] + shape[2:])
    tensor = tensor.unsqueeze(1) if channel else tensor
    return tensor.double() if real else tensor


def dense(given):
    """The target in the logits' shape."""
    if "soft" in given:
        return torch.tensor(given["soft"], dtype=torch.float64).reshape(given["shape"])
    if given["shape"][1] == 1:
        return labels(given, channel=True, real=True)
    return F.one_hot(labels(given), given["shape"][1]).movedim(-1, 1).double()


def written(options):
    def one(value):
        return f"torch.tensor({value.tolist()})" if isinstance(value, torch.Tensor) else repr(value)

    return ", ".join(f"{name}={one(value)}" for name, value in options.items())


def torch_case(name, spec, activation, on, *, target=dense, function=None, **options):
    function = function or getattr(F, name)
    return "torch", f"{name}({written(options)})", lambda z, given: function(z, target(given), **options), spec, activation, on


def monai(name, spec, activation, on, *, make=None, into=lambda z: z, **options):
    def call(z, given):
        single = given["shape"][1] == 1 and "soft" not in given
        target = labels(given, channel=True, real=single) if options.get("to_onehot_y") or single else dense(given)
        return (make or getattr(monai_losses, name))(**options)(into(z), target)

    return "monai", f"{name}({written(options)})", call, spec, activation, on


def smp(name, mode, spec, activation, on, **options):
    def call(z, given):
        if mode is None:
            target = labels(given) if name == "SoftCrossEntropyLoss" else dense(given)
            return getattr(smp_losses, name)(**options)(z, target)
        target = {"multiclass": lambda: labels(given), "binary": lambda: labels(given, channel=True), "multilabel": lambda: dense(given)}
        return getattr(smp_losses, name)(mode, **options)(z, target[mode]())

    said = written(options) if mode is None else ", ".join(filter(None, [repr(mode), written(options)]))
    return "segmentation-models-pytorch", f"{name}({said})", call, spec, activation, on


def torch_cases():
    weight, pair = torch.tensor(WEIGHTS, dtype=torch.float64), {"target": labels}
    three = torch.tensor([2.5], dtype=torch.float64)
    ce = lambda spec, on, **more: torch_case("cross_entropy", spec, "softmax", on, **more)
    bce = lambda spec, on, **more: torch_case("binary_cross_entropy_with_logits", spec, "sigmoid", on, **more)
    yield ce("ce", SOFTMAX, **pair)
    yield ce("ce", IGNORING, ignore_index=IGNORED, **pair)
    yield ce("ce(class_weights=[0.25, 1, 3])", SOFTMAX, weight=weight, **pair)
    yield ce("ce(class_weights=[0.25, 1, 3])", IGNORING, weight=weight, ignore_index=IGNORED, **pair)
    yield ce("ce(label_smoothing=0.1)", SOFTMAX, label_smoothing=0.1, **pair)
    both = {"weight": weight, "label_smoothing": 0.1, "ignore_index": IGNORED}
    yield ce("ce(class_weights=[0.25, 1, 3], label_smoothing=0.1)", IGNORING, **both, **pair)
    yield ce("{M} * ce", IGNORING, reduction="sum", ignore_index=IGNORED, **pair)
    yield ce("ce", ["softmax/soft"])

    def hardest(z, target, share):
        losses = F.cross_entropy(z, target, reduction="none").flatten()
        return losses.topk(math.ceil(share * losses.numel())).values.mean()

    for share, on in ((0.3, PRESENT), (0.5, ["softmax/two_classes"])):
        spec = f"topk(fraction={share})"
        yield torch_case("hardest_cross_entropy", spec, "softmax", on, function=hardest, share=share, **pair)
    yield ce("ce(label_smoothing=0.1)", ["softmax/soft"], label_smoothing=0.1)
    yield bce("ce", ONE + MANY + ["sigmoid/soft"])
    yield bce("{MK} * ce", MANY, reduction="sum")
    positive = "focal(gamma=0, alpha=1)"
    yield bce(f"2.5 * {positive} + focal(gamma=0, alpha=0)", ONE, pos_weight=three)
    yield bce(f"{{2.5/K}} * {positive} + {{1/K}} * focal(gamma=0, alpha=0)", MANY, pos_weight=three)
    yield torch_case("multilabel_soft_margin_loss", "ce", "sigmoid", MANY)
    sign = lambda given: 2 * dense(given) - 1
    yield torch_case("soft_margin_loss", "ce", "sigmoid", ONE + MANY, target=sign)


def monai_cases():
    hot, s = {"softmax": True, "to_onehot_y": True}, "smooth_numerator=1e-5, smooth_denominator=1e-5"
    own = f"pooling=sample, absent=count, {s}"
    soft = lambda name, spec, on, **more: monai(name, spec, "softmax", on, **hot, **more)
    sig = lambda name, spec, on, **more: monai(name, spec, "sigmoid", on, **more)
    yield soft("DiceLoss", f"dice({own})", SOFTMAX)
    # Their distances are float32, minus 1 in float32: equal where none inside has a fraction.
    yield soft("BoundaryLoss", "{1/K} * boundary(classes=all)", PRESENT)
    yield soft("BoundaryLoss", "0.5 * boundary", PRESENT, include_background=False)
    yield sig("DiceLoss", f"dice({own})", ONE + MANY + ["sigmoid/soft"], sigmoid=True)
    yield soft("DiceLoss", f"dice(absent=count, {s})", SOFTMAX, batch=True)
    yield soft("DiceLoss", f"dice({own}, classes=[1, 2])", SOFTMAX, include_background=False)
    yield soft("DiceLoss", "jaccard(pooling=sample, absent=count, smooth_numerator=5e-6, smooth_denominator=5e-6)", SOFTMAX, jaccard=True)
    # Their one-hot targets are float32, whose norms squared are not exact: the target is handed over one-hot instead.
    yield monai("DiceLoss", f"dice({own}, squared=true)", "softmax", SOFTMAX + ["softmax/soft"], softmax=True, squared_pred=True)
    yield soft("DiceLoss", f"{{NK}} * dice({own})", SOFTMAX, reduction="sum")
    weighted = f"{{4.25/K}} * dice({own}, class_weights=[0.25, 1, 3])"
    yield soft("DiceLoss", weighted, SOFTMAX, weight=WEIGHTS)
    other = "dice(pooling=sample, absent=count, smooth_numerator=0.5, smooth_denominator=2)"
    yield soft("DiceLoss", other, SOFTMAX, smooth_nr=0.5, smooth_dr=2.0)
    yield soft("DiceLoss", f"dice({own})", IGNORING, ignore_index=IGNORED)
    yield soft("DiceLoss", f"dice({own})", PRESENT, soft_label=True)
    masked = lambda **options: lambda z, target: monai_losses.MaskedDiceLoss(**options)(z, (target == 1).double(), (target != IGNORED).double())
    yield sig("MaskedDiceLoss", f"dice({own})", ["sigmoid/one_channel_ignored"], make=masked, sigmoid=True)
    yield soft("TverskyLoss", f"tversky({own})", SOFTMAX)
    yield soft("TverskyLoss", f"tversky(alpha=0.3, beta=0.7, {own})", SOFTMAX, alpha=0.3, beta=0.7)
    yield soft("TverskyLoss", f"tversky(absent=count, {s}, classes=[1, 2])", SOFTMAX, batch=True, include_background=False)
    yield soft("TverskyLoss", f"tversky({own})", IGNORING, ignore_index=IGNORED)
    yield sig("TverskyLoss", f"tversky({own})", ONE + MANY, sigmoid=True)
    bare = {"smooth_nr": 0.0, "smooth_dr": 0.0}
    yield soft("GeneralizedDiceLoss", "gdice(pooling=sample, activation=softmax)", PRESENT, **bare)
    yield soft("GeneralizedDiceLoss", "gdice(activation=softmax)", PRESENT, batch=True, **bare)
    yield sig("GeneralizedDiceLoss", "gdice(classes=[0, 1, 2])", MANY, batch=True, sigmoid=True, **bare)
    yield sig("GeneralizedDiceLoss", "dice(pooling=sample, absent=count)", ONE, sigmoid=True, **bare)
    simple = "gdice(pooling=sample, weighting=simple, activation=softmax)"
    yield soft("GeneralizedDiceLoss", simple, PRESENT, w_type="simple", **bare)
    uniform = "gdice(pooling=sample, weighting=uniform, activation=softmax, classes=[1, 2])"
    yield soft("GeneralizedDiceLoss", uniform, SOFTMAX, w_type="uniform", include_background=False, **bare)
    focal = lambda spec, on, **more: monai("FocalLoss", spec, "softmax", on, to_onehot_y=True, **more)
    yield focal("{1/K} * focal", SOFTMAX)
    yield sig("FocalLoss", "focal", ONE)
    yield sig("FocalLoss", "{1/K} * focal(gamma=3.5, alpha=0.25)", MANY, gamma=3.5, alpha=0.25)
    yield sig("FocalLoss", "focal(alpha=0.25)", ONE, alpha=0.25)
    yield focal("{1/K} * focal(class_weights=[0.25, 1, 3])", SOFTMAX, weight=WEIGHTS)
    positives = "{1/K} * focal(alpha=1, class_weights=[0.25, 1, 3]) + {1/K} * focal(alpha=0)"
    yield focal(positives, SOFTMAX, alpha=WEIGHTS)
    yield focal("0.5 * focal(class_weights=[0, 1, 1])", SOFTMAX, include_background=False)
    yield focal("{N} * focal(pooling=sample)", SOFTMAX, reduction="sum")
    yield focal("focal", IGNORING, ignore_index=IGNORED)
    yield focal("{1/K} * focal(activation=softmax)", SOFTMAX, use_softmax=True)
    yield focal("{1/K} * focal(gamma=0.5, activation=softmax)", PRESENT, use_softmax=True, gamma=0.5)
    yield focal("focal(activation=softmax)", IGNORING, use_softmax=True, ignore_index=IGNORED)
    yield soft("DiceCELoss", f"dice({own}) + ce", SOFTMAX)
    yield soft("DiceCELoss", f"dice({own}, classes=[1, 2]) + ce", SOFTMAX, include_background=False)
    yield soft("DiceCELoss", f"0.25 * dice({own}) + 2 * ce", SOFTMAX, lambda_dice=0.25, lambda_ce=2.0)
    weight = torch.tensor(WEIGHTS, dtype=torch.float64)
    yield soft("DiceCELoss", f"{weighted} + ce(class_weights=[0.25, 1, 3])", SOFTMAX, weight=weight)
    yield soft("DiceCELoss", f"dice({own}) + ce(label_smoothing=0.1)", SOFTMAX, label_smoothing=0.1)
    yield soft("DiceCELoss", f"{{NK}} * dice({own}) + {{M}} * ce", SOFTMAX, reduction="sum")
    yield sig("DiceCELoss", f"dice({own}) + ce", ONE, sigmoid=True)
    yield sig("DiceCELoss", f"dice({own}) + ce(activation=softmax)", MANY, sigmoid=True)
    positive = "2.5 * focal(gamma=0, alpha=1) + focal(gamma=0, alpha=0)"
    yield sig("DiceCELoss", f"dice({own}) + {positive}", ONE, sigmoid=True, weight=torch.tensor([2.5], dtype=torch.float64))
    yield soft("DiceFocalLoss", f"dice({own}) + {{1/K}} * focal", SOFTMAX)
    yield soft("DiceFocalLoss", f"{weighted} + {{0.5/K}} * focal(class_weights=[0.25, 1, 3])", SOFTMAX, weight=WEIGHTS, lambda_focal=0.5)
    yield sig("DiceFocalLoss", f"dice({own}) + focal(gamma=1)", ONE, sigmoid=True, gamma=1.0)
    yield sig("DiceFocalLoss", f"dice({own}) + focal(alpha=0.25)", ONE, sigmoid=True, alpha=0.25)
    yield soft("GeneralizedDiceFocalLoss", "gdice(pooling=sample, activation=softmax) + {1/K} * focal", PRESENT, **bare)
    pairs = ["softmax/two_classes"]
    distance = {"dist_matrix": [[0.0, 1.0], [1.0, 0.0]]}
    yield monai("GeneralizedWassersteinDiceLoss", f"dice({own}, classes=[1])", "softmax", pairs, make=wasserstein, **distance)
    two = lambda z: torch.cat([1 - z.sigmoid(), z.sigmoid()], dim=1)
    # The mean is also over the two channels: half of the sum.
    asymmetric = "0.35 * focal(gamma=0, alpha=1) + 0.15 * focal(gamma=2, alpha=0)"
    yield sig("AsymmetricFocalLoss", asymmetric, ONE, into=two, make=two_channels(AsymmetricFocalLoss))
    tversky = "tversky(alpha=0.3, beta=0.7, pooling=sample, absent=count, smooth_numerator=1e-7, smooth_denominator=1e-7)"
    yield monai("AsymmetricFocalTverskyLoss", tversky, "softmax", pairs, gamma=0.0, into=lambda z: z.softmax(1), make=AsymmetricFocalTverskyLoss)


def wasserstein(dist_matrix, **_):
    """Its target is a map of labels with a channel axis; its own activation is softmax."""
    loss = monai_losses.GeneralizedWassersteinDiceLoss(torch.tensor(dist_matrix, dtype=torch.float64).numpy())
    loss.m = loss.m.double()
    return lambda z, target: loss(z, target.argmax(1, keepdim=True))


def two_channels(kind):
    """For losses of (background, foreground) probabilities."""
    return lambda **options: lambda p, target: kind(**options)(p, torch.cat([1 - target, target], dim=1))


def smp_cases():
    multi = lambda name, spec, on, **more: smp(name, "multiclass", spec, "softmax", on, **more)
    binary = lambda name, spec, on, **more: smp(name, "binary", spec, "sigmoid", on, **more)
    label = lambda name, spec, on, **more: smp(name, "multilabel", spec, "sigmoid", on, **more)
    for name, term in (("DiceLoss", "dice"), ("JaccardLoss", "jaccard"), ("TverskyLoss", "tversky")):
        yield multi(name, term, SOFTMAX)
        yield multi(name, term, IGNORING, ignore_index=IGNORED)
        yield multi(name, f"{term}(form=log)", SOFTMAX, log_loss=True)
        yield multi(name, f"{term}(classes=[1, 2])", SOFTMAX, classes=[1, 2])
        yield multi(name, f"{term}(class_weights=[0.25, 1, 3])", SOFTMAX, class_weights=WEIGHTS)
        # Their Dice is Tversky with halves, so its smoothing counts twice in our terms.
        smooth = {"dice": 2, "jaccard": 1, "tversky": 1}[term]
        yield multi(name, f"{term}(smooth_numerator={smooth}, smooth_denominator={smooth})", SOFTMAX, smooth=1.0)
        yield binary(name, term, ONE)
        yield binary(name, term, ["sigmoid/one_channel_ignored"], ignore_index=IGNORED)
        yield label(name, term, MANY)
    yield multi("TverskyLoss", "tversky(alpha=0.3, beta=0.7)", SOFTMAX, alpha=0.3, beta=0.7)
    yield multi("FocalLoss", "{1/K} * focal", SOFTMAX)
    yield multi("FocalLoss", "{1/K} * focal", IGNORING, ignore_index=IGNORED)
    yield multi("FocalLoss", "{1/4.25} * focal(class_weights=[0.25, 1, 3])", SOFTMAX, class_weights=WEIGHTS)
    yield binary("FocalLoss", "focal", ONE)
    yield binary("FocalLoss", "focal(gamma=3.5, alpha=0.25)", ONE, alpha=0.25, gamma=3.5)
    yield binary("FocalLoss", "focal", ["sigmoid/one_channel_ignored"], ignore_index=IGNORED)
    yield label("FocalLoss", "{1/K} * focal", MANY)
    plain = lambda name, spec, activation, on, **more: smp(name, None, spec, activation, on, **more)
    yield plain("SoftCrossEntropyLoss", "ce(label_smoothing=0.1)", "softmax", SOFTMAX, smooth_factor=0.1)
    yield plain("SoftCrossEntropyLoss", "ce", "softmax", SOFTMAX, smooth_factor=0.0)
    summed = {"smooth_factor": 0.1, "reduction": "sum", "ignore_index": IGNORED}
    yield plain("SoftCrossEntropyLoss", "{M} * ce(label_smoothing=0.1)", "softmax", IGNORING, **summed)
    yield plain("SoftBCEWithLogitsLoss", "ce", "sigmoid", ONE + MANY)
    yield plain("SoftBCEWithLogitsLoss", "ce(label_smoothing=0.2)", "sigmoid", ONE + MANY, smooth_factor=0.1)
    three = torch.tensor([2.5], dtype=torch.float64)
    yield plain("SoftBCEWithLogitsLoss", "2.5 * focal(gamma=0, alpha=1) + focal(gamma=0, alpha=0)", "sigmoid", ONE, pos_weight=three)


def cases():
    yield from torch_cases()
    yield from monai_cases()
    yield from smp_cases()
