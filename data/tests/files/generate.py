"""Writes the files beside it with other people's libraries, and facts.json with what those say of them.

    python -m venv v && v/bin/pip install numpy nibabel pillow tifffile imagecodecs && v/bin/python generate.py

`sum` and `weighted` are sums over the array [C, *size] in row-major order, the second with the weights 1, 2, 3, …
"""
import gzip, io, json, struct, zlib
import numpy as np, nibabel as nib, tifffile
from PIL import Image

rng = np.random.default_rng(7)
facts = {}

def fact(name, array, **more):
    a = np.asarray(array, dtype=np.float64)
    flat = a.ravel(order="C")
    facts[name] = dict(shape=list(a.shape), sum=float(flat.sum()), weighted=float((flat * np.arange(1, flat.size + 1)).sum()), **more)

def chw(a):
    return a[None] if a.ndim == 2 else np.moveaxis(a, -1, 0)

# PNG: Pillow for what it writes, the rest by hand from the specification.
def png(name, rows, width, height, bits, colour, palette=None, interlace=0):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    raw = b"".join(b"\0" + row for row in rows)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlace))
    if palette is not None:
        data += chunk(b"PLTE", bytes(palette))
    open(name, "wb").write(data + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b""))

for bits in (1, 2, 4):
    a = rng.integers(0, 2**bits, (5, 7))
    rows = []
    for line in a:
        text = "".join(format(v, f"0{bits}b") for v in line)
        text += "0" * (-len(text) % 8)
        rows.append(bytes(int(text[i:i + 8], 2) for i in range(0, len(text), 8)))
    png(f"grey{bits}.png", rows, 7, 5, bits, 0)
    fact(f"grey{bits}.png", chw(a), dtype=f"{bits}-bit")
    png(f"palette{bits}.png", rows, 7, 5, bits, 3, palette=range(3 * 2**bits))
    fact(f"palette{bits}.png", chw(a), dtype=f"{bits}-bit")
a = rng.integers(0, 65536, (5, 7)).astype(np.uint16)
png("grey16.png", [line.astype(">u2").tobytes() for line in a], 7, 5, 16, 0)
fact("grey16.png", chw(a), dtype="uint16")
a = rng.integers(0, 65536, (5, 7, 3)).astype(np.uint16)
png("rgb16.png", [line.astype(">u2").tobytes() for line in a], 7, 5, 16, 2)
fact("rgb16.png", chw(a), dtype="uint16")
a = rng.integers(0, 256, (9, 7)).astype(np.uint8)
passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
rows = [row.tobytes() for x, y, dx, dy in passes for row in a[y::dy, x::dx] if row.size]
png("interlaced.png", rows, 7, 9, 8, 0, interlace=1)
assert (np.array(Image.open("interlaced.png")) == a).all()
fact("interlaced.png", chw(a), dtype="uint8")
a = rng.integers(0, 256, (6, 4, 4)).astype(np.uint8)
Image.fromarray(a).save("rgba.png"); fact("rgba.png", chw(a[..., :3]), dtype="uint8")
Image.fromarray(a[..., :2].copy(), "LA").save("grey_alpha.png"); fact("grey_alpha.png", chw(a[..., 0]), dtype="uint8")
Image.fromarray(a[..., :3].copy()).save("rgb.png"); fact("rgb.png", chw(a[..., :3]), dtype="uint8")

# TIFF.
def tif(name, a, expected, dtype, **how):
    tifffile.imwrite(name, a, **how); fact(name, expected, dtype=dtype)
a = rng.integers(0, 65536, (6, 5)).astype(np.uint16)
tif("grey16.tif", a, chw(a), "uint16")
tif("big_endian.tif", a, chw(a), "uint16", byteorder=">")
tif("deflate.tif", a, chw(a), "uint16", compression="zlib")
tif("lzw.tif", a.astype(np.uint8), chw(a.astype(np.uint8)), "uint8", compression="lzw")
tif("int16.tif", a.astype(np.int16), chw(a.astype(np.int16)), "int16")
f = rng.normal(size=(4, 5)).astype(np.float32)
tif("float32.tif", f, chw(f), "float32")
c = rng.integers(0, 256, (4, 5, 3)).astype(np.uint8)
tif("rgb.tif", c, chw(c), "uint8", photometric="rgb")
tif("planar.tif", np.moveaxis(c, -1, 0).copy(), chw(c), "uint8", photometric="rgb", planarconfig="separate")
v = rng.integers(0, 256, (3, 4, 5)).astype(np.uint8)
tif("pages.tif", v, v[None], "uint8", photometric="minisblack")
Image.fromarray((rng.integers(0, 2, (5, 11)) * 255).astype(np.uint8)).convert("1").save("bits.tif")
fact("bits.tif", chw(np.array(Image.open("bits.tif")).astype(np.uint8)), dtype="1-bit")

