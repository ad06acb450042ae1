"""How far peers' losses are from the nearest of ours where none says the same: python peers_gaps.py

Prints rows for docs/peers.md: their value, ours, and the relative differences of value and gradient. Ours come from the 50-digit
definitions.
"""

import warnings

import monai.losses as monai_losses
import segmentation_models_pytorch.losses as smp_losses
import torch
import torch.nn.functional as F
from mpmath import mp, mpf

from mpmath_losses import TERMS, World
from mpmath_tape import gradient, total
from peers_cases import IGNORED, WEIGHTS, AsymmetricFocalTverskyLoss, dense, inputs, labels
from peers_golden import float_is_double, value_and_gradient

SMOOTH = {"smooth_numerator": 1e-5, "smooth_denominator": 1e-5}
OWN = {"pooling": "sample", "absent": "count", **SMOOTH}
HOT = {"softmax": True, "to_onehot_y": True}
BARE = {"smooth_nr": 0.0, "smooth_dr": 0.0}
THIRD = 1 / 3


def indexed(given):
    return labels(given, channel=True)


def rows():
    """Package, their call, the call itself, our terms, input."""
    made = lambda name, target, **options: lambda z, given: getattr(monai_losses, name)(**options)(z, target(given))
    hot = lambda name, **options: made(name, indexed, **HOT, **options)
    gdice = [(1, "gdice", {"pooling": "sample", "activation": "softmax"})]
    yield "GeneralizedDiceLoss at its defaults", hot("GeneralizedDiceLoss"), gdice, "softmax/2d"
    yield "GeneralizedDiceLoss, no smoothing, absent class", hot("GeneralizedDiceLoss", **BARE), gdice, "softmax/absent_class"
    focal = lambda **options: made("FocalLoss", indexed, to_onehot_y=True, use_softmax=True, **options)
    plain = lambda **options: [(THIRD, "focal", {"activation": "softmax", **options})]
    yield "FocalLoss(use_softmax, weight)", focal(weight=WEIGHTS), plain(class_weights=WEIGHTS), "softmax/2d"
    yield "FocalLoss(use_softmax, alpha=0.25)", focal(alpha=0.25), plain(class_weights=[0.75, 0.25, 0.25]), "softmax/2d"
    yield "FocalLoss(use_softmax, include_background=False)", focal(include_background=False), plain(), "softmax/2d"
    yield "FocalLoss on soft targets", made("FocalLoss", dense), [(THIRD, "focal", {})], "sigmoid/soft"
    dice = [(1, "dice", OWN)]
    yield "DiceLoss(soft_label) on soft targets", made("DiceLoss", dense, softmax=True, soft_label=True), dice, "softmax/soft"
    tversky = [(1, "tversky", OWN)]
    yield "TverskyLoss(soft_label) on soft targets", made("TverskyLoss", dense, softmax=True, soft_label=True), tversky, "softmax/soft"
    mask = lambda given: (labels(given, channel=True) != IGNORED).double()
    foreground = lambda given: (labels(given, channel=True) == 1).double()
    wrapped = lambda z, given: monai_losses.MaskedLoss(monai_losses.DiceLoss(sigmoid=True))(z, foreground(given), mask(given))
    yield "MaskedLoss(DiceLoss(sigmoid))", wrapped, dice, "sigmoid/one_channel_ignored"
    masked = lambda z, given: monai_losses.MaskedDiceLoss(**HOT)(z, indexed(given), mask(given))
    yield "MaskedDiceLoss(softmax, to_onehot_y)", masked, dice, "softmax/ignored"
    asymmetric = lambda z, given: AsymmetricFocalTverskyLoss()(z.softmax(1), dense(given))
    nearest = [(1, "tversky", {"alpha": 0.3, "beta": 0.7, **OWN})]
    yield "AsymmetricFocalTverskyLoss at its defaults", asymmetric, nearest, "softmax/two_classes"
    smp = lambda name, target, *mode, **options: lambda z, given: getattr(smp_losses, name)(*mode, **options)(z, target(given))
    for name, term in (("DiceLoss", "dice"), ("JaccardLoss", "jaccard")):
        yield f"smp {name}('multilabel') on soft targets", smp(name, dense, "multilabel"), [(1, term, {})], "sigmoid/soft"
    yield "smp FocalLoss('multilabel') on soft targets", smp("FocalLoss", dense, "multilabel"), [(THIRD, "focal", {})], "sigmoid/soft"
    for gamma in (4 / 3, 2.0):
        call = smp("TverskyLoss", labels, "multiclass", gamma=gamma)
        yield f"smp TverskyLoss('multiclass', gamma={gamma:.3g})", call, [(1, "tversky", {})], "softmax/2d"
    call = smp("FocalLoss", labels, "multiclass", normalized=True)
    yield "smp FocalLoss('multiclass', normalized)", call, [(THIRD, "focal", {})], "softmax/2d"
    call = smp("FocalLoss", labels, "multiclass", reduced_threshold=0.5)
    yield "smp FocalLoss('multiclass', reduced_threshold=0.5)", call, [(THIRD, "focal", {})], "softmax/2d"
    ignoring = {"ignore_index": IGNORED}
    real = lambda given: labels(given, channel=True, real=True)
    yield "smp SoftBCEWithLogitsLoss(ignore_index)", smp("SoftBCEWithLogitsLoss", real, **ignoring), [(1, "ce", {})], "sigmoid/one_channel_ignored"
    smooth = {"label_smoothing": 0.1}
    call = smp("SoftCrossEntropyLoss", labels, smooth_factor=0.1, **ignoring)
    yield "smp SoftCrossEntropyLoss(0.1, ignore_index)", call, [(1, "ce", smooth)], "softmax/ignored"
    weight = torch.tensor(WEIGHTS, dtype=torch.float64)
    weighted = [(1, "ce", {"class_weights": WEIGHTS})]
    yield "torch cross_entropy(weight) on soft targets", lambda z, given: F.cross_entropy(z, dense(given), weight=weight), weighted, "softmax/soft"


