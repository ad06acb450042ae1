"""Makes the numbers that tests/peers.rs compares with, from other people's code on the same maps.

    python -m venv venv
    venv/bin/pip install numpy==2.4.6 scipy==1.17.1 SimpleITK==2.5.7 surface-distance==0.1 \
        torch==2.11.0 monai==1.6.1
    venv/bin/python metrics/tests/golden/make.py > metrics/tests/golden/golden.json
    venv/bin/python metrics/tests/golden/make.py --table

surface-distance 0.1 calls names that scipy and numpy have dropped; they are given back below,
without a change of what is computed.

Maps are made by the rule of `scene`, which peers.rs has as well: nothing but numbers is kept.
"""

import importlib.metadata
import json
import sys

import numpy as np
import SimpleITK as sitk
import torch
from monai.metrics import (
    CalibrationErrorMetric,
    CalibrationReduction,
    ConfusionMatrixMetric,
    compute_absolute_volume_difference,
    compute_average_surface_distance,
    compute_hausdorff_distance,
    compute_iou,
    compute_dice,
    compute_surface_dice,
)
from scipy import ndimage

ndimage.filters = ndimage
ndimage.morphology = ndimage
np.Inf = np.inf
import surface_distance  # noqa: E402  (needs the names above)


def noise(seed, index):
    """A hash of 32 bits as a number in [0, 1)."""
    x = (index * 2654435761 + seed * 40503 + 12345) & 0xFFFFFFFF
    x ^= x >> 16
    x = (x * 0x45D9F3B) & 0xFFFFFFFF
    x ^= x >> 16
    x = (x * 0x45D9F3B) & 0xFFFFFFFF
    x ^= x >> 16
    return x / 4294967296.0


def scene(shape, seed, moved, rough):
    """An ellipsoid, moved, and pixels of it and of its background that are inverted."""
    flat = np.arange(int(np.prod(shape)), dtype=np.int64)
    place = np.unravel_index(flat, shape)
    r = sum(((p - (0.5 * (n - 1) + moved)) / (0.3 * n)) ** 2 for p, n in zip(place, shape))
    inside = r <= 1.0
    flipped = np.array([noise(seed, int(i)) < rough for i in flat])
    return (inside ^ flipped).reshape(shape)


CASES = [
    # name, shape, spacing, (seed, moved, rough) of target and prediction
    ("line", (40,), (0.5,), (1, 0.0, 0.02), (2, 2.0, 0.02)),
    ("plane", (24, 31), (1.0, 1.0), (3, 0.0, 0.0), (4, 2.0, 0.01)),
    ("oblong pixels", (24, 31), (2.0, 0.7), (5, 0.0, 0.01), (6, -1.5, 0.02)),
    ("plane at its edge", (12, 12), (1.0, 1.5), (7, 4.0, 0.0), (8, 5.0, 0.0)),
    ("volume", (16, 18, 20), (1.0, 1.0, 1.0), (9, 0.0, 0.0), (10, 1.0, 0.0)),
    ("flat voxels", (12, 20, 22), (3.0, 0.8, 0.9), (11, 0.0, 0.005), (12, 1.5, 0.01)),
    ("noise", (9, 10, 11), (1.2, 0.7, 2.5), (13, 0.0, 0.3), (14, 0.0, 0.3)),
]
PERCENTILES = [50.0, 90.0, 95.0, 99.0]
TOLERANCES = [0.0, 1.0, 2.0]


def one_hot(mask):
    return torch.from_numpy(np.stack([~mask, mask])[None].astype(np.float32))


def monai(target, prediction, spacing):
    y, p = one_hot(target), one_hot(prediction)
    confusion = ConfusionMatrixMetric(include_background=False, metric_name=["precision", "recall"], reduction="none")
    confusion(p, y)
    precision, recall = (float(value) for value in confusion.aggregate())
    spacing = list(spacing)
    out = {
        "dice": float(compute_dice(p, y, include_background=False)),
        "iou": float(compute_iou(p, y, include_background=False)),
        "precision": precision,
        "recall": recall,
        "size_difference": float(compute_absolute_volume_difference(p, y, include_background=False)),
        "hausdorff": float(compute_hausdorff_distance(p, y, spacing=spacing)),
        "percentiles": [float(compute_hausdorff_distance(p, y, percentile=q, spacing=spacing)) for q in PERCENTILES],
        "average": float(compute_average_surface_distance(p, y, symmetric=True, spacing=spacing)),
        "to_target": float(compute_average_surface_distance(p, y, spacing=spacing)),
        "to_prediction": float(compute_average_surface_distance(y, p, spacing=spacing)),
    }
    if target.ndim > 1:
        out["surface_dice"] = [float(compute_surface_dice(p, y, [t], spacing=spacing)) for t in TOLERANCES]
    return out


def deepmind(target, prediction, spacing):
    if target.ndim == 1:
        return None
    d = surface_distance.compute_surface_distances(target, prediction, spacing)
    to_prediction, to_target = surface_distance.compute_average_surface_distance(d)
    distances = np.concatenate([d["distances_gt_to_pred"], d["distances_pred_to_gt"]])
    areas = np.concatenate([d["surfel_areas_gt"], d["surfel_areas_pred"]])
    return {
        # Not theirs, who give the two directions alone.
        "average": float((distances * areas).sum() / areas.sum()),
        "hausdorff": float(surface_distance.compute_robust_hausdorff(d, 100)),
        "percentiles": [float(surface_distance.compute_robust_hausdorff(d, q)) for q in PERCENTILES],
        "to_target": float(to_target),
        "to_prediction": float(to_prediction),
        "surface_dice": [float(surface_distance.compute_surface_dice_at_tolerance(d, t)) for t in TOLERANCES],
    }