# JPEG: what a decoder makes of it may differ by one step of rounding.
x = np.add.outer(np.arange(16), np.arange(24)) * 6
Image.fromarray(x.astype(np.uint8)).save("grey.jpg", quality=95); fact("grey.jpg", chw(np.array(Image.open("grey.jpg"))), dtype="uint8")
Image.fromarray(np.stack([x, 255 - x, x // 2], -1).astype(np.uint8)).save("rgb.jpg", quality=95, subsampling=0)
fact("rgb.jpg", chw(np.array(Image.open("rgb.jpg"))), dtype="uint8")
Image.fromarray(x.astype(np.uint8)).save("progressive.jpg", quality=95, progressive=True)
fact("progressive.jpg", chw(np.array(Image.open("progressive.jpg"))), dtype="uint8")

# NIfTI.
def nifti(name, a, affine=None, endian="<", two=False, scaling=None, code=("s",), zooms=None, expected=None):
    kind = nib.Nifti2Image if two else nib.Nifti1Image
    header = (nib.Nifti2Header if two else nib.Nifti1Header)(endianness=endian)
    header.set_data_dtype(a.dtype)
    affine = np.diag([0.5, 2, 3, 1]) if affine is None else affine
    image = kind(a, affine, header)
    image.set_sform(affine if "s" in code else None, 1 if "s" in code else 0)
    image.set_qform(affine if "q" in code else None, 1 if "q" in code else 0)
    if scaling:
        image.header.set_slope_inter(*scaling)
    data = image.to_bytes()
    if scaling:
        # nibabel scales on writing; here the numbers stay, and the fields are set.
        at = (176, ">dd" if endian == ">" else "<dd") if two else (112, ">ff" if endian == ">" else "<ff")
        plain = kind(a, affine, header); plain.set_sform(affine, 1)
        data = bytearray(plain.to_bytes()); struct.pack_into(at[1], data, at[0], *scaling); data = bytes(data)
    open(name, "wb").write(gzip.compress(data, mtime=0) if name.endswith("gz") else data)
    back = nib.load(name)
    raw = np.asanyarray(back.dataobj.get_unscaled()) if expected is None else expected
    more = dict(dtype=str(back.get_data_dtype().newbyteorder("=")) if expected is None else "rgb24")
    space = list(raw.T.shape) if expected is None else None
    if expected is None:
        raw = raw.T if raw.ndim == 4 else raw.T[None]
    more["spacing"] = [float(z) for z in back.header.get_zooms()[:3][::-1]]
    if back.header["sform_code"] > 0 or back.header["qform_code"] > 0:
        more["orientation"] = "".join(nib.aff2axcodes(back.affine))
    if scaling:
        more["scaling"] = [float(np.float32(s)) if not two else float(s) for s in scaling]
    fact(name, raw, **more)

for kind in ("uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"):
    a = rng.integers(0, 100, (4, 3, 2))
    if not kind.startswith("u"):
        a = a - 50
    nifti(f"{kind}.nii", a.astype(kind))
a = rng.integers(-500, 500, (4, 3, 2)).astype(np.int16)
nifti("big_endian.nii", a, endian=">")
nifti("big_endian2.nii", a, endian=">", two=True)
nifti("second.nii.gz", a, two=True)
nifti("scaled.nii.gz", a, scaling=(0.5, -1024.0))
nifti("scaled2.nii", a, two=True, scaling=(2.25, 3.0))
lps = np.array([[-1, 0, 0, 9], [0, -2, 0, 7], [0, 0, 1.5, -3], [0, 0, 0, 1.0]])
nifti("lps.nii", a, lps)
turn = np.array([[0, 0, 2, 1], [-1, 0, 0, 2], [0, 3, 0, 3], [0, 0, 0, 1.0]])
nifti("turned_sform.nii", a, turn)
nifti("turned_qform.nii", a, turn, code=("q",))
flip = turn @ np.diag([1, 1, -1, 1])
nifti("flipped_qform.nii", a, flip, code=("q",))
nifti("unplaced.nii", a, code=())
nifti("channels.nii.gz", rng.integers(0, 9, (4, 3, 2, 5)).astype(np.uint8))
colour = np.zeros((4, 3, 2), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
for k in "RGB":
    colour[k] = rng.integers(0, 256, (4, 3, 2))
nifti("colour.nii", colour, expected=np.stack([colour[k].T for k in "RGB"]))

# numpy.
def npy(name, a, expected=None, dtype=None):
    np.save(name, a); fact(name, a if expected is None else expected, dtype=dtype or str(a.dtype))
a = rng.normal(size=(3, 4)).astype(np.float32)
npy("c_order.npy", a); npy("fortran.npy", np.asfortranarray(a)); npy("big_endian.npy", a.astype(">f4"), dtype="float32")
npy("float16.npy", a.astype(np.float16)); npy("bool.npy", a > 0, dtype="bool")
npy("int64.npy", (a * 100).astype(np.int64)); npy("uint16.npy", np.abs(a * 100).astype(np.uint16)); npy("scalarish.npy", a[:1])
def by_hand(name, header, data, expected, dtype):
    header = header.encode() + b" " * (-(10 + len(header) + 1) % 64) + b"\n"
    open(name, "wb").write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data); fact(name, expected, dtype=dtype)
i = np.arange(6, dtype="<i8").reshape(2, 3)
by_hand("python2.npy", "{'descr': '<i8', 'fortran_order': False, 'shape': (2L, 3L), }", i.tobytes(), i, "int64")
by_hand("double_quotes.npy", '{"descr": "<i8", "fortran_order": false, "shape": (2, 3)}'.replace("false", "False"), i.tobytes(), i, "int64")
by_hand("other_order.npy", "{'shape': (2, 3), 'fortran_order': False, 'descr': '<i8'}", i.tobytes(), i, "int64")
b = (a.view(np.uint32) >> 16).astype("<u2")
by_hand("bfloat16.npy", "{'descr': '<V2', 'fortran_order': False, 'shape': (3, 4), }", b.tobytes(), (b.astype(np.uint32) << 16).view(np.float32), "bfloat16")
np.savez("one.npz", arr=a); fact("one.npz", a, dtype="float32")
np.savez_compressed("packed.npz", arr=i); fact("packed.npz", i, dtype="int64")
json.dump(facts, open("facts.json", "w"), indent=1)