def ours(terms, given, activation):
    world = World(given, activation, [IGNORED])
    whole = total(mpf(weight) * TERMS[term](world, options) for weight, term, options in terms)
    return float(whole.value), [float(g) for g in gradient(whole, world.logits)]


def refusals(every):
    """Calls that raise, or give no number."""
    given = every["softmax/2d"]
    logits = torch.tensor(given["logits"], dtype=torch.float64).reshape(given["shape"])
    yield "smp SoftCrossEntropyLoss() at its defaults", lambda: smp_losses.SoftCrossEntropyLoss()(logits, labels(given))
    soft = every["sigmoid/multi_label"]
    many = torch.tensor(soft["logits"], dtype=torch.float64).reshape(soft["shape"])
    yield "smp FocalLoss('multilabel', ignore_index)", lambda: smp_losses.FocalLoss("multilabel", ignore_index=IGNORED)(many, dense(soft))
    none = torch.full((2, 2, 3), IGNORED)
    yield "torch cross_entropy, all ignored", lambda: F.cross_entropy(logits, none, ignore_index=IGNORED)
    yield "smp FocalLoss('multiclass'), all ignored", lambda: smp_losses.FocalLoss("multiclass", ignore_index=IGNORED)(logits, none)
    empty, bare = torch.zeros(1, 1, 4), {"smooth_nr": 0.0, "smooth_dr": 0.0}
    yield "MONAI DiceLoss without smoothing, nothing there or predicted", lambda: monai_losses.DiceLoss(**bare)(empty, empty)


def main():
    mp.dps = 50
    warnings.simplefilter("ignore")
    every = inputs()
    for text, call, terms, name in rows():
        given = every[name]
        with float_is_double():
            value, slopes = value_and_gradient(call, given)
        mine, own = ours(terms, given, name.split("/")[0])
        off = max(abs(a - b) for a, b in zip(slopes, own)) / max(map(abs, own))
        print(f"{text} | {name} | {value:.6g} | {mine:.6g} | {abs(value - mine) / abs(mine):.1e} | {off:.1e}")
    for text, call in refusals(every):
        try:
            found = str(call().item())
        except Exception as error:
            found = f"{type(error).__name__}: {error}"
        print(f"{text}: {found[:120]}")


if __name__ == "__main__":
    main()