def simple_itk(target, prediction, spacing):
    if target.ndim == 1:
        return None
    images = []
    for mask in (target, prediction):
        image = sitk.GetImageFromArray(mask.astype(np.uint8))
        image.SetSpacing([float(s) for s in reversed(spacing)])
        images.append(image)
    hausdorff = sitk.HausdorffDistanceImageFilter()
    hausdorff.Execute(*images)
    overlap = sitk.LabelOverlapMeasuresImageFilter()
    overlap.Execute(images[1], images[0])
    # The surface of SimpleITK's notebooks: label contours, and distances to them.
    contour = [sitk.LabelContour(image) for image in images]
    maps = [sitk.Abs(sitk.SignedMaurerDistanceMap(c, squaredDistance=False, useImageSpacing=True)) for c in contour]
    arrays = [sitk.GetArrayFromImage(c) > 0 for c in contour]
    distances = [sitk.GetArrayFromImage(maps[1])[arrays[0]], sitk.GetArrayFromImage(maps[0])[arrays[1]]]
    return {
        "hausdorff": hausdorff.GetHausdorffDistance(),
        "average": hausdorff.GetAverageHausdorffDistance(),
        "dice": overlap.GetDiceCoefficient(),
        "contour_hausdorff": float(max(d.max() for d in distances)),
        "contour_hd95": float(max(np.percentile(d, 95) for d in distances)),
        "contour_average": float(np.concatenate(distances).mean()),
    }


def lesions(target, prediction):
    out = []
    for axes in range(1, 4):
        structure = ndimage.generate_binary_structure(target.ndim, min(axes, target.ndim))
        t, nt = ndimage.label(target, structure)
        p, np_ = ndimage.label(prediction, structure)
        found = sum(bool(prediction[t == i].any()) for i in range(1, nt + 1))
        matched = sum(bool(target[p == i].any()) for i in range(1, np_ + 1))
        pairs = 0
        for i in range(1, nt + 1):
            for j in np.unique(p[t == i]):
                if j > 0 and ((t == i) & (p == j)).sum() / ((t == i) | (p == j)).sum() > 0.5:
                    pairs += 1
        out.append([nt, found, np_, matched, pairs])
    return out


def calibration():
    """Three classes on a plane."""
    shape, classes, seed = (3, 20, 15), 3, 21
    n = 20 * 15
    z = np.array([4.0 * noise(seed, i) for i in range(classes * n)])
    e = np.exp(z).reshape(classes, n)
    # Nothing near the edge of a bin of 20 or 15 lies on different sides in float32.
    p = np.round(e / e.sum(0), 4)
    p = np.clip(p, 0.0, 1.0)
    y = np.array([int(classes * noise(seed + 1, i)) for i in range(n)])
    best, confidence = p.argmax(0), p.max(0)
    bins = np.minimum(np.ceil(confidence * 15).astype(int) - 1, 14)
    guo = sum(abs(confidence[bins == b].sum() - (best == y)[bins == b].sum()) for b in range(15)) / n
    t = torch.from_numpy(p.reshape((1,) + shape))
    hot = torch.nn.functional.one_hot(torch.from_numpy(y), classes).T.reshape((1,) + shape).double()
    monai = {}
    for name in ("expected", "average", "maximum"):
        reduction = CalibrationReduction(name)
        metric = CalibrationErrorMetric(num_bins=20, calibration_reduction=reduction, metric_reduction="none")
        metric(t, hot)
        monai[name] = [float(v) for v in metric.aggregate().flatten()]
    return {"probabilities": p.flatten().tolist(), "target": y.tolist(), "shape": list(shape), "guo_15": float(guo), "monai_20": monai}


def table(cases):
    """The table of docs/metrics.md: the same maps by different surfaces."""
    print("| maps | HD95 of borders | elements | contours | average of borders | elements | contours | surface Dice of borders | elements |")
    print("|---|---|---|---|---|---|---|---|---|")
    for case in cases:
        m, d, s = case["monai"], case["deepmind"], case["simple_itk"]
        if d is None:
            continue
        name = f"{case['name']}, {' × '.join(map(str, case['shape']))}, spacing {', '.join(f'{s:g}' for s in case['spacing'])}"
        hd95 = [m["percentiles"][2], d["percentiles"][2], s["contour_hd95"]]
        average = [m["average"], d["average"], s["contour_average"]]
        dice = [m["surface_dice"][1], d["surface_dice"][1]]
        print(f"| {name} | " + " | ".join(f"{value:.2f}" for value in hd95 + average + dice) + " |")


def main():
    cases = []
    for name, shape, spacing, t, p in CASES:
        target, prediction = scene(shape, *t), scene(shape, *p)
        counts = [int(target.sum()), int(prediction.sum()), int((target & prediction).sum())]
        cases.append({
            "name": name, "shape": shape, "spacing": spacing, "target": t, "prediction": p, "counts": counts,
            "monai": monai(target, prediction, spacing),
            "deepmind": deepmind(target, prediction, spacing),
            "simple_itk": simple_itk(target, prediction, spacing),
            "lesions": lesions(target, prediction),
        })
    if sys.argv[1:] == ["--table"]:
        return table(cases)
    names = ("monai", "torch", "numpy", "scipy", "SimpleITK", "surface-distance")
    versions = {name: importlib.metadata.version(name) for name in names}
    out = {"versions": versions, "percentiles": PERCENTILES, "tolerances": TOLERANCES}
    json.dump(out | {"cases": cases, "calibration": calibration()}, sys.stdout, indent=1)
    print()


main()
