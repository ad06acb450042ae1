//! What is recognised and not read, and how to convert it.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::without_ending;

/// A kind of file that is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Foreign {
    /// What it is.
    pub(crate) kind: &'static str,
    /// How to convert it.
    pub(crate) way_out: &'static str,
}

const DICOM: Foreign = Foreign {
    kind: "DICOM",
    way_out: "`dcm2niix -z y -o OUT FOLDER` makes a .nii.gz of each series, dcmqi's segimage2itkimage of a DICOM-SEG",
};
const ITK: &str = "SimpleITK.WriteImage(SimpleITK.ReadImage('a.nrrd'), 'a.nii.gz') converts it";
const PICTURE: &str = "`magick mogrify -format png *.gif` converts such pictures to PNG";
const ARRAYS: &str = "save each array with numpy.save as .npy";
const TILES: &str = "cut it into tiles with openslide or tifffile and save those as PNG";
const PAIR: &str = "nibabel.save(nibabel.load('a.hdr'), 'a.nii.gz') makes one file of both";

/// What is known by the ending of a name.
pub(crate) fn foreign(name: &str) -> Option<Foreign> {
    const ENDINGS: &[(&str, &str, &str)] = &[
        (".nrrd", "NRRD", ITK),
        (".nhdr", "NRRD", ITK),
        (".mha", "MetaImage", ITK),
        (".mhd", "MetaImage", ITK),
        (".hdr", "a pair of .hdr and .img", PAIR),
        (".img", "a pair of .hdr and .img", PAIR),
        (".mgz", "a volume of FreeSurfer", "`mri_convert a.mgz a.nii.gz` converts it"),
        (".mgh", "a volume of FreeSurfer", "`mri_convert a.mgh a.nii.gz` converts it"),
        (".gif", "GIF", PICTURE),
        (".bmp", "BMP", PICTURE),
        (".webp", "WebP", PICTURE),
        (".ppm", "PPM", PICTURE),
        (".pgm", "PGM", PICTURE),
        (".jp2", "JPEG 2000", PICTURE),
        (".h5", "HDF5", ARRAYS),
        (".hdf5", "HDF5", ARRAYS),
        (".mat", "a file of MATLAB", "numpy.save('a.npy', scipy.io.loadmat('a.mat')[NAME]) takes an array out"),
        (".zarr", "Zarr", ARRAYS),
        (".pt", "a tensor of PyTorch", ARRAYS),
        (".svs", "a whole-slide image", TILES),
        (".ndpi", "a whole-slide image", TILES),
        (".mrxs", "a whole-slide image", TILES),
        (".czi", "a microscope's file", "save it as TIFF with Fiji or aicsimageio"),
        (".lif", "a microscope's file", "save it as TIFF with Fiji or aicsimageio"),
        (".zip", "an archive", "unpack it"),
        (".tar", "an archive", "unpack it"),
        (".tar.gz", "an archive", "unpack it"),
        (".tgz", "an archive", "unpack it"),
    ];
    if [".dcm", ".dicom", ".ima"].iter().any(|ending| without_ending(name, ending).is_some()) {
        return Some(DICOM);
    }
    let found = ENDINGS.iter().find(|(ending, ..)| without_ending(name, ending).is_some());
    found.map(|&(_, kind, way_out)| Foreign { kind, way_out })
}

/// Whether a file without an ending is DICOM, which has `DICM` behind 128 bytes.
pub(crate) fn is_dicom(path: &Path) -> Option<Foreign> {
    let mut first = [0; 132];
    File::open(path).and_then(|mut file| file.read_exact(&mut first)).ok()?;
    (first[128..] == *b"DICM").then_some(DICOM)
}

/// Most of a JSON file that is looked at.
const LOOKED_AT: u64 = 1 << 16;

/// Whether a JSON file holds annotations, by its first bytes.
pub(crate) fn annotations(path: &Path) -> Option<Foreign> {
    let mut first = Vec::new();
    File::open(path).and_then(|file| file.take(LOOKED_AT).read_to_end(&mut first)).ok()?;
    let text = String::from_utf8_lossy(&first);
    let has = |key: &str| text.contains(&format!("\"{key}\""));
    if has("shapes") && (has("imagePath") || has("imageData")) {
        let way_out =
            "`labelme_export_json a.json -o OUT`, or labelme's examples/semantic_segmentation/labelme2voc.py for a folder";
        return Some(Foreign { kind: "JSON of LabelMe", way_out });
    }
    if has("annotations") && (has("images") || has("categories") || has("segmentation")) {
        let way_out = "pycocotools.coco.COCO(FILE).annToMask(ANNOTATION) gives each as a mask, to be saved as PNG";
        return Some(Foreign { kind: "JSON of COCO", way_out });
    }
    (has("_via_img_metadata") || has("regions")).then_some(Foreign {
        kind: "JSON of the VGG annotator",
        way_out: "export it as COCO and draw the masks with pycocotools",
    })
}
